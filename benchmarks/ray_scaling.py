"""The main job by this process and by one and two Ray workers: seconds, and whether bytes differ.

    python -m benchmarks.ray_scaling --data ATLAS --work R

Each worker has one core. The commands run on the first core, so their results have the same bytes
with and without workers; the workers may use all cores.
"""

import shutil
from pathlib import Path

import pandas as pd
import tyro

from atlas.dataset.artifacts import save_table
from benchmarks.clusters import JOB, ONE_CORE, differing, ray_cluster, run, words_of
from benchmarks.side_by_side import about_machine

WORKERS = (1, 2)


def main(data: Path, work: Path, classifier: Path | None = None) -> None:
    """Measure, print a table, and write it to `work`.

    Args:
        data: The atlas folder.
        work: A folder for the runs.
        classifier: The classifier of the submission; by default one is trained for one epoch.
    """
    work.mkdir(parents=True, exist_ok=True)
    log = work / "log.txt"
    if classifier is None:
        classifier = work / "classifier"
        training = ["train-classifier", "smoke", "--epochs", "1", "--data", str(data)]
        run([*training, "--out", str(classifier)], log)
    rows = [_main_job(data, work / "here", classifier, log, workers=0)]
    for workers in WORKERS:
        folder = work / f"workers_{workers}"
        rows.append(_main_job(data, folder, classifier, log, workers=workers))
        rows[-1]["different_files"] = len(differing(work / "here", folder))
    table = pd.DataFrame(rows)
    save_table(work / "ray_scaling.csv", table)
    print(f"{about_machine(['ray', 'torch'])}\n\n{table.to_string(index=False)}")


def _main_job(
    data: Path, folder: Path, classifier: Path, log: Path, *, workers: int
) -> dict[str, object]:
    """Do the main job from an empty folder, and return the seconds of its commands."""
    shutil.rmtree(folder, ignore_errors=True)
    if not workers:
        return {"workers": "this process"} | _seconds(data, folder, classifier, log, [])
    with ray_cluster(workers, 1) as cluster:
        options = ["--executor", "ray", "--ray-address", cluster.address, "--ray-cpus", "1"]
        return {"workers": str(workers)} | _seconds(data, folder, classifier, log, options)


def _seconds(
    data: Path, folder: Path, classifier: Path, log: Path, options: list[str]
) -> dict[str, object]:
    return {
        name: run(words_of(name, data, folder, classifier, options), log, on=ONE_CORE)
        for name in JOB
    }


if __name__ == "__main__":
    tyro.cli(main)
