"""What stands out in an atlas's images, in sentences that are computed."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from atlas.report.exploration_page import Finding
from atlas.workflows.explore.images import COMPARED_PAIRS, COPY_EVIDENCE, ImageExploration
from atlas.workflows.explore.label_telling import counted, grouped

FAR_MEANS = 0.5  # standard deviations of image means between splits
MUCH_WHITE = 1.0  # percent of saturated pixels


def image_findings(found: ImageExploration) -> Iterator[Finding]:
    """Sizes, copies, and channels that are dark, burnt out or differ between splits."""
    yield _sizes(found)
    yield from _copies(found)
    yield from _channels(found)


def _sizes(found: ImageExploration) -> Finding:
    sizes = Counter((row.width_px, row.height_px) for row in found.manifest.rows)
    ((width, height), common), total = sizes.most_common(1)[0], len(found.manifest.rows)
    if len(sizes) == 1:
        return Finding(lead="All images have one size", told=f"{width} x {height} px.")
    return Finding(
        lead=f"There are {grouped(len(sizes))} sizes of images",
        told=f"{grouped(common)} of {grouped(total)} are {width} x {height} px; the others are "
        "listed below.",
    )


def _copies(found: ImageExploration) -> Iterator[Finding]:
    among = "" if len(found.scanned.rows) == len(found.manifest.rows) else " in the sample"
    equal = found.equal
    if len(equal):
        yield Finding(
            lead=f"{counted(len(equal), 'image')} equal to an earlier one, pixel by pixel{among}",
            told=f"{_between(equal)}{_disagreements(equal)}.",
        )
    else:
        yield Finding(lead=f"No two images are equal{among}", told="pixels compared by digest.")
    near = found.near
    if len(near):
        yield Finding(
            lead=f"{counted(len(near), 'pair')} likely of one field, with other pixels{among}",
            told=f"their registered pixels correlate by {COPY_EVIDENCE} or more: {_between(near)}"
            f"{_disagreements(near)}.",
        )
    if found.alike > COMPARED_PAIRS:
        yield Finding(
            lead=f"{grouped(found.alike)} pairs look alike to a perceptual hash",
            told=f"the nearest {grouped(COMPARED_PAIRS)} were compared by their pixels. Where so "
            "many look alike the hash does not tell images apart: remove_duplicates.py does.",
        )


def _between(pairs: pd.DataFrame) -> str:
    """Copies by the splits they lie in."""
    counts = (pairs["other_split"] + " and " + pairs["split"]).value_counts(sort=False)
    inside = {name: name.split(" and ")[0] for name in counts.index}
    return ", ".join(
        f"{grouped(count)} within {inside[name]}" if name == f"{inside[name]} and {inside[name]}"
        else f"{grouped(count)} between {name}"
        for name, count in counts.items()
    )  # fmt: skip


def _disagreements(pairs: pd.DataFrame) -> str:
    other = int((pairs["same_labels"] == "no").sum())
    return f"; {grouped(other)} with other labels than that one's" if other else ""


def _channels(found: ImageExploration) -> Iterator[Finding]:
    table = found.channels
    for row in table[table["flat"] > 0].to_dict("records"):
        yield Finding(
            lead=f"Channel {row['channel']} of {grouped(row['flat'])} {row['split']} "
            f"{'image' if row['flat'] == 1 else 'images'} shows nothing",
            told="every pixel has one value.",
        )
    for row in table[table["saturated"] >= MUCH_WHITE].to_dict("records"):
        yield Finding(lead=f"Channel {row['channel']} is burnt out in {row['split']}",
                      told=f"{row['saturated']:.1f} % of its pixels are white.")  # fmt: skip
    yield from _channels_apart(table)


def _channels_apart(table: pd.DataFrame) -> Iterator[Finding]:
    """Test images beside train ones."""
    splits = {str(split): rows.set_index("channel") for split, rows in table.groupby("split")}
    if not {"train", "test"} <= splits.keys():
        return
    train, test = splits["train"], splits["test"]
    scatter = np.maximum(np.sqrt((train["sd_of_means"] ** 2 + test["sd_of_means"] ** 2) / 2), 1e-9)
    far = ((test["mean"] - train["mean"]) / scatter).abs()
    if far.max() >= FAR_MEANS:
        name = str(far.idxmax())
        yield Finding(
            lead=f"Test images differ from train images in channel {name}",
            told=f"its mean is {test['mean'][name]:.1f} there and {train['mean'][name]:.1f} here, "
            f"{far[name]:.1f} standard deviations of single images apart.",
        )
