"""Which share of the copies has its source among the candidates, for each way of proposing them.

A copy that is no candidate cannot be found, whatever is compared afterwards. Each cell is a folder
that `benchmarks.leaks.run` filled (`data` with its truth, `run` with an index and a store):

python -m benchmarks.leaks.run --benches BENCH ... --out R
python -m benchmarks.candidates --cells R/BENCH/HARDNESS ... --out C

Every way proposes 25 references; a union of ways takes turns, so that each gives its best first.
`--further lite2 copies` adds embedders: the indexes `run/lite2` and `run/copies` of each cell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import tyro
from numpy.typing import NDArray

from atlas.core.files import written_beside
from atlas.dataset.artifacts import SAME_IMAGE, save_table
from atlas.workflows.embed.index import open_atlas_index
from atlas.workflows.leaks.search import LeakSearch, open_leak_search
from benchmarks.side_by_side import about_machine
from index.copies.hashes import HashIndex, hash_images
from index.copies.kept_votes import kept_votes
from index.search.open_search import kept_neighbours
from index.settings import HashKind, LeakSettings, RegistrationSettings

MOST = 25
AT = (10, 25)
HASHES: tuple[HashKind, ...] = ("dhash", "phash", "phash256")
EMBEDDER, KEYPOINTS = "embedder", "keypoints"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A folder with planted copies.

    Attributes:
        name: Its name in tables.
        search: The search of its index.
        copies: Id, source and edit of each copy.
    """

    name: str
    search: LeakSearch
    copies: pd.DataFrame


def main(
    cells: Annotated[tuple[Path, ...], tyro.conf.arg(help="Folders with data and run.")],
    out: Annotated[Path, tyro.conf.arg(help="Folder of the tables.")],
    further: Annotated[tuple[str, ...], tyro.conf.arg(help="Further indexes in run.")] = (),
) -> None:
    """Write candidates.csv, by edit, and candidates.md, the table of all edits together."""
    table = pd.DataFrame([row for path in cells for row in _rows(opened(path, further))])
    out.mkdir(parents=True, exist_ok=True)
    save_table(out / "candidates.csv", table)
    text = "\n".join([about_machine(["faiss-cpu", "openvino"]), "", *markdown(table)])
    with written_beside(out / "candidates.md") as beside:
        beside.write_text(text + "\n", encoding="utf-8")
    print(text)


def opened(path: Path, further: Sequence[str] = ()) -> Cell:
    """Open a cell of benchmarks.leaks."""
    data, run = path / "data", path / "run"
    manifest, index = open_atlas_index(data, run / "index")
    indexes = tuple(str(run / name) for name in further)
    settings = LeakSettings(keypoint_candidates=MOST, further_indexes=indexes)
    search = open_leak_search(manifest, index, run / "store", settings, RegistrationSettings())
    truth = pd.read_csv(data / "truth.csv", dtype=str, keep_default_na=False)
    copies = truth[truth["relation"] == SAME_IMAGE][["Id", "source", "edit"]]
    return Cell(name=f"{path.parent.name}, {path.name}", search=search, copies=copies)


def proposed(cell: Cell) -> dict[str, list[list[str]]]:
    """Return the references that each way proposes for each copy, best first."""
    search, ids = cell.search, tuple(cell.copies["Id"])
    images, references = search.stored("copies"), search.stored("references")
    queries = search.embedded(ids, images)
    known = search.gallery.search.known.ids
    searches = {EMBEDDER: (search.gallery.search, queries)}
    for other, opened_search in zip(search.further, search.gallery.further, strict=True):
        vectors = search.embedded(ids, images, by=other.embedder)
        searches[other.index.folder.name] = (opened_search, vectors)
    found = {
        name: _lists(
            kept_neighbours(one, vectors, MOST, folder=search.work / "neighbours").reference_ids_NK
        )
        for name, (one, vectors) in searches.items()
    }
    folder = search.work / "hashes"
    for kind in HASHES:
        upright_MCB = hash_images(known, references, kind, folder=folder)[:, 0]
        hashes = HashIndex(ids=known, upright_MCB=upright_MCB)
        hashed = hashes.nearest(ids, hash_images(ids, images, kind, folder=folder), MOST)
        found[kind] = _lists(hashed)
    if search.gallery.keypoints is not None:
        votes = kept_votes(
            search.gallery.keypoints, ids, images, MOST, folder=search.registered
        )  # fmt: skip
        found[KEYPOINTS] = _lists(votes)
    unions: list[tuple[str, ...]] = [(name, KEYPOINTS) for name in searches]
    unions += [(name, "dhash", KEYPOINTS) for name in searches]
    unions += [(*searches, KEYPOINTS)] if len(searches) > 1 else []
    for union in unions:
        parts = [found[way] for way in union]
        found[" + ".join(union)] = [in_turn(lists) for lists in zip(*parts, strict=True)]
    return found


def in_turn(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return what several lists hold, each once, taking the first of each, then the second of each.

    Example:
        >>> in_turn([["a", "b"], ["c", "a", "d"]])
        ['a', 'c', 'b', 'd']
    """
    turns = (one for turn in zip_longest(*lists, fillvalue="") for one in turn if one)
    return list(dict.fromkeys(turns))


def markdown(table: pd.DataFrame) -> Iterator[str]:
    """Yield the lines of a table: for each way the shares at 10 and 25, and the hardest edit."""
    cells = list(dict.fromkeys(table["cell"]))
    yield "| proposed by | " + " | ".join(cells) + " |"
    yield "|---|" + "---|" * len(cells)
    for way, rows in table.groupby("way", sort=False):
        yield f"| {way} | " + " | ".join(_said(rows[rows["cell"] == cell]) for cell in cells) + " |"


def _said(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    count = rows["copies"].sum()
    shares = [f"{rows[f'at {k}'].sum() / count:.3f}" for k in AT]
    of_edit = (rows[f"at {MOST}"] / rows["copies"]).set_axis(rows["edit"])
    return f"{' / '.join(shares)}; {of_edit.idxmin()} {of_edit.min():.2f}"


def _rows(cell: Cell) -> Iterator[dict[str, object]]:
    for way, lists in proposed(cell).items():
        place = np.array(
            [
                names.index(source) if source in names else MOST
                for names, source in zip(lists, cell.copies["source"], strict=True)
            ]
        )
        for edit in sorted(set(cell.copies["edit"])):
            of_edit = place[(cell.copies["edit"] == edit).to_numpy()]
            yield {
                "cell": cell.name, "way": way, "edit": edit, "copies": len(of_edit),
                **{f"at {k}": int((of_edit < k).sum()) for k in AT},
            }  # fmt: skip


def _lists(ids_NK: NDArray[np.object_]) -> list[list[str]]:
    return [[str(i) for i in row if i] for row in ids_NK]


if __name__ == "__main__":
    tyro.cli(main)
