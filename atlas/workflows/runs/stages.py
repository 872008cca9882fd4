"""The stages of a run file: find those that are not done, and run each as a command.

For each finished stage, `RUN/run.json` records its inputs and a hash of its outputs. A stage is
done while both are unchanged. So a stage is repeated only if its options, the atlas or a stage
before it changed, or if its files were overwritten.
"""

import logging
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.core.errors import UserError, command_line, command_words
from atlas.core.files import AnyPath, content_hash
from atlas.core.locks import locked
from atlas.core.processes import run_command
from atlas.core.row_cache import cache_folder
from atlas.core.row_file import DamagedFileError
from atlas.core.sealed_json import read_sealed_json, write_sealed_json
from atlas.dataset.file_keys import FileChecksums
from atlas.dataset.image_folders import is_image
from atlas.dataset.manifest import read_tables
from atlas.dataset.spec import SPEC_FILE, image_folders, read_spec
from atlas.dataset.tables import CORRECTIONS_TABLE, GROUPS_TABLE, TABLES
from atlas.workflows.run_folder import RunFolder, State
from atlas.workflows.runs.run_file import RunFile, RunStage, read_run_file

LOGGER = logging.getLogger(__name__)
RUN_FILE = "run.json"
ATLAS_TABLES = (SPEC_FILE, GROUPS_TABLE, CORRECTIONS_TABLE, *TABLES.values())


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A stage and its state.

    A stage is "resumable" if its folder exists but was not finished by this run, and "stale" if it
    is done and its inputs have changed or will change.
    """

    stage: RunStage
    state: State

    @property
    def command(self) -> str:
        """The command line of the stage."""
        return " ".join([command_line(self.stage.script), *map(shlex.quote, self.stage.words)])


def plan_run(run: RunFile) -> list[Planned]:
    """Return the state of each stage, without running any."""
    atlas, kept = _atlas_key(run.data, cache_folder(run.out / RUN_FILE)), _kept(run)
    planned: dict[str, Planned] = {}
    for stage in run.stages:
        before = [planned[name].state for name in stage.needs]
        state = _state(stage, kept.get(stage.name), _made_from(run, stage, atlas))
        if state == "done" and any(other != "done" for other in before):
            state = "stale"
        planned[stage.name] = Planned(stage=stage, state=state)
    return list(planned.values())


def run(file: AnyPath = "run.toml") -> RunFolder:
    """Do all that a run file asks for and that is not done yet, in order.

    The same file again does only what is left, and a stopped run is resumed.

    Args:
        file: A TOML file that names the atlas, embedder, classifiers, ensemble and their options.

    Returns:
        The run folder.

    Raises:
        DataError: The file has problems.
        UserError: A stage failed; the text names it.

    Example:
        >>> atlas.run("examples/hpa_2018.toml")  # doctest: +SKIP
    """
    wanted = read_run_file(Path(file))
    do_run(wanted)
    return RunFolder(wanted.out)


def do_run(run: RunFile) -> list[RunStage]:
    """Run the stages that are not done, in order, and return them.

    Raises:
        UserError: A command failed, after reporting the reason; the error names the stage. Or
            another process does the same run.
    """
    with locked(run.out, command=command_line("run")):
        return _run_stages(run)


def _run_stages(run: RunFile) -> list[RunStage]:
    atlas, did = _atlas_key(run.data, cache_folder(run.out / RUN_FILE)), []
    for number, stage in enumerate(run.stages, 1):
        made_from, kept = _made_from(run, stage, atlas), _kept(run)
        planned = Planned(stage=stage, state=_state(stage, kept.get(stage.name), made_from))
        heading = f"[{number}/{len(run.stages)}] {stage.name}"
        if planned.state == "done":
            LOGGER.info(f"{heading}: done")
            continue
        LOGGER.info(f"{heading}\n$ {planned.command}")
        _call(run, stage)
        written = {"made_from": made_from, "wrote": _hashes(stage)}
        write_sealed_json(run.out / RUN_FILE, {**kept, stage.name: written})
        did.append(stage)
    return did


def _call(run: RunFile, stage: RunStage) -> None:
    sys.stdout.flush()
    if run_command([*command_words(stage.script), *stage.words]):
        raise UserError(
            f"{run.path}: [{stage.name}] did not finish; fix the error above and run the file "
            "again, which resumes at this stage"
        )


def _state(stage: RunStage, kept: dict[str, Any] | None, made_from: dict[str, str]) -> State:
    if kept is None:
        return "resumable" if stage.name != "score" and stage.folder.exists() else "pending"
    if kept["made_from"] == made_from and kept["wrote"] == _hashes(stage):
        return "done"
    return "stale"


def _made_from(run: RunFile, stage: RunStage, atlas: str) -> dict[str, str]:
    """Return the inputs of a stage; the location of the run is not one of them."""
    stages = {each.name: each for each in run.stages}
    before = [repr(sorted(_hashes(stages[name]).items())) for name in stage.needs]
    files = [*(run.data / name for name in stage.tables), *stage.files]
    return {
        "command": " ".join([stage.script, *stage.options]),
        "atlas": content_hash(atlas, *map(_file_hash, files)),
        "stages": content_hash(*before),
    }


def _hashes(stage: RunStage) -> dict[str, str]:
    return {name: _file_hash(stage.folder / name) for name in stage.done}


def _file_hash(path: Path) -> str:
    return content_hash(path.read_bytes()) if path.is_file() else ""


def _atlas_key(data: Path, work: Path) -> str:
    """Return a key of the bytes of tables, and of the names and bytes of images."""
    tables = [_file_hash(data / name) for name in ATLAS_TABLES]
    folders = image_folders(data)
    if read_spec(data).by_path:
        rows = read_tables(data).rows
        files = {f"{row.split}/{row.id}": folders[row.split] / row.id for row in rows}
    else:
        files = {
            f"{split}/{file.name}": file
            for split, folder in folders.items()
            for file in _files_of(folder)
        }
    there = {name: file for name, file in files.items() if is_image(file)}
    checksums = FileChecksums(there.values(), work)
    key = content_hash(*tables, *there, *checksums.of(list(there.values())))
    checksums.keep()
    return key


def _files_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _kept(run: RunFile) -> dict[str, Any]:
    with suppress(FileNotFoundError, DamagedFileError):  # then every stage is run again
        return read_sealed_json(run.out / RUN_FILE)
    return {}
