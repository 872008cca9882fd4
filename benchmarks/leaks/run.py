"""Everything of the leak benchmark that is not done yet, cell by cell; then the table.

python -m benchmarks.leaks.run --benches BENCH ... drawn --out R
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import tyro

from atlas.cli.failures import errors_in_one_line
from atlas.core.errors import UserError
from atlas.dataset.manifest import read_labels
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.settings import DrawnAtlasSettings
from benchmarks.leaks.claims import COSINE, OURS, RIVALS, is_done
from benchmarks.leaks.composites import TABLE, write_composites
from benchmarks.leaks.cosine import run_cosine
from benchmarks.leaks.ours import run_ours
from benchmarks.leaks.plain import run_plain
from benchmarks.leaks.plant import Kind, plant_atlas
from benchmarks.leaks.plot import save_edits_plot, save_plot
from benchmarks.leaks.sampling import sample_atlas
from benchmarks.leaks.tables import save_scores

HERE = Path(__file__).resolve().parent
RIVALS_PYTHON = HERE / ".venv" / "bin" / "python"
DRAWN = "drawn"
MOST_COPIES_OF_ONE = 2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run plants.

    Attributes:
        benches: Atlas folders, or DRAWN.
        hardnesses: The sets of edits.
        out: The folder of the run.
        copies: The number in each cell, but at most MOST_COPIES_OF_ONE of a labelled image.
        drawn_identities: The antibodies of the drawn atlas.
        drawn_px: The side of drawn images.
        most_labelled: So many images of a larger bench are used, at random.
        seed: The seed of all that is drawn and planted.
    """

    benches: tuple[str, ...]
    hardnesses: tuple[Kind, ...]
    out: Path
    copies: int
    drawn_identities: int
    drawn_px: int
    most_labelled: int
    seed: int


def main(
    benches: tuple[str, ...],
    out: Path,
    hardnesses: tuple[Kind, ...] = ("easy", "middle", "hard", "wild", "special"),
    copies: int = 400,
    drawn_identities: int = 200,
    drawn_px: int = 128,
    most_labelled: int = 1200,
    seed: int = 0,
) -> None:
    """Plant, run ours and the rivals, score. What is finished is kept.

    Args:
        benches: atlas folders with truth.csv, or "drawn" for drawn cells.
        out: the folder of the whole run; equal settings continue there.
        hardnesses: which sets of edits.
        copies: planted in each cell, at most two of a labelled image.
        drawn_identities: antibodies of the drawn atlas; six labelled fields of each.
        drawn_px: side of drawn images.
        most_labelled: labelled images of a bench, and novel test images; of more so many at random.
        seed: of what is drawn and planted.
    """
    plan = Plan(
        benches=benches, hardnesses=hardnesses, out=out, copies=copies,
        drawn_identities=drawn_identities, drawn_px=drawn_px, most_labelled=most_labelled,
        seed=seed,
    )  # fmt: skip
    if not RIVALS_PYTHON.exists():
        raise UserError(
            f"{RIVALS_PYTHON} is missing: make the rivals' environment as README.md there says"
        )
    for bench in benches:
        data = drawn(plan) if bench == DRAWN else sampled(plan, Path(bench))
        for hardness in hardnesses:
            cell = out / data.name / hardness
            try:
                fill_cell(plan, data, cell, hardness)
            except subprocess.CalledProcessError as error:
                step = " ".join(error.cmd[1:3])
                raise UserError(
                    f"{cell}: {step} failed; the same command continues there"
                ) from error
    tables = save_scores(out)
    save_plot(out / "leaks.png", tables["scores"])
    save_edits_plot(out / "edits.png", tables["by_edit"])
    print((out / "table.md").read_text(encoding="utf-8"))
    print(f"wrote {out}")


def drawn(plan: Plan) -> Path:
    """The drawn atlas of this run: its labelled fields and novel ones, no copies yet."""
    folder = plan.out / "atlases" / DRAWN
    settings = DrawnAtlasSettings(
        identities=plan.drawn_identities,
        size_px=plan.drawn_px,
        seed=plan.seed,
        test_fields_per_identity=1,
        novel_identities=2 * plan.drawn_identities,
        copies=0,
    )
    draw_atlas(settings, folder, jobs=os.cpu_count() or 1)
    return folder


def sampled(plan: Plan, data: Path) -> Path:
    """The bench itself, or a sample of one that is too large."""
    if len(read_labels(data)) <= plan.most_labelled:
        return data
    folder = plan.out / "atlases" / data.name
    sample_atlas(data, folder, labelled=plan.most_labelled, seed=plan.seed)
    return folder


def fill_cell(plan: Plan, source: Path, cell: Path, hardness: Kind) -> None:
    """One atlas at one hardness: data, rgb, run and claims below `cell`."""
    data, rgb, claims = cell / "data", cell / "rgb", cell / "claims"
    share = min(plan.copies / len(read_labels(source)), MOST_COPIES_OF_ONE)
    plant_atlas(source, hardness, data, share=share, seed=plan.seed)
    if not (rgb / TABLE).exists():
        write_composites(data, rgb)
    if not is_done(claims, OURS):
        run_ours(data, cell / "run", claims)
    if not is_done(claims, COSINE):
        run_cosine(data, claims)
    run_plain(rgb, claims)
    if not all(is_done(claims, method) for method in RIVALS):
        module = [str(RIVALS_PYTHON), "-m", "benchmarks.leaks.rivals"]
        paths = ["--images", str(rgb.absolute()), "--out", str(claims.absolute())]
        subprocess.run([*module, *paths], check=True, cwd=HERE.parents[1])


if __name__ == "__main__":
    with errors_in_one_line():
        tyro.cli(main)
