"""Two plain folders: find the pictures of a new folder that are already in a known one."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from atlas.core.errors import UserError
from atlas.core.execution import LOCAL, ExecutionSettings, executing
from atlas.core.files import AnyPath, InFolder
from atlas.core.locks import writes
from atlas.core.row_cache import cache_folder
from atlas.dataset.artifacts import SAME_IMAGE, save_table
from atlas.dataset.atlas_folder import write_atlas_folder
from atlas.workflows.embed.index import Index, build_index
from atlas.workflows.leaks.finding import LeakFinding, find_leaks
from atlas.workflows.run_folder import RunFolder
from index.settings import LeakSettings
from retrieval.sources import FROZEN

COPY, LIKELY, UNKNOWN = "copy", "likely", "unknown"
FOUND_FILE = "found.csv"
FOUND_COLUMNS = ("new", "verdict", "known", "registration_score", "confidence", "label", "reason")
IMAGE_SIZE_PX = 160  # larger images cost more and find the same copies, because pixels decide
# Where the reason of a claim begins to speak of labels.
LABELS_IN_REASONS = r" (?:The labels of the match are|The match has no|The matches disagree) "
SHOWN_ROWS = 20  # in a notebook


@dataclass(frozen=True, kw_only=True)
class Found(InFolder):
    """The new pictures, and which of them are known.

    Attributes:
        folder: The run folder, with found.csv, the report page, and the files that later commands
            need.
        table: One row of FOUND_COLUMNS for each new picture, copies first. The verdict is copy,
            likely (probably a copy, so a person should look at it) or unknown.
        index: The index of the known pictures.
        leaks: The claims, and the calibration behind them.
    """

    folder: Path
    table: pd.DataFrame
    index: Index
    leaks: LeakFinding

    @property
    def report(self) -> Path:
        """The page that shows every copy next to its known picture."""
        return self.leaks.report

    @property
    def counts(self) -> dict[str, int]:
        """The number of pictures, and of new ones with each verdict."""
        verdicts = self.table["verdict"].value_counts()
        return {
            "known": len(self.index),
            "new_pictures": len(self.table),
            "copies": int(verdicts.get(COPY, 0)),
            "likely": int(verdicts.get(LIKELY, 0)),
            "unknown": int(verdicts.get(UNKNOWN, 0)),
        }

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        n = self.counts
        return (
            f"{n['copies']} of {n['new_pictures']} new pictures are copies of the {n['known']} "
            f"known pictures, {n['likely']} more are probably copies, and "
            f"{n['unknown']} match no known picture."
        )

    def _repr_html_(self) -> str:
        return f"<p>{self.summary}</p>{self.table.to_html(max_rows=SHOWN_ROWS, index=False)}"


@writes("out")
def find(
    known: AnyPath,
    new: AnyPath,
    out: AnyPath = "runs/find",
    settings: LeakSettings = LeakSettings(),
    *,
    execution: ExecutionSettings = LOCAL,
) -> Found:
    """Find which pictures of one folder are already in another.

    The folders hold ordinary pictures, perhaps in subfolders, and need no tables. The relative path
    of a picture is its id, and its subfolder is its label. A pretrained network proposes
    candidates, which are then compared by their pixels. What takes long is kept in `out`, so the
    same call after pictures came or went only computes what is new.

    Args:
        known: The folder of known pictures.
        new: The folder of new pictures.
        out: The run folder to write; other commands can work on it, with `--data OUT/data`.
        settings: What is called a copy, and on what measurements.
        execution: Where the long work runs.

    Raises:
        UserError: A folder is missing, or both are the same.
        DataError: A folder has no picture that can be read.

    Example:
        >>> found = atlas.find("known_photos", "new_photos")  # doctest: +SKIP
        >>> print(found.summary)  # doctest: +SKIP
        13 of 30 new pictures are copies of the 68 known pictures, 2 more are probably copies, ...
    """
    if execution.part:
        raise UserError(
            "--part is for commands that write one result; find writes several, so give --part to "
            "build-index and find-leaks"
        )
    run = RunFolder(Path(out))
    data = write_atlas_folder(run.path / "data", known, new)
    with executing(execution, shared=cache_folder(run.index).resolve(), inputs=Path(known)):
        index = build_index(data, FROZEN, run.index, image_size_px=IMAGE_SIZE_PX)
        leaks = find_leaks(data, index, run.leaks, settings)
    table = _verdicts(leaks, index.opened.spec.labels)
    save_table(run.path / FOUND_FILE, table)
    return Found(folder=run.path, table=table, index=index, leaks=leaks)


def _verdicts(leaks: LeakFinding, labels: tuple[str, ...]) -> pd.DataFrame:
    """Return a row for each new picture, copies first."""
    claims = leaks.table[leaks.table["relation"] == SAME_IMAGE].assign(verdict=COPY)
    likely = leaks.likely.assign(verdict=LIKELY)
    rows = pd.concat([claims, likely]).reset_index(drop=True)
    found = set(rows["Id"])
    others = [image_id for image_id in leaks.test_ids if image_id not in found]
    new = pd.DataFrame({"Id": others, "verdict": UNKNOWN, "reason": "No known picture matches."})
    rows = pd.concat([rows, new])
    numbers = rows["labels"].fillna("")
    named = numbers.map(lambda text: " ".join(labels[int(number)] for number in text.split()))
    # A reason goes on with what becomes of the labels, which does not matter here.
    reasons = rows["reason"].str.split(LABELS_IN_REASONS, n=1, regex=True).str[0]
    table = rows.assign(label=named, reason=reasons).rename(
        columns={"Id": "new", "match_id": "known"}
    )
    return table[list(FOUND_COLUMNS)].reset_index(drop=True)
