"""Images whose neighbours agree against their labels: ranked, told and shown."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from atlas.artifact_files import save_table
from atlas.errors import UserError
from atlas.files import check_replaceable, folder_written_beside, write_json
from atlas.split import kin_of
from atlas.store import fill_store
from index.label_audit import audit_labels
from pipeline.atlas_index import open_atlas_index
from pipeline.kept_neighbours import kept_neighbours
from pipeline.label_audit_telling import Telling, audit_table, page_case
from pipeline.label_audit_trial import AuditTrial, try_audit
from pipeline.search import search_of
from report.label_audit_page import save_audit_page

AUDIT_FILE = "audit.csv"
SHOWN = 50


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """neighbours: heard of each image. wrong_share: of the images taken to be labelled wrongly
    before looking; so many are also flipped for the trial. seed: of the trial."""

    neighbours: int
    wrong_share: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class AuditedAtlas:
    """table: as audit.csv; trial: what the audit finds where the truth is known.

    kin_count: identities and groups of two labelled images or more.
    """

    table: pd.DataFrame
    trial: AuditTrial
    kin_count: int


def audit_labels_of(
    data: Path, index_folder: Path, out: Path, settings: AuditSettings
) -> AuditedAtlas:
    """Writes audit.csv, audit.html and audit.json to `out`; raises UserError for bad settings."""
    if wrong := "; ".join(_problems(settings)):
        raise UserError(wrong)
    check_replaceable(out, holds=AUDIT_FILE)
    manifest, index = open_atlas_index(data, index_folder)
    kin = kin_of(manifest)  # what got its labels together
    neighbours = kept_neighbours(
        search_of(index), index.embeddings, settings.neighbours,
        folder=out.parent / "store" / "neighbours",
    )  # fmt: skip
    count = len(manifest.spec.labels)
    audit = audit_labels(
        neighbours, index.labels, label_count=count, kin=kin, wrong_share=settings.wrong_share
    )
    trial = try_audit(
        neighbours, index.labels, label_count=count, kin=kin, share=settings.wrong_share,
        seed=settings.seed,
    )  # fmt: skip
    telling = Telling(
        audit=audit, neighbours=neighbours, labels=index.labels, spec=manifest.spec, kin=kin
    )
    table = audit_table(telling)
    store = fill_store(manifest, out.parent / "store", size_px=index.image_size_px)
    about = {
        "settings": asdict(settings),
        "trial": asdict(trial),
        "embedder": index.embeddings.provenance["embedder"],
        "labelled_tables": index.table_hash,
    }
    with folder_written_beside(out, holds=AUDIT_FILE) as folder:
        save_table(folder / AUDIT_FILE, table)
        cases = [page_case(telling, image_id, store) for image_id in table["Id"][:SHOWN]]
        save_audit_page(folder / "audit.html", cases, title=f"Labels of {manifest.spec.name}",
                        note=trial_in_words(trial))  # fmt: skip
        write_json(folder / "audit.json", about)
    return AuditedAtlas(table=table, trial=trial, kin_count=len(set(kin.values())))


def trial_in_words(trial: AuditTrial) -> str:
    return (
        f"trial: of {trial.flipped} of {trial.images} images whose labels were replaced by those "
        f"of a random other image, {trial.found:.1%} are among the {trial.flipped} most "
        f"suspicious (average precision {trial.average_precision:.3f})"
    )


def _problems(settings: AuditSettings) -> Iterator[str]:
    if settings.neighbours < 1:
        yield f"-k {settings.neighbours}: at least one neighbour has to be heard"
    if not 0 < settings.wrong_share < 0.5:
        yield f"--wrong-share {settings.wrong_share:g}: between 0 and 0.5, without the two"
    if settings.seed < 0:
        yield f"--seed {settings.seed}: a seed is not negative"
