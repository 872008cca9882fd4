"""A run made by hand, whose claims are known.

Test image t0N shows what labelled image r0N shows: t00 to t05 are claimed to be copies, the last of
them with equal pixels; t06 to t08 are claimed to be siblings; t09 is probably a copy, and t10 is
nothing known. The audit doubts the labels of r00 and r01, and not those of r02. If it has groups,
r00, r03 and r06 are one, whose labels are equal, and r01 and r02 are another one.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from atlas.core.files import write_json
from atlas.dataset.artifacts import (
    LEAK_COLUMNS,
    MATCH_COLUMNS,
    ORIGIN_COLUMNS,
    EmbeddingSet,
    save_table,
)
from atlas.dataset.manifest import read_manifest
from atlas.synthetic.edits import rotated
from atlas.workflows.curate.label_audit import AUDIT_COLUMNS
from atlas.workflows.leaks.calibration import save_calibration, save_certificate
from atlas.workflows.leaks.siblings import SIBLING_COLUMNS
from index.claims.duplicates import COPY_COLUMNS
from index.index_folder import save_index
from tests.atlas.workflows.leaks.calibrations import calibrated
from tests.conftest import write_field, write_tiny_atlas
from tests.textures import texture

CHANNELS = ("red", "green")
LABELS = ("zero", "one", "<b>two</b>")
COPIES, SIBLINGS = (0.9, 0.8, 0.7, 0.95, 0.99, 1.0), (0.6, 0.5, 0.3)
COUNT = 11
TESTS = tuple(f"t{n:02}" for n in range(COUNT))
REFERENCES = tuple(f"r{n:02}" for n in range(COUNT))
GAINS = {0: 0.01, 1: -0.02, 2: 0.03, 3: 0.04, 4: 0.05}
ALIGNED = (90, 100, 90.0, "no", 1.0, 1.0, "0.00 0.00 1.00 1.00", "no", "0 1")
NOT_ALIGNED = (0, 0, *[None] * 7)


def labels_of(n: int) -> str:
    return ("0", "1", "0 2")[n % 3]


def write_data(folder: Path) -> Path:
    data = write_tiny_atlas(
        folder, train={i: labels_of(n) for n, i in enumerate(REFERENCES)}, test=TESTS,
        channels=CHANNELS, labels=LABELS, size=(128, 128),
        identities={i: f"antibody {n}" for n, i in enumerate(REFERENCES)},
    )  # fmt: skip
    for n, (reference, test) in enumerate(zip(REFERENCES, TESTS, strict=True)):
        write_field(data / "train", reference, texture(n), CHANNELS)
        shown = rotated(texture(n), 1) if n < len(COPIES) else texture(n + 100)
        write_field(data / "test", test, shown, CHANNELS)
    return data


def write_run(
    folder: Path, *, leaks: bool = True, submission: bool = True, audit: bool = True,
    groups: bool = False,
) -> tuple[Path, Path]:  # fmt: skip
    """Write an atlas and a run, and return both folders."""
    data, run = write_data(folder / "data"), folder / "run"
    if leaks:
        _write_index(run / "index", data)
        _write_leaks(run / "leaks")
    if groups:
        write_groups(run / "duplicates", {"r00": ("r00", "r03", "r06"), "r01": ("r01", "r02")})
    if submission:
        _write_submission(run / "submission")
    if audit:
        rows = [
            (1, "r00", "0", "1 2", 0.9, "The image lacks label 1."),
            (2, "r01", "1", "0", 0.6, "The image lacks label 0."),
            (3, "r02", "0 2", "0 2", 0.2, "Nothing."),
        ]
        table = pd.DataFrame(rows, columns=list(AUDIT_COLUMNS))
        save_table(run / "audit" / "audit.csv", table)
    return data, run


def _write_index(folder: Path, data: Path) -> None:
    vectors = np.eye(COUNT, dtype=np.float32)
    known = EmbeddingSet(ids=REFERENCES, vectors_ND=vectors, provenance={"embedder": "planted"})
    labelled = read_manifest(data).labelled
    save_index(folder, known, labelled, REFERENCES, data=data, image_size_px=128)


def _write_leaks(folder: Path) -> None:
    calibration = calibrated()
    save_calibration(folder, calibration)
    certificate = calibration.certificate(np.full(COUNT, 40.0), claims=len(COPIES))
    save_certificate(folder, certificate)
    confidences = [*COPIES, *SIBLINGS, np.nan, np.nan]
    matches = []
    for n, (test, reference, confidence) in enumerate(
        zip(TESTS, REFERENCES, confidences, strict=True)
    ):
        is_copy, is_sibling = n < len(COPIES), len(COPIES) <= n < len(COPIES + SIBLINGS)
        relation = "same_image" if is_copy else "sibling" if is_sibling else ""
        score = 40.0 + n if is_copy else 30.0 if n == 9 else 0.0
        aligned = ALIGNED if is_copy else NOT_ALIGNED
        matches.append(
            (test, "test", reference, "train", 0.9, score, relation, confidence, *aligned)
        )
    matches.append(("t00", "test", "r01", "train", 0.95, 0.1, "", np.nan, *NOT_ALIGNED))
    matches.append(("t00", "test", "t01", "test", 0.99, 50.0, "same_image", 0.99, *ALIGNED))
    save_table(folder / "matches.csv", pd.DataFrame(matches, columns=list(MATCH_COLUMNS)))
    save_table(folder / "leaks.csv", pd.DataFrame([], columns=list(LEAK_COLUMNS)))
    siblings = [(f"t{n:02}", f"antibody {n}", 5.0, 0.9, 0.8, 0.1, 0.5, 0.0) for n in (6, 7, 8)]
    save_table(folder / "siblings.csv", pd.DataFrame(siblings, columns=list(SIBLING_COLUMNS)))


def _write_submission(folder: Path) -> None:
    for name in ("submission.csv", "submission_without_transfer.csv"):
        save_table(folder / name, pd.DataFrame({"Id": TESTS, "Predicted": ["1"] * COUNT}))
    origins = [
        (test, "classifier", "", np.nan, "", GAINS.get(n, np.nan), "why")
        for n, test in enumerate(TESTS)
    ]
    save_table(folder / "origins.csv", pd.DataFrame(origins, columns=list(ORIGIN_COLUMNS)))
    write_json(folder / "summary.json", {"classifier": "planted"})


def write_groups(folder: Path, groups: dict[str, tuple[str, ...]]) -> None:
    """Write groups of copies, of which the policy keeps the first ones."""
    rows = [
        (one, kept, kept, f"first of {len(ids)} images", f"sharpness 0.{n}", 128, 128)
        for kept, ids in groups.items()
        for n, one in enumerate(ids, start=1)
    ]
    columns = [*COPY_COLUMNS, "width_px", "height_px"]
    save_table(folder / "copies.csv", pd.DataFrame(rows, columns=columns))
