"""Run files: what they mean, what they refuse, and that a run continues, repeats nothing and gives
the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.cli.commands import require_understood, understood
from atlas.core.errors import DataError, UserError
from atlas.workflows.runs.run_file import read_run_file
from atlas.workflows.runs.stages import plan_run
from classify.decisions.settings import ThresholdSettings
from classify.settings import WINNER_LOSS, PredictionSettings
from tests.conftest import PROJECT, write_tiny_atlas


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def commands(path: Path) -> dict[str, str]:
    return {stage.name: " ".join(stage.words) for stage in read_run_file(path).stages}


ONE = '[classifiers.a]\nrecipe = "smoke"\n'


def test_tables_become_the_words_of_commands(tmp_path):
    path = written(
        tmp_path,
        'data = "d"\nout = "r"\nseed = 3\n[embedder]\nrecipe = "winner"\nlearning_rate = 1e-4\n'
        "[leaks]\naccept_unproven_copies = true\nseed = 7\n"
        '[classifiers.a]\nrecipe = "smoke"\nfolds = 3\nviews = 8\n'
        '[classifiers.b]\nrecipe = "gapnet"\nloss = "bce + soft_f1"\n'
        '[ensemble]\nhow = "mean"\n',
    )
    run = read_run_file(path)
    assert [(stage.name, stage.script) for stage in run.stages] == [
        ("embedder", "train_embedder"), ("index", "build_index"), ("leaks", "find_leaks"),
        ("classifiers.a", "train_folds"), ("classifiers.b", "train_classifier"),
        ("ensemble", "ensemble"), ("submission", "make_submission"),
    ]  # fmt: skip
    said = commands(path)
    assert said["embedder"] == "winner --learning-rate 0.0001 --seed 3 --data d --out r/embedder"
    assert said["index"] == "--data d --embedder r/embedder --out r/index"
    assert (
        said["leaks"] == "--accept-unproven-copies --seed 7 --data d --index r/index --out r/leaks"
    )
    assert said["classifiers.a"] == "smoke --folds 3 --views 8 --seed 3 --data d --out r/a"
    assert said["ensemble"] == "--how mean --seed 3 --members r/a r/b --data d --out r/ensemble"
    assert said["submission"].endswith("--leaks r/leaks --classifier r/ensemble --out r/submission")


@pytest.mark.parametrize("name", ["hep2", "hpa_2018", "hpa_2018_winner"])
def test_commands_accept_every_option_of_the_examples(name):
    path = PROJECT / "examples" / f"{name}.toml"
    for stage in read_run_file(path).stages:
        require_understood(str(path), stage.script, stage.words)


def test_the_winners_file_has_his_network_views_and_thresholds():
    stages = read_run_file(PROJECT / "examples" / "hpa_2018_winner.toml").stages
    given = {
        stage.name: understood(stage.script, stage.words).options
        for stage in stages
        if stage.name in ("classifiers.dense", "ensemble")
    }
    folds, decision = given["classifiers.dense"], given["ensemble"]["settings"]
    assert (folds["settings"].backbone, folds["settings"].loss) == ("densenet121", WINNER_LOSS)
    assert (folds["settings"].image_size_px, folds["settings"].training.crop_px) == (768, 512)
    assert folds["prediction"] == PredictionSettings(views=8, crops=4, combine="max")
    assert folds["folds"].folds == 5
    assert (decision.how, decision.thresholds) == ("mean", ThresholdSettings(thresholds="shares"))


def test_without_an_embedder_a_frozen_one_is_taken(tmp_path):
    said = commands(written(tmp_path, f'data = "d"\n{ONE}'))
    assert list(said) == ["index", "leaks", "classifiers.a", "submission"]
    assert said["index"].startswith("--embedder frozen")
    assert "--classifier runs/mine/a" in said["submission"]


def test_an_embedder_that_needs_no_training_is_named_to_build_index(tmp_path):
    network = tmp_path / "sscd.pt"
    network.write_bytes(b"a network")
    text = f'data = "d"\n{ONE}[embedder]\nrecipe = "torchscript:{network}"\n'
    run = read_run_file(written(tmp_path, text))
    assert [stage.name for stage in run.stages] == ["index", "leaks", "classifiers.a", "submission"]
    assert run.stages[0].words[:2] == ("--embedder", f"torchscript:{network}")
    assert run.stages[0].files == (network, tmp_path / "sscd.toml")
    with pytest.raises(UserError, match=r'recipe = "torchscript:.*" nothing is trained'):
        read_run_file(written(tmp_path, f"{text}epochs = 3\n"))


def test_leaks_are_found_again_if_a_further_index_changes(tmp_path):
    for value in ('"other"', '["other"]'):
        text = f'data = "d"\n{ONE}[leaks]\nfurther_indexes = {value}\n'
        stages = {stage.name: stage for stage in read_run_file(written(tmp_path, text)).stages}
        assert stages["leaks"].files == (Path("other/index.json"),)
        assert "--further-indexes other" in " ".join(stages["leaks"].words)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('data = "d"\n', "no classifier"),
        (ONE, "data is missing"),
        (f'data = "d"\nsed = 1\n{ONE}', "sed is not one of data, out, seed"),
        (f'data = "d"\nseed = "x"\n{ONE}', "seed must be a whole number (got 'x')"),
        (f'data = "d"\n{ONE}[classifiers.b]\nrecipe = "smoke"\n', "add a table [ensemble]"),
        ('data = "d"\n[classifiers.store]\nrecipe = "smoke"\n', "the name is in use"),
        ('data = "d"\n[classifiers.a]\nepochs = 3\n', "[classifiers.a]: recipe is missing"),
        (f'data = "d"\nleaks = 3\n{ONE}', "[leaks]: must be a table"),
        (f'data = "d"\n{ONE}epochs = 2020-01-01\n', "[classifiers.a] epochs"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, said):
    with pytest.raises(DataError, match=r"mine\.toml") as error:
        read_run_file(written(tmp_path, text))
    assert said in str(error.value)


def test_every_mistake_is_said_at_once(tmp_path):
    with pytest.raises(DataError) as error:
        read_run_file(written(tmp_path, 'sed = 1\n[classifiers.a]\nepochs = "3"\n'))
    assert len(error.value.problems) == 3


@pytest.mark.parametrize("text", ["data = ", "data = 'd'\ndata = 'e'"])
def test_no_toml_is_one_line(tmp_path, text):
    with pytest.raises(UserError, match=r"mine\.toml is not valid TOML: .*\(at "):
        read_run_file(written(tmp_path, text))


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.toml does not exist"):
        read_run_file(tmp_path / "nothing.toml")


def run_command(path: Path, *more: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "scripts/run.py", str(path), *more],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_an_option_that_no_command_has_stops_before_anything_is_done(tmp_path):
    write_tiny_atlas(tmp_path / "data", test=["t"])
    path = written(tmp_path, f'data = "{tmp_path}/data"\nout = "{tmp_path}/run"\n{ONE}epchs = 3\n')
    done = run_command(path)
    assert done.returncode == 2
    assert "scripts/train_classifier.py does not accept" in done.stdout
    assert "[classifiers.a]" in done.stdout
    assert "--epochs" in done.stdout + done.stderr  # what was meant
    assert not (tmp_path / "run").exists()


def test_settings_that_cannot_work_stop_before_anything_is_done(tmp_path):
    write_tiny_atlas(tmp_path / "data", test=["t"])
    path = written(tmp_path, f'data = "{tmp_path}/data"\nout = "{tmp_path}/run"\n{ONE}epochs = 0\n')
    done = run_command(path)
    assert done.returncode == 1
    assert "[classifiers.a]: epochs must be at least 1 (got 0)" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with an atlas, a run file and its run."""
    folder = tmp_path_factory.mktemp("run_file")
    ids = [f"i{number:02}" for number in range(24)]
    write_tiny_atlas(
        folder / "data", size=(64, 64), test=["t1", "t2", "t3"],
        train={image_id: str(number % 3) for number, image_id in enumerate(ids)},
    )  # fmt: skip
    truth = "Id,relation,source,edit,Target\nt1,novel,,,0\nt2,novel,,,1\nt3,novel,,,2\n"
    (folder / "data" / "truth.csv").write_text(truth)
    done = run_command(written(folder, run_text(folder, "run")))
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def run_text(folder: Path, out: str, leaks: str = "") -> str:
    return (
        f'data = "{folder}/data"\nout = "{folder}/{out}"\n'
        '[index]\nruntime = "torch"\nprecision = "float32"\n'
        "[leaks]\nplanted_copies = 30\nnatural_queries = 24\naccept_unproven_copies = true\n"
        f"{leaks}"
        '[classifiers.a]\nrecipe = "smoke"\nepochs = 1\nfolds = 2\n'
    )


def states(path: Path) -> dict[str, str]:
    return {planned.stage.name: planned.state for planned in plan_run(read_run_file(path))}


@pytest.mark.slow
def test_a_finished_run_is_not_done_again(finished):
    assert set(states(finished / "mine.toml").values()) == {"done"}
    before = {path: path.stat().st_mtime_ns for path in (finished / "run").rglob("*")}
    done = run_command(finished / "mine.toml")
    assert done.returncode == 0
    assert "0 of them were run now" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in (finished / "run").rglob("*")} == before


@pytest.mark.slow
def test_a_changed_option_repeats_its_stage_and_what_follows(finished, tmp_path):
    path = written(tmp_path, run_text(finished, "run", leaks="copy_precision = 0.9\n"))
    assert states(path) == {
        "index": "done", "leaks": "stale", "classifiers.a": "done", "submission": "stale",
        "score": "stale",
    }  # fmt: skip


@pytest.mark.slow
def test_what_somebody_wrote_over_is_made_again(finished):
    submission = finished / "run" / "submission" / "submission.csv"
    right = submission.read_bytes()
    submission.write_text("Id,Predicted\n")
    assert states(finished / "mine.toml")["submission"] == "stale"
    assert run_command(finished / "mine.toml").returncode == 0
    assert submission.read_bytes() == right


def without_the_classifier(finished: Path, name: str) -> None:
    """A copy of the run as it was before its classifier was trained; where it lies says nothing."""
    run = shutil.copytree(finished / "run", finished / name)
    for folder in ("a", "submission"):
        shutil.rmtree(run / folder)
    (run / "score.json").unlink()


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bytes(finished, tmp_path):
    without_the_classifier(finished, "stopped")
    path = written(tmp_path, run_text(finished, "stopped"))
    with subprocess.Popen(
        [sys.executable, "scripts/run.py", str(path)], cwd=PROJECT, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        assert any("fold2: " in line for line in running.stderr)  # the first fold is trained
        os.killpg(running.pid, signal.SIGKILL)
    assert states(path)["leaks"] == "done"
    assert states(path)["submission"] != "done"
    again = run_command(path)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "leaks: done" in again.stderr
    for name in ("submission/submission.csv", "submission/origins.csv", "score.json"):
        assert (finished / "stopped" / name).read_bytes() == (finished / "run" / name).read_bytes()


@pytest.mark.slow
def test_a_failing_stage_says_which_and_keeps_what_is_done(finished, tmp_path):
    without_the_classifier(finished, "failing")
    text = run_text(finished, "failing").replace("epochs = 1", "external_share = 0.5")
    done = run_command(written(tmp_path, text))
    assert done.returncode == 1
    assert done.stderr.rstrip().splitlines()[-1].startswith("error: ")
    assert "[classifiers.a] did not finish" in done.stderr
    assert "leaks: done" in run_command(written(tmp_path, text)).stderr
