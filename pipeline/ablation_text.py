"""The table of an ablation for people."""

from collections.abc import Mapping

import pandas as pd

SELECTED_BY = "map_at_r"
TITLES = {"top1": "top-1", "r_precision": "R-precision", "map_at_r": "MAP@R"}
NOTES = """\
Gains are over the first row, with their standard error over queries as if those were independent;
the winner is chosen on the queries that it is measured by, which flatters it. Whitening and the
cohort of score normalisation are learned on {images} training images and no query. Re-ranking
sees the other queries, as its paper does, though not their labels. Score normalisation and
re-ranking are not combined: a normalised similarity has no scale to weigh against neighbours.
"""


def ablation_text(table: pd.DataFrame, class_is: Mapping[str, str], images: int) -> str:
    """Markdown: for each protocol its winner and all its rows. images: what was learned from."""
    parts = ["# After the network\n", NOTES.format(images=images)]
    for protocol, rows in table.groupby("protocol", sort=False):
        queries, name = rows["queries"].iloc[0], str(protocol)
        parts += [f"## {name} ({queries} queries, a class is {class_is[name]})\n"]
        parts += [f"Winner: {_winner(rows)}.\n", _markdown(rows)]
    return "\n".join(parts)


def winners(table: pd.DataFrame) -> list[str]:
    """A line for each protocol."""
    return [
        f"{protocol}: {_winner(rows)}" for protocol, rows in table.groupby("protocol", sort=False)
    ]


def _winner(rows: pd.DataFrame) -> str:
    """Of one protocol: the highest MAP@R, the first of equal ones."""
    best = rows.iloc[int(rows[SELECTED_BY].to_numpy(float).argmax())]
    score, title = best[SELECTED_BY], TITLES[SELECTED_BY]
    return f"{best['combination']}, {title} {score:.4f} ({_gain(best, SELECTED_BY)})"


def _markdown(rows: pd.DataFrame) -> str:
    headings = ["", *TITLES.values(), *(f"{TITLES[s]} gain" for s in (SELECTED_BY, "top1"))]
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)]]
    for _, row in rows.iterrows():
        scores = [f"{row[score]:.4f}" for score in TITLES]
        lines.append([row["combination"], *scores, _gain(row, SELECTED_BY), _gain(row, "top1")])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _gain(row: pd.Series, score: str) -> str:
    return f"{row[f'{score}_gain']:+.4f} ± {row[f'{score}_gain_error']:.4f}"
