"""A run as a file: a TOML file names the stages, each of which is a command with its options.

```toml
data = "data"            # paths are relative to the folder in which the command is run
out = "runs/mine"        # by default runs/NAME for a file NAME.toml
seed = 0                 # for every stage without a seed of its own

[embedder]               # omit it, or use recipe = "frozen", for a backbone without training
recipe = "winner"        # and any option of train-embedder, with _ instead of -; "timm:NAME",
                         # "torchscript:FILE" and "onnx:FILE" need no training either

[leaks]                  # any option of find-leaks; [index] and [submission] work alike
copy_precision = 0.99

[classifiers.dense]      # one table for each classifier: with `folds` any option of
recipe = "densenet121"   # train-folds, without it any option of train-classifier
folds = 5

[ensemble]               # of all classifiers, required if there are several
how = "mean"             # any option of ensemble
```
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atlas.core.errors import DataError, UserError
from atlas.core.escaping import quoted
from atlas.core.row_cache import CACHE_NAME
from atlas.core.text_files import parsed_toml
from atlas.dataset.picture_files import file_name_of
from atlas.dataset.tables import GROUPS_TABLE
from atlas.dataset.truth import TRUTH_FILE
from atlas.workflows.run_folder import (
    CALIBRATION_FILE,
    LEAKS_FILE,
    ORIGINS_FILE,
    SUBMISSION_FILE,
    SUMMARY_FILE,
    RunFolder,
)
from classify.run_files import TEST_FILE, THRESHOLDS_FILE
from index.index_folder import INDEX_FILE
from retrieval.embedder_folder import EMBEDDER_FILE
from retrieval.sources import FROZEN, files_of, is_untrained

TOP_LEVEL = ("data", "out", "seed")
PLAIN_STAGES = ("embedder", "index", "leaks", "ensemble", "submission")
CLASSIFIERS = "classifiers"
DECIDES = (THRESHOLDS_FILE, TEST_FILE)  # the files of classifiers, folds and ensembles
# Folder names of a run that are not available for classifiers.
TAKEN = (*PLAIN_STAGES, CACHE_NAME, "score")
SEEDED = ("train_embedder", "find_leaks", "train_classifier", "train_folds", "ensemble")


@dataclass(frozen=True, kw_only=True)
class RunStage:
    """A command of a run.

    Attributes:
        name: The name of its table in the file.
        script: The name of the command.
        options: The options as words of the command line, without `places`.
        places: --data, --out and the outputs of other stages. They say where a run is, not what it
            does.
        folder: The folder that the stage writes.
        done: The files in it that are complete once the stage has finished.
        needs: The stages whose files it reads.
        tables: The tables of the atlas folder that it reads, in addition to those of all stages.
        files: Other files that it reads, such as a network that somebody else made.
    """

    name: str
    script: str
    options: tuple[str, ...]
    places: tuple[str, ...]
    folder: Path
    done: tuple[str, ...]
    needs: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """All words that follow the name of the command."""
        return (*self.options, *self.places)


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """A run file that was read.

    Attributes:
        path: The TOML file.
        data: The atlas folder.
        out: The run folder.
        stages: The stages in order.
    """

    path: Path
    data: Path
    out: Path
    stages: tuple[RunStage, ...]


def read_run_file(path: Path) -> RunFile:
    """Read a run file; the commands check whether its options exist.

    Raises:
        DataError: The file has problems; the error lists all of them.
        UserError: There is no such file, or it is not TOML.
    """
    text = _read(path)
    if problems := list(_problems(text)):
        raise DataError(str(path), problems)
    data, out = Path(text["data"]), Path(text.get("out", Path("runs") / path.stem))
    seed = text.get("seed", 0)
    stages = [_with_seed(stage, seed) for stage in _stages(text, data, RunFolder(out))]
    return RunFile(path=path, data=data, out=out, stages=tuple(stages))


def _read(path: Path) -> dict[str, Any]:
    try:
        return parsed_toml(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the name of a run file") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None


def _problems(text: Mapping[str, Any]) -> Iterator[str]:
    known = (*TOP_LEVEL, *PLAIN_STAGES, CLASSIFIERS)
    for name in text:
        if name not in known:
            yield f"{name} is not one of {', '.join(known)}"
    if not isinstance(text.get("data"), str):
        yield 'data is missing; give the atlas folder, such as data = "data"'
    if not isinstance(text.get("out", ""), str):
        yield f"out must be the path of a folder in quotes (got {text['out']!r})"
    if not isinstance(text.get("seed", 0), int):
        yield f"seed must be a whole number (got {text['seed']!r})"
    tables = {name: text[name] for name in PLAIN_STAGES if name in text}
    classifiers = text.get(CLASSIFIERS, {})
    if not isinstance(classifiers, dict) or not classifiers:
        yield "there is no classifier; add a table [classifiers.NAME] with its recipe"
        classifiers = {}
    for name in classifiers:
        if file_name_of(name or ".") != name:
            yield f"[classifiers.{quoted(name)}]: the name cannot be that of a folder"
        if name in TAKEN:
            yield f"[classifiers.{name}]: the name is in use for another folder of the run"
    if len(classifiers) > 1 and "ensemble" not in text:
        yield "there are several classifiers; add a table [ensemble] that combines them"
    tables |= {f"{CLASSIFIERS}.{name}": table for name, table in classifiers.items()}
    for name, table in tables.items():
        yield from _table_problems(name, table)


def _table_problems(name: str, table: object) -> Iterator[str]:
    if not isinstance(table, dict):
        yield f"[{name}]: must be a table of options"
        return
    for option, value in table.items():
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, str | int | float) for each in values):
            yield (
                f"[{name}] {option} must be a number, a text, true, false, or a list of these "
                f"(got {value!r})"
            )
    if name.startswith(CLASSIFIERS) and not isinstance(table.get("recipe"), str):
        yield f'[{name}]: recipe is missing; add one, such as recipe = "densenet121"'


def _stages(text: Mapping[str, Any], data: Path, run: RunFolder) -> Iterator[RunStage]:
    embedder = dict(text.get("embedder", {}))
    recipe = str(embedder.get("recipe", FROZEN))
    untrained = is_untrained(recipe)
    if untrained and len(embedder) > 1:
        raise UserError(
            f'[embedder]: with recipe = "{recipe}" nothing is trained; omit other options'
        )
    trained = run.path / "embedder"
    if not untrained:
        yield RunStage(
            name="embedder", script="train_embedder", options=_options(embedder),
            places=_places(data, trained), folder=trained, done=(EMBEDDER_FILE,),
        )  # fmt: skip
    yield RunStage(
        name="index", script="build_index",
        options=(*(("--embedder", recipe) if untrained else ()), *_options(text.get("index", {}))),
        places=_places(data, run.index, **({} if untrained else {"embedder": trained})),
        folder=run.index, done=(INDEX_FILE,), needs=() if untrained else ("embedder",),
        files=files_of(recipe),
    )  # fmt: skip
    yield RunStage(
        name="leaks", script="find_leaks", options=_options(text.get("leaks", {})),
        places=_places(data, run.leaks, index=run.index), folder=run.leaks,
        done=(CALIBRATION_FILE, LEAKS_FILE, GROUPS_TABLE), needs=("index",),
        files=_further_files(text.get("leaks", {})),
    )  # fmt: skip
    yield from _deciding(text, data, run)


def _further_files(leaks: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return the files by which the further indexes of a table [leaks] are known."""
    value = leaks.get("further_indexes", ())
    folders = [value] if isinstance(value, str) else value
    return tuple(Path(str(folder)) / INDEX_FILE for folder in folders)


def _deciding(text: Mapping[str, Any], data: Path, run: RunFolder) -> Iterator[RunStage]:
    """Yield the classifiers, their ensemble, the submission, and its score if there is a truth."""
    names, out = list(text[CLASSIFIERS]), run.path
    for name in names:
        table = text[CLASSIFIERS][name]
        yield RunStage(
            name=f"{CLASSIFIERS}.{name}",
            script="train_folds" if "folds" in table else "train_classifier",
            options=_options(table), places=_places(data, out / name), folder=out / name,
            done=DECIDES,
        )  # fmt: skip
    last = names[0]
    if "ensemble" in text:
        last = "ensemble"
        yield RunStage(
            name=last, script="ensemble", options=_options(text["ensemble"]),
            places=("--members", *(str(out / name) for name in names), *_places(data, out / last)),
            folder=out / last, done=DECIDES,
            needs=tuple(f"{CLASSIFIERS}.{name}" for name in names),
        )  # fmt: skip
    deciding = last if last == "ensemble" else f"{CLASSIFIERS}.{last}"
    yield RunStage(
        name="submission", script="make_submission",
        options=_options(text.get("submission", {})),
        places=_places(data, run.submission, leaks=run.leaks, classifier=out / last),
        folder=run.submission, done=(SUBMISSION_FILE, ORIGINS_FILE, SUMMARY_FILE),
        needs=("leaks", deciding),
    )  # fmt: skip
    if (data / TRUTH_FILE).exists():
        yield RunStage(
            name="score", script="score", options=(),
            places=("--data", str(data), "--run", str(out)), folder=out, done=("score.json",),
            needs=("leaks", "submission"), tables=(TRUTH_FILE,),
        )  # fmt: skip


def _places(data: Path, out: Path, **others: Path) -> tuple[str, ...]:
    places = {"data": data, **others, "out": out}
    return tuple(word for name, path in places.items() for word in (f"--{name}", str(path)))


def _options(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Return options as words of a command line, a recipe first and without its name."""
    words = [str(table["recipe"])] if "recipe" in table else []
    for option, value in table.items():
        flag = option.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif option != "recipe":
            values = value if isinstance(value, list) else [value]
            words += [f"--{flag}", *map(str, values)]
    return tuple(words)


def _with_seed(stage: RunStage, seed: int) -> RunStage:
    if stage.script not in SEEDED or "--seed" in stage.options:
        return stage
    return replace(stage, options=(*stage.options, "--seed", str(seed)))
