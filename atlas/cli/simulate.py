"""Atlases with known relations, drawn or made from labelled images, and a demo."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import OmitArgPrefixes

from atlas.cli.answers import Answer, following
from atlas.cli.console import show
from atlas.core.errors import UserError, command_line, command_words
from atlas.core.processes import run_command
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.settings import SimulationSettings

if TYPE_CHECKING:
    from atlas.workflows.simulate.simulation import Simulation


def draw_atlas(
    out: Path,
    settings: OmitArgPrefixes[DrawnAtlasSettings] = DrawnAtlasSettings(),
    train_table: Path | None = None,
    test_table: Path | None = None,
    jobs: int = 1,
) -> Answer:
    """Draw an atlas of cells with known relations, for tests and rehearsals.

    With --train-table and --test-table, it draws an image for every id of real tables, in the
    layout of HPA 2018. Of the other options, only --size-px, --seed and --jobs then apply.

    Args:
        out: Folder to write; it must not exist yet, unless it is this very atlas.
        settings: Settings of the drawing.
        train_table: CSV file with the columns Id and Target.
        test_table: CSV file with the column Id, such as sample_submission.csv.
        jobs: Number of processes.
    """
    from atlas.synthetic import drawn_atlas

    if (train_table is None) != (test_table is None):
        raise UserError("--train-table and --test-table belong together; give both or neither")
    if train_table is not None and test_table is not None:
        table, test_ids = drawn_atlas.read_id_tables(train_table, test_table)
        drawn = drawn_atlas.draw_for_tables(
            table, test_ids, out, size_px=settings.size_px, seed=settings.seed, jobs=jobs
        )
    else:
        drawn = drawn_atlas.draw_atlas(settings, out, jobs=jobs)
    verb = "already exists" if drawn.already_there else "was drawn"
    counts = f"{drawn.train_images} train and {drawn.test_images} test images"
    return Answer(
        summary=f"The atlas {verb}: {counts} (content hash {drawn.content_hash}).",
        wrote=[drawn.folder],
        next_command=following("build_index", data=drawn.folder),
        details={
            "train_images": drawn.train_images,
            "test_images": drawn.test_images,
            "content": drawn.content_hash,
        },
    )


def simulate_test(
    settings: OmitArgPrefixes[SimulationSettings],
    data: Path = Path("data"),
    out: Path = Path("data_simulated"),
) -> Answer:
    """Hold out labelled images as a test with a known truth, to rehearse the whole job.

    Test images are edited copies of images that stay labelled, siblings whose antibody keeps
    labelled images, and novel images of antibodies without labelled images. Afterwards, run the
    other commands with --data OUT, and score at the end.

    Args:
        settings: Settings of the simulation.
        data: Atlas folder; its own test images are not used.
        out: Atlas folder to write; images are linked or copied.
    """
    from atlas.workflows.simulate import simulation

    made = simulation.simulate_test(data, out, settings)
    show("\n".join(simulation_lines(made)))
    plan = made.plan
    return Answer(
        summary=f"{len(plan.training_ids)} images stay labelled, and {len(plan.test)} are test "
        "images with a known truth.",
        wrote=[out],
        next_command=following("build_index", data=out),
        details={"labelled": len(plan.training_ids), "tested": len(plan.test)},
    )


def demo(out: Path = Path("runs/demo"), seed: int = 1) -> Answer:
    """Draw a small atlas and do the whole job on it, with the commands that you would type.

    Args:
        out: Folder of the drawn atlas and the run; finished stages are kept.
        seed: Seed of the drawing.
    """
    from atlas.workflows.run_folder import REPORT_FILE, SUBMISSION_FILE

    data = out / "data"
    drawing = ["--out", data, "--identities", 60, "--copies", 54, "--seed", seed]
    drawing += ["--novel-identities", 30, "--test-fields-per-identity", 1]
    stages: list[list[object]] = [
        ["draw_atlas", *drawing],
        ["train_embedder", "smoke", "--data", data, "--out", out / "embedder"],
        ["build_index", "--data", data, "--embedder", out / "embedder", "--out", out / "index"],
        ["find_leaks", "--data", data, "--index", out / "index", "--out", out / "leaks",
         "--accept-unproven-copies", "--accept-unproven-siblings"],
        ["train_classifier", "smoke", "--data", data, "--out", out / "classifier"],
        ["make_submission", "--data", data, "--leaks", out / "leaks",
         "--classifier", out / "classifier", "--out", out / "submission"],
        ["score", "--data", data, "--run", out],
    ]  # fmt: skip
    for name, *options in stages:
        words = [str(option) for option in options]
        show(f"\n$ {' '.join([command_line(str(name)), *words])}")
        if status := run_command([*command_words(str(name)), *words]):
            sys.exit(status)
    return Answer(
        summary=f"The whole job was done on a drawn atlas; its submission is "
        f"{out / 'submission' / SUBMISSION_FILE}.",
        wrote=[out],
        page=out / "leaks" / REPORT_FILE,
    )


def simulation_lines(made: "Simulation") -> Iterator[str]:
    """Yield the number of test images of each relation, and labels that one side lacks."""
    from atlas.dataset.artifacts import NOVEL, SAME_IMAGE, SIBLING

    meanings = {
        SAME_IMAGE: "edited copies of labelled images",
        SIBLING: "images whose antibody has labelled images",
        NOVEL: "images whose antibody has no labelled images",
    }
    plan = made.plan
    yield f"{len(plan.training_ids)} images stay labelled, {len(plan.test)} are tested:"
    for relation, meaning in meanings.items():
        count = plan.count(relation)
        yield f"  {relation:<10} {count:>6} ({count / len(plan.test):.1%})  {meaning}"
    yield from plan.said
    if bare := [name for name, (trained, _) in made.labels_in.items() if not trained]:
        yield f"labels without labelled images: {', '.join(bare)}"
    if bare := [name for name, (_, tested) in made.labels_in.items() if not tested]:
        yield f"labels without test images: {', '.join(bare)}"
