"""Do guarantees, certificates and confidences hold on atlases that calibration has not seen?

Many atlases are drawn, each of other antibodies. Test copies are made by the edits of the hardness
`wild`, none of which is planted for calibration. In some atlases a share of the antibodies has near
duplicates: all fields of one antibody show the nuclei and microtubules of another one, as serial
sections do, and as many test images without a copy show those of a labelled image. They are
different pictures, so to claim one is false. Scores are measured by what `find-leaks` does, and
kept, so that versions of the calibration can be compared on equal scores. The embedder is a small
untrained network, because hashes and keypoints propose nearly all sources.

python -m benchmarks.new_atlases measure --out R --atlases 50
python -m benchmarks.new_atlases report --out R
python -m benchmarks.new_atlases dependence
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from atlas.core.result_folder import folder_written_beside
from atlas.dataset.artifacts import SAME_IMAGE, save_table
from atlas.dataset.hpa import HPA_CHANNELS
from atlas.dataset.image_files import made_places, read_row, write_field
from atlas.dataset.manifest import Manifest, read_manifest
from atlas.dataset.metrics import exact_interval
from atlas.synthetic.drawn_atlas import draw_atlas
from atlas.synthetic.edits import Image
from atlas.synthetic.settings import DrawnAtlasSettings
from atlas.workflows.embed.index import build_index, open_atlas_index
from atlas.workflows.leaks.calibration import measure_same_image
from atlas.workflows.leaks.search import open_leak_search
from benchmarks.leaks.wild import OTHERS, WILD
from benchmarks.untrained import untrained_embedder
from index.copies.calibration import SameImageCalibration, calibrate_same_image
from index.copies.certificate import certify
from index.copies.guarantee import Trials, measure_guarantee
from index.copies.trials import independent_scores
from index.settings import LeakSettings, RegistrationSettings
from retrieval.embedder import save_embedder

NEAR_DUPLICATES = (0.0, 0.01, 0.03)  # shares of antibodies and of test images, one for each atlas
ANTIBODIES, FIELDS, COPIES, NOVEL = 150, 2, 180, 30
SIZE_PX, BACKBONE = 64, "test_resnet"
FIRST_SEED = 7000  # other benchmarks draw with small seeds
SHARED_CHANNELS = ("red", "blue")  # of near duplicates: microtubules and nuclei
SHARE = COPIES / (COPIES + ANTIBODIES + NOVEL)  # of copies, as it is stated
SHARES = (SHARE, 0.1, 0.026)
ASKED = (0.8, 0.9, 0.95)
COPY, OTHER, NEAR = "copy", "other", "near duplicate"
MOST_BINS = 10
LEAST_IN_BIN = 100


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a test image shows.

    Attributes:
        kind: COPY, OTHER or NEAR.
        copied: The labelled images that a copy shows; a collage shows several.
    """

    kind: str
    copied: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of one atlas.

    Attributes:
        planted: The scores of planted copies with their source.
        natural: The score of each labelled image's best non-match.
        independent_U: The same scores as independent trials.
        candidates: The number of candidates of a query.
        tests: A row for each test image: the score of its best candidate, whether it shows that,
            and its kind.
    """

    planted: NDArray[np.float64]
    natural: NDArray[np.float64]
    independent_U: NDArray[np.float64]
    candidates: int
    tests: pd.DataFrame

    def calibration(self, asked: float, share: float = SHARE) -> SameImageCalibration:
        settings = replace(LeakSettings(), copy_precision=asked, copy_share=share)
        return calibrate_same_image(
            self.planted, self.natural, self.independent_U, settings, candidates=self.candidates
        )


def measure(out: Path, atlases: int = 50, first: int = 0) -> None:
    """Draw atlases and measure the scores of those that have none yet.

    Args:
        out: Folder of the scores.
        atlases: Number of atlases.
        first: Number of the first atlas.
    """
    for number in range(first, first + atlases):
        folder = out / f"{number:03d}"
        if not (folder / "tests.csv").exists():
            measure_atlas(folder, number)


def measure_atlas(folder: Path, number: int) -> None:
    data, share = folder / "data", NEAR_DUPLICATES[number % len(NEAR_DUPLICATES)]
    draw_atlas(
        DrawnAtlasSettings(
            size_px=SIZE_PX, identities=ANTIBODIES, fields_per_identity=FIELDS,
            test_fields_per_identity=1, novel_identities=NOVEL, copies=COPIES,
            seed=FIRST_SEED + number,
        ),
        data, jobs=1,
    )  # fmt: skip
    shown = redraw(data, share, np.random.default_rng(FIRST_SEED + number))
    embedder = untrained_embedder(HPA_CHANNELS, SIZE_PX, backbone_name=BACKBONE, views=8)
    with folder_written_beside(folder / "embedder", written_by="untrained") as beside:
        save_embedder(beside, embedder)
    build_index(data, folder / "embedder", folder / "index")
    manifest, index = open_atlas_index(data, folder / "index")
    settings = replace(LeakSettings(), copy_share=SHARE)
    search = open_leak_search(manifest, index, folder / "store", settings, RegistrationSettings())
    measured = measure_same_image(search)
    images, ids = search.stored("test images"), manifest.of("test").ids
    found = search.candidates(search.embedded(ids, images), images)
    scores_NK = search.registrations(found, images).scores_NK.astype(float)
    rows, best = np.arange(len(ids)), scores_NK.argmax(axis=1)
    matched = found.reference_ids_NK[rows, best]
    tests = pd.DataFrame({
        "score": scores_NK[rows, best],
        "right": [match in shown[i].copied for i, match in zip(ids, matched, strict=True)],
        "kind": [shown[i].kind for i in ids],
    })  # fmt: skip
    for name, values in (
        ("planted", measured.calibration.planted), ("natural", measured.natural),
        ("independent", measured.independent_U), ("candidates", [scores_NK.shape[1]]),
    ):  # fmt: skip
        save_table(folder / f"{name}.csv", pd.DataFrame({name: values}))
    save_table(folder / "tests.csv", tests)


def redraw(data: Path, share: float, rng: np.random.Generator) -> dict[str, Shown]:
    """Give copies their edits, and draw near duplicates; return what each test image shows."""
    manifest = read_manifest(data)
    truth = pd.read_csv(data / "truth.csv", dtype=str, keep_default_na=False)
    train = manifest.of("train").ids
    read = partial(_field, manifest)
    fields_of: dict[str, list[str]] = {}
    for image_id in train:
        fields_of.setdefault(str(manifest.by_id[image_id].identity), []).append(image_id)
    pairs = rng.permutation(sorted(fields_of)).reshape(-1, 2)
    for one, other in pairs[rng.random(len(pairs)) < share]:
        for model, image_id in zip(fields_of[one], fields_of[other], strict=True):
            _write(manifest, image_id, near_duplicate(read(model), read(image_id), manifest, rng))
    shown = {}
    for image_id in truth.loc[truth["relation"] != SAME_IMAGE, "Id"]:
        shown[image_id] = Shown(kind=OTHER)
        if rng.random() < share:
            made = near_duplicate(read(rng.choice(train)), read(image_id), manifest, rng)
            _write(manifest, image_id, made)
            shown[image_id] = Shown(kind=NEAR)
    copies = truth.loc[truth["relation"] == SAME_IMAGE, ["Id", "source"]]
    for number, (image_id, source) in enumerate(copies.itertuples(index=False)):
        edit = WILD[number % len(WILD)]
        others = rng.choice(train, OTHERS.get(edit, 0))
        edited, _ = edit(read(source), [read(i) for i in others], rng)
        _write(manifest, image_id, edited.astype(np.uint8, copy=False))
        shown[image_id] = Shown(kind=COPY, copied=frozenset([source, *map(str, others)]))
    return shown


def near_duplicate(model: Image, own: Image, manifest: Manifest, rng: np.random.Generator) -> Image:
    """Return an image with some channels of a model, a little brighter or darker, with noise."""
    shared = [manifest.spec.channels.index(name) for name in SHARED_CHANNELS]
    made = own.astype(float)
    made[shared] = model[shared] * rng.uniform(0.7, 1.3, (len(shared), 1, 1))
    made += rng.normal(0, 4, made.shape)
    return np.clip(made.round(), 0, 255).astype(np.uint8)


def _field(manifest: Manifest, image_id: str) -> Image:
    return read_row(manifest.by_id[image_id], manifest.spec)


def _write(manifest: Manifest, image_id: str, image: Image) -> None:
    row = manifest.by_id[image_id]
    write_field(made_places(row.files[0].parent, image_id, manifest.spec), image, manifest.spec)


def load(folder: Path) -> Scores:
    """Return what `measure` saved of one atlas."""
    said = {
        name: pd.read_csv(folder / f"{name}.csv")[name].to_numpy(float)
        for name in ("planted", "natural", "independent", "candidates")
    }
    return Scores(
        planted=said["planted"], natural=said["natural"], independent_U=said["independent"],
        candidates=int(said["candidates"][0]), tests=pd.read_csv(folder / "tests.csv"),
    )  # fmt: skip


def report(out: Path, first: int = 0) -> None:
    """Print how often statements hold, and how often claims of each confidence are right.

    Args:
        out: Folder of the scores.
        first: Atlases with smaller numbers are left out.
    """
    folders = sorted(path.parent for path in out.glob("*/tests.csv"))
    folders = [folder for folder in folders if int(folder.name) >= first]
    numbers, every = [int(folder.name) for folder in folders], [load(f) for f in folders]
    rows = [
        {"near": NEAR_DUPLICATES[number % len(NEAR_DUPLICATES)], **statements(scores, asked)}
        for number, scores in zip(numbers, every, strict=True)
        for asked in ASKED
    ]
    table = pd.DataFrame(rows)
    save_table(out / "statements.csv", table)
    show_statements(table)
    for share in SHARES:
        claims = pd.concat([confidences(scores, share) for scores in every])
        bins = reliability(claims)
        save_table(out / f"reliability_{100 * share:g}%.csv", bins)
        show_reliability(bins, share)


def dependence(redraws: int = 300, images: tuple[int, ...] = (14_500, 31_072)) -> None:
    """Print how often 0.99 is stated where it just fails, if images fail together.

    All images of an identity have near duplicates in another one, in so many identities that the
    precision at the share of 2018 is just 0.99; 95% of the copies are found. Each query counts
    once, or independent queries do.

    Args:
        redraws: Number of atlases for each row.
        images: Numbers of labelled images.
    """
    shown = Table("labelled images", "images of an identity", "each query", "independent queries")
    for count, size in product(images, (1, 2, 6)):
        stated = np.mean([_stated(count, size, seed) for seed in range(redraws)], axis=0)
        shown.add_row(f"{count:,}", str(size), *(f"{share:.3f}" for share in stated))
    Console().print(shown)


def _stated(images: int, size: int, seed: int) -> list[bool]:
    asked, rng, recall = LeakSettings(), np.random.default_rng(seed), 0.95
    share, precision = asked.copy_share, asked.copy_precision
    rate = share * recall / (1 - share) * (1 - precision) / precision
    units = np.arange(images) // size
    alike = np.repeat(rng.random(units[-1] // 2 + 1) < rate, 2)[units]
    scores = np.where(alike, 20.0, 0.0)
    names, others = ([str(unit) for unit in some] for some in (units, units ^ 1))
    planted = np.where(rng.random(asked.planted_copies) < recall, 20.0, -1.0)
    return [
        measure_guarantee(
            Trials(known_K=planted, unknown_U=unknown), wanted_threshold=10.0,
            precision=precision, share=share, seed=seed,
        ).reached
        for unknown in (
            scores,
            independent_scores(scores, names, others, units=len(set(names)), seed=seed),
        )
    ]  # fmt: skip


def statements(scores: Scores, asked: float) -> dict[str, object]:
    """Return what is stated of one atlas, and what is true of its test images."""
    found = scores.calibration(asked)
    tests = scores.tests
    claimed = tests["score"] >= found.threshold
    false = int((claimed & (tests["kind"] != COPY)).sum())
    right = int((claimed & tests["right"]).sum())
    certificate = certify(
        asked=asked, claims=int(claimed.sum()), best_N=tests["score"].to_numpy(float),
        natural=scores.natural, independent_U=scores.independent_U, threshold=found.threshold,
        images_of_identity=FIELDS,
    )  # fmt: skip
    precision = right / claimed.sum() if claimed.any() else 1.0
    return {
        "asked": asked, "claims": int(claimed.sum()), "right": right, "false": false,
        "precision": precision, "kept": precision >= asked,
        "guaranteed": found.guarantee.reached, "shown": found.guarantee.shown,
        "certified": certificate.reached, "certificate": certificate.shown,
        "bounded": false <= certificate.false_at_most,
        "trials": len(scores.independent_U),
    }  # fmt: skip


def show_statements(table: pd.DataFrame) -> None:
    shown = Table("near duplicates", "asked", "atlases", "guaranteed", "of these kept", "certified",
                  "of these kept", "false claims within the bound", "precision, least")  # fmt: skip
    for (near, asked), rows in table.groupby(["near", "asked"]):
        shown.add_row(
            f"{near:.0%}", f"{asked:g}", str(len(rows)), str(rows["guaranteed"].sum()),
            str((rows["guaranteed"] & rows["kept"]).sum()), str(rows["certified"].sum()),
            str((rows["certified"] & rows["kept"]).sum()), _counted(rows["bounded"]),
            f"{rows['precision'].mean():.3f}, {rows['precision'].min():.3f}",
        )  # fmt: skip
    Console(width=160).print(shown)


def _counted(is_so: "pd.Series[bool]") -> str:
    low, high = exact_interval(int(is_so.sum()), len(is_so))
    return f"{is_so.sum()} of {len(is_so)} ({low:.2f} to {high:.2f})"


def show_reliability(bins: pd.DataFrame, share: float) -> None:
    shown = Table("confidence", "claims", "mean confidence", "right")
    for row in bins.itertuples():
        shown.add_row(
            f"{row.low:.3f} to {row.high:.3f}", str(row.claims), f"{row.confidence:.3f}",
            f"{row.right:.3f}",
        )  # fmt: skip
    Console().print(shown)
    error = calibration_error(bins)
    print(f"expected calibration error from 0.5 on, {share:.1%} copies: {error:.4f}")


def calibration_error(bins: pd.DataFrame) -> float:
    """Return the expected calibration error over bins (Guo et al. 2017, equation 3)."""
    apart = (bins["confidence"] - bins["right"]).abs()
    return float(np.average(apart, weights=bins["weight"]))


def confidences(scores: Scores, share: float) -> pd.DataFrame:
    """Return the confidence of each test image's best candidate, whether it is right, and a weight.

    The weights make copies as frequent as `share`, which is also stated.
    """
    is_copy = scores.tests["kind"] == COPY
    weight = np.where(is_copy, share / is_copy.mean(), (1 - share) / (1 - is_copy.mean()))
    sure = scores.calibration(ASKED[-1], share).confidence(scores.tests["score"].to_numpy(float))
    return pd.DataFrame({"confidence": sure, "right": scores.tests["right"], "weight": weight})


def reliability(claims: pd.DataFrame, *, lowest: float = 0.5) -> pd.DataFrame:
    """Return bins of rising confidence with equally many claims, at least LEAST_IN_BIN of them.

    Args:
        claims: A row for each claim with its confidence, whether it is right, and its weight.
        lowest: Claims with a lower confidence are left out.
    """
    claims = claims[claims["confidence"] >= lowest].sort_values("confidence", kind="stable")
    count = int(np.clip(len(claims) // LEAST_IN_BIN, 1, MOST_BINS))
    # Claims of equal confidence are in one bin.
    rank = claims["confidence"].rank(method="min") - 1
    rows = []
    for _, part in claims.groupby((rank * count // len(claims)).astype(int)):
        mean = (
            part[["confidence", "right"]].mul(part["weight"], axis=0).sum() / part["weight"].sum()
        )
        rows.append({
            "low": part["confidence"].min(), "high": part["confidence"].max(),
            "claims": len(part), "weight": part["weight"].sum(), **mean,
        })  # fmt: skip
    return pd.DataFrame(rows)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"measure": measure, "report": report, "dependence": dependence}
    )
