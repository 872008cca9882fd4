"""Leak tables made in memory, and the naive twin of how they come to trust one another."""

from collections.abc import Mapping, Sequence

from index.audit.leak_tables import Columns, LeakRow, LeakTable

COLUMNS = Columns(id="Id", labels="Target", match=None, doubt=None, distances=(), unread=())


def row(image_id: str, labels: str, *, match: str = "", field: str = "",
        distances: tuple[tuple[str, str], ...] = (), doubted: bool = False) -> LeakRow:  # fmt: skip
    numbers = tuple(int(word) for word in labels.split())
    return LeakRow(id=image_id, labels=numbers, match=match, field=field or match,
                   distances=distances, doubted=doubted)  # fmt: skip


def table(name: str, rows: Mapping[str, str] | Sequence[LeakRow]) -> LeakTable:
    """Of rows, or of id -> labels; `"0 1 | 2"` are two rows."""
    if isinstance(rows, Mapping):
        rows = [row(i, labels) for i, text in rows.items() for labels in text.split("|")]
    return LeakTable(name=name, columns=COLUMNS, rows=tuple(rows), non_matches=0)


def naive_trust(
    tables: Sequence[LeakTable], voices: Mapping[str, int], rounds: int
) -> dict[str, tuple[int, int]]:
    """(equal, of) by table; id by id and label set by label set, for tables without doubts."""
    found = {t.name: (0, 0) for t in tables}
    for _ in range(rounds):
        weight = {name: (equal + 1) / (of + 2) for name, (equal, of) in found.items()}
        after = {}
        for judged in tables:
            equal = of = 0
            for image_id in {r.id for r in judged.rows}:
                votes: dict[tuple[int, ...], float] = {}
                for voice in sorted(set(voices.values()) - {voices[judged.name]}):
                    members = [t for t in tables if voices[t.name] == voice]
                    said = {t.name: sets_of(t, image_id) for t in members}
                    speaking = [t for t in members if said[t.name]]
                    for t in speaking:
                        for labels in said[t.name]:
                            vote = weight[t.name] / len(speaking) / len(said[t.name])
                            votes[labels] = votes.get(labels, 0.0) + vote
                own = sets_of(judged, image_id)
                ranked = sorted(votes, key=lambda labels: -votes[labels])
                if len(own) != 1 or not ranked:
                    continue
                if len(ranked) > 1 and abs(votes[ranked[0]] - votes[ranked[1]]) < 1e-12:
                    continue
                of += 1
                equal += ranked[0] == own[0]
            after[judged.name] = (equal, of)
        if after == found:
            break
        found = after
    return found


def sets_of(leaks: LeakTable, image_id: str) -> list[tuple[int, ...]]:
    sets = {tuple(sorted(r.labels)) for r in leaks.rows if r.id == image_id and r.labels}
    return sorted(sets)
