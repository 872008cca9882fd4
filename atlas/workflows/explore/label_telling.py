"""What stands out in an atlas's labels, in sentences that are computed."""

from collections.abc import Iterator

import pandas as pd

from atlas.report.exploration_page import Finding
from atlas.workflows.explore.labels import SURE_LOG10_P, LabelExploration, SplitLabels

NAMED = 6
FAR_SHARE = 5.0  # percent points by which a label's share may differ between splits unmentioned


def label_findings(found: LabelExploration) -> Iterator[Finding]:
    """The strongest pairs, what is rare, what is common."""
    for one in found.splits:
        where = f" in {one.split}" if len(found.splits) > 1 else ""
        yield from _pair_findings(one, where)
    for one in found.splits:
        where = f" in {one.split}" if len(found.splits) > 1 else ""
        yield _imbalance(one, where)
        yield _per_image(one, where)
    yield from _rare(found)
    if len(found.splits) > 1:
        yield from _shares_apart(found)


def _pair_findings(one: SplitLabels, where: str) -> Iterator[Finding]:
    pairs = one.pairs
    if not pairs["both"].any():
        return
    sure = pairs[pairs["log10_p"] <= SURE_LOG10_P]
    together, apart = sure[sure["phi"] > 0], sure[sure["phi"] < 0]
    if len(together):
        best = together.iloc[0]
        yield Finding(
            lead=f"{best['name_a']} and {best['name_b']} occur together{where}",
            told=f"{_share_of(best['both'], best['images_b'])} with {best['name_b']} also "
            f"{'carries' if best['both'] == 1 else 'carry'} {best['name_a']}, and "
            f"{percent(best['b_given_a'])} of {grouped(best['images_a'])} the other way round, "
            f"where chance would give {_expected(best['expected'])}. Phi is {best['phi']:.2f}"
            f"{_next_phi(pairs)}.",
        )
    if len(apart):
        worst = apart.iloc[-1]
        yield Finding(
            lead=f"{worst['name_a']} and {worst['name_b']} avoid one another{where}",
            told=f"{grouped(worst['both'])} images carry both, where chance would give "
            f"{_expected(worst['expected'])}. Phi is {worst['phi']:.2f}.",
        )
    no_accident = f"{len(sure)} of {len(pairs)} pairs of labels are no accident"
    yield Finding(
        lead=f"{no_accident if len(sure) else 'Any pair of labels may be chance'}{where}",
        told=f"{len(together)} occur together and {len(apart)} apart more than chance explains "
        f"(p < {10**SURE_LOG10_P:g} over all pairs{_counted(one)}).",
    )


def _counted(one: SplitLabels) -> str:
    """What counts as one witness."""
    groups = len(one.groups_GC)
    return "" if groups == one.images else f"; {grouped(groups)} groups of images, which count once"


def _share_of(part: int, whole: int) -> str:
    if whole == 1:
        return "the only image"
    share = "all" if part == whole else f"{grouped(part)} of"
    return f"{share} {grouped(whole)} images"


def _next_phi(pairs: pd.DataFrame) -> str:
    return f"; the next pair has {pairs.iloc[1]['phi']:.2f}" if len(pairs) > 1 else ""


def _expected(count: float) -> str:
    return grouped(round(count)) if count >= 10 else f"{count:.2g}"


def _imbalance(one: SplitLabels, where: str) -> Finding:
    used = one.counts[one.counts["images"] > 0].sort_values(["images", "label"], kind="stable")
    least, most = used.iloc[0], used.iloc[-1]
    return Finding(
        lead=f"The commonest label has {most['images'] / least['images']:,.0f} times the images "
        f"of the rarest{where}",
        told=f"{most['name']} is on {grouped(most['images'])} ({most['percent']:.1f} %), "
        f"{least['name']} on {grouped(least['images'])}.",
    )


def _per_image(one: SplitLabels, where: str) -> Finding:
    if one.carries_NC.sum() == one.images:
        return Finding(lead=f"Every image carries one label{where}",
                       told=f"of {len(one.sets)} that occur.")  # fmt: skip
    sets, mean = one.sets, one.carries_NC.sum() / one.images
    single = int((one.carries_NC.sum(axis=1) == 1).sum())
    once = int((sets["images"] == 1).sum())
    return Finding(
        lead=f"An image carries {mean:.2f} labels on average{where}",
        told=f"{percent(single / one.images)} carry one. There are {grouped(len(sets))} sets of "
        f"labels, {grouped(once)} of them on a single image; the commonest is "
        f"{sets.iloc[0]['names']} ({grouped(sets.iloc[0]['images'])} images).",
    )


def _rare(found: LabelExploration) -> Iterator[Finding]:
    rare = found.rare
    if len(rare):
        listed = ", ".join(f"{r['name']} {r['images']}" for r in rare[:NAMED].to_dict("records"))
        more = f" and {len(rare) - NAMED} more" if len(rare) > NAMED else ""
        fewest = rare.sort_values(["groups", "images"], kind="stable").iloc[0]
        weight = f", and {percent(len(rare) / len(found.names))} of macro F1"
        yield Finding(
            lead=f"{counted(len(rare), 'label')} on fewer than {found.rare_below} labelled images",
            told=f"{listed}{more}: {grouped(rare['images'].sum())} occurrences together"
            f"{weight if len(rare) < len(found.names) else ''}. {_fold_sentence(found, fewest)}",
        )
    if len(found.unused):
        names = ", ".join(found.unused["name"][:NAMED])
        more = f" and {len(found.unused) - NAMED} more" if len(found.unused) > NAMED else ""
        yield Finding(lead=f"{counted(len(found.unused), 'label')} on no image",
                      told=f"{names}{more}.")  # fmt: skip


def _fold_sentence(found: LabelExploration, row: pd.Series) -> str:
    name, folds = row["name"], found.fold_count
    if row["groups"] == 1:
        single = found.rare["name"][found.rare["groups"] == 1]
        what = f"{name} is" if len(single) == 1 else f"{grouped(len(single))} of them are"
        return f"{what} of one group, which cannot both train and test."
    if row["folds"] < folds:
        return (
            f"Only {row['folds']} of {folds} folds can test {name}; a fold's score without it "
            "is of other classes than the rest."
        )
    least, most = row["least_groups"], row["most_groups"]
    tested = f"{least}" if least == most else f"{least} or {most}"
    what = "images" if row["groups"] == row["images"] else "groups of images"
    return (
        f"Each of {folds} folds tests {tested} {what} of {name}, of which a missed one costs "
        f"{row['fold_step']:.3f} of macro F1: read its F1 over all folds together. Even when all "
        f"are found, that shows a recall of {row['recall_shown']:.2f} with 95 %."
    )


def _shares_apart(found: LabelExploration) -> Iterator[Finding]:
    one, other = found.splits
    apart = (one.counts["percent"] - other.counts["percent"]).abs()
    if apart.max() >= FAR_SHARE:
        n = int(apart.to_numpy().argmax())
        yield Finding(
            lead=f"{one.split} and {other.split} hold labels in different shares",
            told=f"most of all {found.names[n]}, on {one.counts['percent'][n]:.1f} % of "
            f"{one.split} and {other.counts['percent'][n]:.1f} % of {other.split}.",
        )


# Numbers as sentences have them.


def percent(share: float) -> str:
    """Of a share of 1, short and never 0 or 100 where it is not."""
    shown = f"{100 * share:.0f}"
    return f"{100 * share:.1f} %" if shown in ("0", "100") and share not in (0, 1) else f"{shown} %"


def counted(count: int, noun: str) -> str:
    """With the verb: "One label is", "1,200 labels are"."""
    return f"One {noun} is" if count == 1 else f"{grouped(count)} {noun}s are"


def grouped(count: float) -> str:
    """A whole number by threes."""
    return f"{int(count):,}"
