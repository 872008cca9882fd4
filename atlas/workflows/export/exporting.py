"""Claims, verdicts and labels of a run in the formats of other tools."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atlas.core.errors import UserError
from atlas.core.files import AnyPath, InFolder, content_hash
from atlas.core.locks import writes
from atlas.core.result_folder import (
    check_replaceable,
    folder_filled_beside,
    folder_written_beside,
)
from atlas.core.wording import counted
from atlas.dataset.verdicts import VERDICTS_NAME, read_verdicts
from atlas.workflows.export.coco import save_coco
from atlas.workflows.export.content import Content, read_content
from atlas.workflows.export.fiftyone import save_fiftyone
from atlas.workflows.export.hugging_face import save_hugging_face
from atlas.workflows.export.label_studio import save_label_studio
from atlas.workflows.export.verdict_table import VERDICTS_TABLE, save_verdict_table

ExportFormat = Literal["csv", "fiftyone", "label-studio", "coco", "huggingface"]
COMMAND = "export"


@dataclass(frozen=True, kw_only=True)
class Exported(InFolder):
    """An export.

    Attributes:
        folder: The folder.
        kind: The format.
        images: The number of images in it.
        claims: The number of claims.
        verdicts: The number of pairs on which a verdict stands, or, of the format csv, the number
            of rows.
        notes: Sentences about what the export lacks.
    """

    folder: Path
    kind: ExportFormat
    images: int
    claims: int
    verdicts: int
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """What was exported, in words."""
        if self.kind == "csv":
            return f"Verdicts, corrections and choices in the table: {self.verdicts:,}."
        return (
            f"The export has {counted(self.images, 'image')}, {counted(self.claims, 'claim')}, "
            f"and verdicts on {counted(self.verdicts, 'pair')}."
        )


@writes("out")
def export(
    kind: ExportFormat,
    data: AnyPath = "data",
    run: AnyPath = "runs",
    out: AnyPath = "runs/export",
    *,
    only: Literal["claims"] | None = None,
) -> Exported:
    """Write claims, verdicts and labels in the format of another tool.

    Args:
        kind: The format: csv for the table of verdicts and corrections; fiftyone, label-studio,
            coco or huggingface for folders with pictures.
        data: The atlas folder.
        run: The run folder, which has leaks, perhaps a submission, and perhaps verdicts.
        out: The folder to write.
        only: "claims" leaves out the images that take part in no claim and in no verdict.
            The tasks of Label Studio never have them.

    Raises:
        MissingStageError: The run has no leaks.
        DataError: The data folder has problems.
        ProvenanceError: The claims or the submission belong to other images.
        UserError: `out` contains something else, or there are no verdicts to write as csv.

    Example:
        >>> made = atlas.export("coco", "data", "runs", "runs/coco")  # doctest: +SKIP
        >>> print(made.summary)  # doctest: +SKIP
    """
    data, run, out = Path(data), Path(run), Path(out)
    check_replaceable(out, COMMAND)
    if kind == "csv":
        if only:
            raise UserError("--only does not apply to csv, which has no images; omit it")
        return _export_table(run, out)
    content = read_content(data, run)
    if only or kind == "label-studio":
        content = content.of_claims
    with folder_filled_beside(out, written_by=COMMAND, key=_key(kind, content)) as folder:
        _SAVERS[kind](folder, content, out.resolve().name)
    return Exported(
        folder=out,
        kind=kind,
        images=len(content.images),
        claims=content.claims,
        verdicts=content.pairs,
        notes=_notes(content),
    )


# What writes each format: functions of the folder, the content, and the name of the folder.
_SAVERS: Mapping[ExportFormat, Callable[[Path, Content, str], None]] = {
    "fiftyone": lambda folder, content, _: save_fiftyone(folder, content),
    "label-studio": lambda folder, content, name: save_label_studio(folder, content, name=name),
    "coco": lambda folder, content, _: save_coco(folder, content),
    "huggingface": lambda folder, content, _: save_hugging_face(folder, content),
}


def _export_table(run: Path, out: Path) -> Exported:
    path = run / VERDICTS_NAME
    if not path.exists():
        raise UserError(
            f"{path} does not exist: nobody has given a verdict in this run; give --run another "
            "folder, or give verdicts first"
        )
    said = read_verdicts(path)
    with folder_written_beside(out, written_by=COMMAND) as folder:
        save_verdict_table(folder / VERDICTS_TABLE, said)
    return Exported(folder=out, kind="csv", images=0, claims=0, verdicts=len(said.rows))


def _key(kind: ExportFormat, content: Content) -> str:
    """Return what the pictures are made from; a stopped export with the same key is resumed."""
    images = (f"{one.row.id}|{content.keys[one.row.id]}" for one in content.images)
    return content_hash(COMMAND, kind, *images)


def _notes(content: Content) -> tuple[str, ...]:
    notes = []
    if not content.submitted and any(one.row.split == "test" for one in content.images):
        notes.append("The run has no submission, so test images have no labels.")
    if content.stale:
        notes.append(
            f"Verdicts and corrections left out, because their images are not there or show "
            f"something else now: {content.stale:,}."
        )
    return tuple(notes)
