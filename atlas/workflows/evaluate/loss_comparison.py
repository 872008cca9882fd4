"""A comparison of losses: the rows of the ArcFace paper's Table 2, on the folds of an atlas.

All runs of a seed start from the same backbone and head, whatever the loss, and see the same images
in the same order. Class vectors also depend only on the seed, except for softmax, which starts as a
linear layer. Learning rate, epochs, sampler and everything else follow the recipe for every loss
and are tuned for none. A loss that needs another learning rate is at a disadvantage, and so are
triplets if batches have few images of a class.
"""

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from os import devnull
from pathlib import Path

import pandas as pd
import torch
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from atlas.core.errors import UserError
from atlas.core.locks import writes
from atlas.core.processes import starting_workers, worker_options
from atlas.core.row_file import DamagedFileError
from atlas.core.sealed_json import read_sealed_json, write_sealed_json
from atlas.dataset.artifacts import save_table
from atlas.dataset.splits.folds import Fold
from atlas.report.evaluation_plots import save_comparison_plot
from atlas.training.loop import claim_folder
from atlas.workflows.evaluate.cross_validation import (
    METRICS,
    Figures,
    FoldedAtlas,
    figures_of,
    fold_atlas,
    train_on,
)
from atlas.workflows.settings import ComparisonSettings, FoldSettings
from retrieval.embedding import embed_store
from retrieval.settings import EmbedderSettings, LossSettings

LOGGER = logging.getLogger(__name__)
RUNS_FILE = "losses.csv"
FINISHED_FOLDER = "finished"  # a sealed file for each finished run
KEY = ("loss", "seed", "fold")
Finished = dict[tuple[str, int, str], Figures]

# Deng et al., ArcFace (CVPR 2019), Table 2, in its order, with the margins in brackets. The paper
# adds the angular terms of its equations 5 and 6 without weights, so their weights are 1. It does
# not give the weight of the triplet loss next to ArcFace, which is 1 here, too.
TABLE_2: dict[str, LossSettings] = {
    "ArcFace (0.4)": LossSettings(name="arcface", margin_radians=0.4),
    "ArcFace (0.45)": LossSettings(name="arcface", margin_radians=0.45),
    "ArcFace (0.5)": LossSettings(name="arcface", margin_radians=0.5),
    "ArcFace (0.55)": LossSettings(name="arcface", margin_radians=0.55),
    "SphereFace (1.35)": LossSettings(name="sphereface", angle_factor=1.35),
    "CosFace (0.35)": LossSettings(name="cosface", margin_cosine=0.35),
    "CM1 (1, 0.3, 0.2)": LossSettings(
        name="combined_margin", angle_factor=1.0, margin_radians=0.3, margin_cosine=0.2
    ),
    "CM2 (0.9, 0.4, 0.15)": LossSettings(
        name="combined_margin", angle_factor=0.9, margin_radians=0.4, margin_cosine=0.15
    ),
    "Softmax": LossSettings(name="softmax"),
    "Norm-Softmax (NS)": LossSettings(name="norm_softmax"),
    "NS+Intra": LossSettings(name="norm_softmax", intra_weight=1.0),
    "NS+Inter": LossSettings(name="norm_softmax", inter_weight=1.0),
    "NS+Intra+Inter": LossSettings(name="norm_softmax", intra_weight=1.0, inter_weight=1.0),
    "Triplet (0.35)": LossSettings(name="triplet", margin_radians=0.35),
    "ArcFace+Intra": LossSettings(name="arcface", margin_radians=0.5, intra_weight=1.0),
    "ArcFace+Inter": LossSettings(name="arcface", margin_radians=0.5, inter_weight=1.0),
    "ArcFace+Intra+Inter": LossSettings(
        name="arcface", margin_radians=0.5, intra_weight=1.0, inter_weight=1.0
    ),
    "ArcFace+Triplet": LossSettings(name="arcface", margin_radians=0.5, triplet_weight=1.0),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run with a loss of TABLE_2."""

    loss: str
    seed: int
    fold: Fold

    @property
    def key(self) -> tuple[str, int, str]:
        """Return what identifies the run."""
        return self.loss, self.seed, self.fold.name

    @property
    def folder_name(self) -> str:
        """Return the name of the run folder."""
        plain = re.sub(r"[^a-z0-9.]+", "-", self.loss.lower()).strip("-")
        return f"{plain}-seed{self.seed}-{self.fold.name}"


@writes("out")
def compare_losses(
    data: Path,
    out: Path,
    settings: EmbedderSettings,
    how: FoldSettings,
    compared: ComparisonSettings,
    *,
    jobs: int,
) -> pd.DataFrame:
    """Train every loss with every seed on every fold, and return the rows of table.csv.

    Writes losses.csv (one row per run, as runs finish), table.csv and losses.png. The figures of
    each run are kept in the folder `finished`, so that a comparison is resumable and can be
    extended; a run whose figures were damaged is repeated. Weights of finished runs are not kept.

    Args:
        data: The atlas folder.
        out: The folder to write.
        settings: The settings of the embedder.
        how: How the images are divided into folds.
        compared: Which losses, seeds and folds are compared.
        jobs: The number of processes; the figures do not depend on it.

    Raises:
        DataError: The data folder has problems.
        UserError: `out` contains another comparison.
    """
    losses = losses_named(compared.rows)
    if settings.classes == "label-similarity":
        raise UserError("--classes label-similarity has no classes for these losses; use label-set")
    atlas, settings = fold_atlas(data, out, settings, how)
    wanted = _runs(atlas, settings.training.seed, losses, compared)
    claim_folder(out, atlas.about(how) | {"embedder": asdict(settings), "losses": TABLE_2})
    finished = _read_runs(out / FINISHED_FOLDER)
    missing = [run for run in wanted if run.key not in finished]
    LOGGER.info(f"{len(wanted)} runs, {len(wanted) - len(missing)} of them finished before")
    for run, figures in _trained(atlas, missing, settings, out, jobs):
        path = out / FINISHED_FOLDER / f"{run.folder_name}.json"
        write_sealed_json(path, {**dict(zip(KEY, run.key, strict=True)), **figures})
        finished[run.key] = figures
        save_table(out / RUNS_FILE, _frame(finished))
        shutil.rmtree(out / run.folder_name)
        done = f"{run.loss}, seed {run.seed}, {run.fold.name}"
        LOGGER.info(f"{done}: top-1 {figures['top1']:.4f}")
    save_table(out / RUNS_FILE, _frame(finished))
    runs = _frame({run.key: finished[run.key] for run in wanted})
    table = table_of(runs)
    save_table(out / "table.csv", table)
    save_comparison_plot(out / "losses.png", runs, kind="loss", metrics=METRICS)
    return table


def losses_named(rows: str) -> list[str]:
    """Return names of TABLE_2, in its order, from names that are separated by commas, or "all".

    Case and spaces are ignored.

    Raises:
        UserError: A name does not exist; the error lists all names.
    """
    if rows == "all":
        return list(TABLE_2)
    known = {_plain(name): name for name in TABLE_2}
    asked = {_plain(name): name for name in re.split(r",(?![^(]*\))", rows)}  # not in brackets
    unknown = [name.strip() for plain, name in asked.items() if plain not in known]
    if unknown:
        raise UserError(f"there is no row {unknown[0]!r}; the rows are: {'; '.join(TABLE_2)}")
    return [name for plain, name in known.items() if plain in asked]


def table_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Return, for each loss, the number of runs, and mean and standard deviation of METRICS."""
    losses = runs.groupby("loss", sort=False)
    table = pd.DataFrame({"runs": losses.size()})
    for metric in METRICS:
        table[f"{metric}_mean"] = losses[metric].mean()
        table[f"{metric}_std"] = losses[metric].std()
    return table.reset_index()


def _runs(
    atlas: FoldedAtlas, first_seed: int, losses: list[str], compared: ComparisonSettings
) -> list[Run]:
    """Return the runs, losses innermost, so that a stopped comparison has compared something."""
    folds = atlas.folds[: compared.first_folds]
    seeds = range(first_seed, first_seed + compared.seeds)
    return [
        Run(loss=loss, seed=seed, fold=fold) for seed in seeds for fold in folds for loss in losses
    ]


def _trained(
    atlas: FoldedAtlas, runs: list[Run], settings: EmbedderSettings, out: Path, jobs: int
) -> Iterator[tuple[Run, Figures]]:
    """Yield the runs with their figures as they finish."""
    with parallel_config("loky", inner_max_num_threads=1):
        parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", **worker_options())
        with starting_workers():
            finished = parallel(delayed(_train_and_measure)(atlas, r, settings, out) for r in runs)
        yield from finished


def _train_and_measure(
    atlas: FoldedAtlas, run: Run, settings: EmbedderSettings, out: Path
) -> tuple[Run, Figures]:
    folder, fold = out / run.folder_name, run.fold
    own = replace(
        settings, loss=TABLE_2[run.loss], training=replace(settings.training, seed=run.seed)
    )
    with _one_thread(), _silence():
        embedder = train_on(atlas, fold, own, folder)
        ids = (*fold.training_ids, *fold.test_ids)
        embeddings = embed_store(embedder, atlas.store, ids, folder=folder / "embeddings")
        return run, figures_of(embeddings, fold, atlas.class_of)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: more would add numbers in another order, and figures would depend on jobs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _silence() -> Iterator[None]:
    """Hide the progress bars of hundreds of runs, which would bury the log."""
    with open(devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _read_runs(folder: Path) -> Finished:
    """Return the figures of the runs whose files are whole."""
    finished: Finished = {}
    for path in sorted(folder.glob("*.json")):
        try:
            row = read_sealed_json(path)
        except DamagedFileError:
            LOGGER.warning(f"{path} was damaged; its run is repeated")
            continue
        finished[row["loss"], row["seed"], row["fold"]] = {name: row[name] for name in METRICS}
    return finished


def _frame(finished: Finished) -> pd.DataFrame:
    """Return one row for each run, by loss as in TABLE_2, seed and fold."""
    places = {loss: n for n, loss in enumerate(TABLE_2)}
    keys = sorted(finished, key=lambda key: (places[key[0]], key[1], len(key[2]), key[2]))
    table = pd.DataFrame(
        [dict(zip(KEY, key, strict=True)) | finished[key] for key in keys],
        columns=[*KEY, *METRICS],
    )
    return table.astype(dict.fromkeys(METRICS, float))


def _plain(name: str) -> str:
    return "".join(name.lower().split())
