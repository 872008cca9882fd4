"""No function writes a result that another command is writing; each refuses before any work."""

import importlib
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.cli.commands import COMMANDS
from atlas.core.errors import UserError
from atlas.core.locks import locked
from atlas.workflows.runs.run_file import RunFile
from atlas.workflows.runs.stages import do_run
from atlas.workflows.serve.live_gallery import live_gallery

# Functions by module, and the argument that is their result where it is not `out`.
WRITERS = {
    "atlas.synthetic.drawn_atlas": ("draw_atlas:folder", "draw_for_tables:folder"),
    "atlas.workflows.find": ("find",),
    "atlas.workflows.embed.embedder": ("train_embedder", "export_embedder"),
    "atlas.workflows.embed.index": ("build_index",),
    "atlas.workflows.leaks.finding": ("find_leaks", "find_leaks_again"),
    "atlas.workflows.classify.training": ("train_classifier", "train_folds", "pretrain_backbone"),
    "atlas.workflows.classify.prediction": ("predict",),
    "atlas.workflows.classify.ensemble": ("ensemble",),
    "atlas.workflows.classify.activation_pictures": ("show_maps",),
    "atlas.workflows.submit.submission": ("make_submission",),
    "atlas.workflows.submit.score": ("score_run:run",),
    "atlas.workflows.classify.augmentation_picture": ("show_augmentation",),
    "atlas.workflows.embed.lookup": ("lookup:montage",),
    "atlas.workflows.explain.explanation": ("explain",),
    "atlas.workflows.export.exporting": ("export",),
    "atlas.dataset.atlas_folder": ("write_tables:out",),
    "atlas.workflows.runs.update": ("update:run",),
    "atlas.workflows.curate.duplicates": ("remove_duplicates",),
    "atlas.workflows.curate.label_audit": ("audit_labels",),
    "atlas.workflows.curate.leak_tables": ("audit_leak_tables",),
    "atlas.workflows.curate.rare_augmentation": ("augment_rare",),
    "atlas.workflows.evaluate.ablation": ("ablate_retrieval",),
    "atlas.workflows.evaluate.embedder": ("evaluate",),
    "atlas.workflows.evaluate.loss_comparison": ("compare_losses",),
    "atlas.workflows.evaluate.cross_validation": ("cross_validate",),
    "atlas.workflows.explore.exploration": ("explore",),
    "atlas.workflows.simulate.simulation": ("simulate_test",),
}
# Commands that have another name than their function.
NAMES = {"score_run": "score", "audit_leak_tables": "audit_leaks", "write_tables": "init"}
ONLY_READ = {"check_submission", "completion"}
ONLY_ADD = {
    "import_verdicts",
    "review",
}  # rows, for which SQLite makes processes wait for one another
HOLD_LOCKS = {"serve"}  # while they run, which is tested below
ONLY_CALL_OTHERS = {"run", "demo", "bench"}  # `run` is tested below
CASES = [(module, *name.partition(":")[::2]) for module, names in WRITERS.items() for name in names]


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Path]:
    """A result that another thread is writing, which is no different from another process."""
    started, done = threading.Event(), threading.Event()

    def write() -> None:
        with locked(tmp_path / "busy", command="atlas build-index"):
            started.set()
            done.wait()

    thread = threading.Thread(target=write)
    thread.start()
    started.wait()
    yield tmp_path / "busy"
    done.set()
    thread.join()


@pytest.mark.parametrize(("module", "name", "argument"), CASES)
def test_a_result_that_is_being_written_is_refused(
    module: str, name: str, argument: str, busy: Path
) -> None:
    function = getattr(importlib.import_module(module), name)
    needed = {
        name: busy.with_name("missing")
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty
    }
    with pytest.raises(UserError, match=r"busy is being written by .* \(atlas build-index\); wait"):
        function(**{**needed, argument or "out": busy})
    assert {path.name for path in busy.parent.iterdir()} == {".busy.lock"}


def test_every_command_that_writes_is_listed() -> None:
    functions = {name for _, name, _ in CASES}
    writers = {NAMES.get(name, name) for name in functions}
    others = ONLY_READ | ONLY_ADD | HOLD_LOCKS | ONLY_CALL_OTHERS
    assert set(COMMANDS) - others <= writers
    assert not writers & others


def test_a_run_that_is_being_written_is_not_served(busy: Path) -> None:
    with pytest.raises(UserError, match="is being written by"), live_gallery(busy):
        pass


def test_a_run_that_goes_on_is_not_started_again(busy: Path) -> None:
    with pytest.raises(UserError, match="is being written by"):
        do_run(RunFile(path=Path("run.toml"), data=Path("data"), out=busy, stages=()))
