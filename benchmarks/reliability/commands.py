"""The commands that are attacked: their words, what they read, and what they write."""

from collections.abc import Mapping
from dataclasses import dataclass

STORE = "run/store"
CALIBRATION = "--planted-copies 60 --natural-queries 60 --sibling-queries 40"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that writes a result.

    Attributes:
        name: The name of the attack, which is that of the command and perhaps a variant.
        options: Its words; {data}, {less} and {pictures} stand for folders of the
            base, {known} and {asked} for ids of a labelled and of a test image.
        out: The file or folder that it writes, below the world.
        needs: What it reads, below the world.
        results: The results of which each must be old or new at every moment.
        replaces: Whether an older result can be in its place.
    """

    name: str
    options: str
    out: str
    needs: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    replaces: bool = True

    def words(self, places: Mapping[str, object]) -> list[str]:
        """Return the words that follow `atlas`."""
        return [word.format(**places) for word in self.options.split()]


# The base, in the order in which it is made. A command reads results of earlier ones.
BASE = (
    Command(
        name="build-index",
        options="build-index --data {data} --embedder frozen --out run/index",
        out="run/index",
    ),
    Command(
        name="find-leaks",
        options="find-leaks --data {data} --index run/index --out run/leaks "
        f"--accept-unproven-copies {CALIBRATION}",
        out="run/leaks",
    ),
    Command(
        name="train-classifier",
        options="train-classifier smoke --epochs 1 --data {data} --out run/classifier",
        out="run/classifier",
    ),
    Command(
        name="make-submission",
        options="make-submission --data {data} --leaks run/leaks --classifier run/classifier "
        "--out run/submission",
        out="run/submission",
    ),
    Command(
        name="train-embedder",
        options="train-embedder smoke --epochs 1 --data {data} --out run/embedder",
        out="run/embedder",
    ),
    Command(
        name="remove-duplicates",
        options="remove-duplicates --data {data} --index run/index --out run/duplicates "
        "--planted-copies 60 --natural-queries 60",
        out="run/duplicates",
    ),
    Command(
        name="audit-labels",
        options="audit-labels --data {data} --index run/index --out run/audit",
        out="run/audit",
    ),
    Command(
        name="explore", options="explore --data {data} --out run/exploration", out="run/exploration"
    ),
    Command(
        name="predict",
        options="predict --data {data} --classifier run/classifier --out run/probabilities.h5",
        out="run/probabilities.h5",
    ),
    Command(
        name="find",
        options="find {pictures}/known {pictures}/new --out run/found "
        "--planted-copies 40 --natural-queries 40",
        out="run/found",
    ),
)

# The commands under attack. Where they replace a result of the base, theirs differs from it.
WRITERS = (
    Command(
        name="make-submission",
        options=BASE[3].options,
        out="run/submission",
        needs=("run/leaks", "run/classifier", STORE),
        results=("run/submission",),
    ),
    Command(
        name="find-leaks",
        options=f"{BASE[1].options} --seed 1",
        out="run/leaks",
        needs=("run/index", STORE),
        results=("run/leaks",),
    ),
    Command(
        name="build-index",
        options="build-index --data {less} --embedder frozen --out run/index",
        out="run/index",
        needs=(STORE,),
        results=("run/index",),
    ),
    Command(
        name="build-index, empty cache",
        options=BASE[0].options,
        out="run/index",
        results=("run/index",),
        replaces=False,
    ),
    Command(
        name="audit-labels",
        options=f"{BASE[6].options} --seed 1",
        out="run/audit",
        needs=("run/index", STORE),
        results=("run/audit",),
    ),
    Command(
        name="remove-duplicates",
        options=f"{BASE[5].options} --seed 1",
        out="run/duplicates",
        needs=("run/index", STORE),
        results=("run/duplicates",),
    ),
    Command(
        name="explore",
        options="explore --data {less} --out run/exploration",
        out="run/exploration",
        needs=(STORE,),
        results=("run/exploration",),
    ),
    Command(
        name="update",
        options="update --data {less} --run run",
        out="run",
        needs=("run/index", "run/leaks", "run/classifier", "run/submission", STORE),
        results=("run/index", "run/leaks", "run/submission"),
        replaces=False,
    ),
    Command(
        name="train-embedder",
        options=BASE[4].options,
        out="run/embedder",
        needs=(STORE,),
        replaces=False,
    ),
    Command(
        name="train-classifier",
        options=BASE[2].options,
        out="run/classifier",
        needs=(STORE,),
        replaces=False,
    ),
    Command(
        name="predict",
        options=BASE[8].options,
        out="run/probabilities.h5",
        needs=("run/classifier", STORE),
        results=("run/probabilities.h5",),
    ),
    Command(
        name="find",
        options=BASE[9].options,
        out="run/found",
        needs=("run/found/store",),
        replaces=False,
    ),
)

LOOKUP = Command(
    name="lookup",
    options="lookup {known} {asked} --index run/index --montage run/lookup/found.png --json",
    out="run/lookup",
    needs=("run/index", "run/leaks", STORE),
    replaces=False,
)
EXPLAIN = Command(
    name="explain",
    options="explain {asked} --data {data} --run run --out run/explained",
    out="run/explained",
    needs=("run/index", "run/leaks", "run/classifier", "run/submission", STORE),
    replaces=False,
)
CHECK = Command(
    name="check-submission",
    options="check-submission run/submission/submission.csv --data {data}",
    out="run/checked",
    needs=("run/submission",),
    replaces=False,
)
EMBED = Command(
    name="build-index, own embedder",
    options="build-index --data {data} --embedder run/embedder --out run/index",
    out="run/index",
    needs=("run/embedder", STORE),
    replaces=False,
)
PREDICT_ANEW = Command(
    name="predict, empty cache",
    options=BASE[8].options,
    out="run/probabilities.h5",
    needs=("run/classifier",),
    replaces=False,
)
AGAIN = Command(
    name="build-index again",
    options=BASE[0].options,
    out="run/index",
    needs=("run/index", STORE),
)


def named(name: str) -> Command:
    """Return the command of the base, or the one under attack, with this name."""
    return next(c for c in (*WRITERS, *BASE, LOOKUP, EXPLAIN, CHECK) if c.name == name)
