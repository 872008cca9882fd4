"""Claims against the truth: the one place that judges, the same for every method.

A query counts by its best match in the gallery. Where several are equally good, a copy is found if
its source is among them: hashes tie often, and a tie is reported in their favour.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from atlas.dataset.artifacts import SAME_IMAGE
from atlas.dataset.metrics import Share
from atlas.workflows.submit.score import UNSURE
from benchmarks.leaks.claims import About
from benchmarks.leaks.special import BLANK, CONFLICT, CONSTANT, TEST_TEST

PRECISION = 0.99


@dataclass(frozen=True, kw_only=True)
class Truth:
    """table: truth.csv; planted: planted.csv, which says of copies within the gallery too."""

    table: pd.DataFrame
    planted: pd.DataFrame

    @property
    def gallery_copies(self) -> pd.DataFrame:
        return self.planted[(self.planted["split"] == "train") & (self.planted["source"] != "")]

    def sources(self) -> dict[str, frozenset[str]]:
        """Of each copy its source, and whatever of the gallery was planted as a copy of that."""
        twins = self.gallery_copies.groupby("source")["Id"].agg(list).to_dict()
        copies = self.table[self.table["relation"] == SAME_IMAGE]
        return {
            i: frozenset([source, *twins.get(source, [])])
            for i, source in zip(copies["Id"], copies["source"], strict=True)
        }


@dataclass(frozen=True, kw_only=True)
class AtThreshold:
    """The claims from a score on.

    Attributes:
        found: The copies that are claimed with their source.
        wrong_source: The copies that are claimed with another image.
        false: The test images that are claimed although they are not copies.
    """

    claims_from: float
    found: Share
    wrong_source: Share
    false: Share


@dataclass(frozen=True, kw_only=True)
class LeakScore:
    """The score of a method.

    Attributes:
        own: The result at the score from which the method claims.
        best: The result at the threshold with the best F1 on these images, which no user knows.
        average_precision: That of all best matches ranked by score, over all copies.
        recall_when_precise: The largest share of copies found by claims with a precision of at
            least PRECISION.
    """

    own: AtThreshold
    best: AtThreshold
    average_precision: float
    recall_when_precise: float


def judged(claims: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    """Every test image that counts, by Id: edit, is_copy, right; score, -inf without a match."""
    table = truth.table[truth.table["relation"] != UNSURE].set_index("Id")
    sources = truth.sources()
    in_gallery = claims[claims["query_id"].isin(table.index)]
    in_gallery = in_gallery[~in_gallery["match_id"].isin(truth.table["Id"])]
    best = in_gallery.groupby("query_id")["score"].max()
    equally_good = in_gallery[in_gallery["score"] == in_gallery["query_id"].map(best)]
    matches = equally_good.groupby("query_id")["match_id"].agg(set).to_dict()
    return pd.DataFrame(
        {
            "edit": table["edit"],
            "is_copy": table["relation"] == SAME_IMAGE,
            "right": [bool(sources.get(i, set()) & matches.get(i, set())) for i in table.index],
            "score": best.reindex(table.index).fillna(-np.inf),
        }
    )


def score(queries: pd.DataFrame, claims_from: float) -> LeakScore:
    """queries: as `judged` gives them."""
    planted = max(int(queries["is_copy"].sum()), 1)
    ranking = _ranking(queries)
    precision, recall = ranking["right"] / ranking["claims"], ranking["right"] / planted
    f1 = 2 * ranking["right"] / (ranking["claims"] + planted)
    # Of equally good thresholds the highest one is chosen.
    best_threshold = np.inf if ranking.empty else float(ranking.index.to_numpy()[f1.argmax()])
    return LeakScore(
        own=at_threshold(queries, claims_from),
        best=at_threshold(queries, best_threshold),
        average_precision=float((precision * recall.diff().fillna(recall)).sum()),
        recall_when_precise=float(recall.to_numpy()[precision >= PRECISION].max(initial=0.0)),
    )


def at_threshold(queries: pd.DataFrame, claims_from: float) -> AtThreshold:
    claimed, is_copy, right = queries["score"] >= claims_from, queries["is_copy"], queries["right"]
    return AtThreshold(
        claims_from=claims_from,
        found=_share(claimed & right, is_copy),
        wrong_source=_share(claimed & ~right, is_copy),
        false=_share(claimed, ~is_copy),
    )


def found_by_edit(queries: pd.DataFrame, claims_from: float) -> dict[str, Share]:
    copies = queries[queries["is_copy"]]
    found = copies["right"] & (copies["score"] >= claims_from)
    groups = found.groupby(copies["edit"])
    return {str(edit): Share(count=int(some.sum()), of=len(some)) for edit, some in groups}


def special_counts(claims: pd.DataFrame, truth: Truth, about: About) -> dict[str, Share]:
    """What only special cases have: copies of one another within a split, and empty images."""
    made = claims[claims["score"] >= about.claims_from]
    pairs = {frozenset(pair) for pair in zip(made["query_id"], made["match_id"], strict=True)}
    claimed = set(made["query_id"][~made["match_id"].isin(truth.table["Id"])])
    among_tests = truth.table[truth.table["edit"] == TEST_TEST]
    empty = truth.table["Id"][truth.table["edit"].isin([BLANK, CONSTANT])]
    counts = {
        "copies among test images": _found_pairs(among_tests, pairs),
        "empty images claimed": Share(count=int(empty.isin(claimed).sum()), of=len(empty)),
    }
    if about.within_gallery:
        counts["copies within the gallery"] = _found_pairs(truth.gallery_copies, pairs)
    return counts


def losses_by_edit(matches: pd.DataFrame, truth: Truth) -> dict[tuple[str, str], Share]:
    """Of each edit's copies, by (edit, where): how many had no true match among the candidates, and
    how many had one whose registration score stayed below the threshold. matches: matches.csv."""
    sources = truth.sources()
    is_true = [m in sources.get(q, ()) for q, m in zip(matches["query_id"], matches["match_id"],
                                                       strict=True)]  # fmt: skip
    proposed = matches[is_true]
    claimed = set(proposed["query_id"][proposed["relation"] == SAME_IMAGE])
    copies = truth.table[truth.table["relation"] == SAME_IMAGE]
    found: dict[tuple[str, str], Share] = {}
    for edit, ids in copies.groupby("edit")["Id"]:
        known = set(ids) & set(proposed["query_id"])
        found[str(edit), "no candidate"] = Share(count=len(ids) - len(known), of=len(ids))
        found[str(edit), "below the threshold"] = Share(count=len(known - claimed), of=len(ids))
    return found


def labels_withheld(leaks: pd.DataFrame, truth: Truth) -> Share:
    """Of the claimed copies of images that the gallery holds with two sets of labels, those whose
    labels are not transferred. leaks: leaks.csv."""
    conflicts = truth.table["Id"][truth.table["edit"] == CONFLICT]
    claimed = leaks[leaks["Id"].isin(conflicts) & (leaks["relation"] == SAME_IMAGE)]
    return Share(count=int((claimed["decision"] == "abstain").sum()), of=len(claimed))


def _ranking(queries: pd.DataFrame) -> pd.DataFrame:
    """By score, falling: how many claims from there on, and how many are right. Claims of equal
    score come together, so that no order of theirs counts."""
    claims = queries[np.isfinite(queries["score"])].groupby("score")["right"]
    each = pd.DataFrame({"claims": claims.size(), "right": claims.sum()})
    return each.sort_index(ascending=False).cumsum()


def _found_pairs(copies: pd.DataFrame, pairs: Collection[frozenset[str]]) -> Share:
    wanted = [frozenset(pair) for pair in zip(copies["Id"], copies["source"], strict=True)]
    return Share(count=sum(pair in pairs for pair in wanted), of=len(wanted))


def _share(hits: pd.Series, of: pd.Series) -> Share:
    return Share(count=int((hits & of).sum()), of=int(of.sum()))
