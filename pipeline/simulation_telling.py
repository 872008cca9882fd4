"""A simulated test in lines for people."""

from collections.abc import Iterator
from pathlib import Path

from index.leaks import SAME_IMAGE, SIBLING
from pipeline.simulated_plan import NOVEL
from pipeline.simulation import Simulation

MEANING = {
    SAME_IMAGE: "edited copies of labelled images",
    SIBLING: "antibodies that keep other labelled images",
    NOVEL: "no labelled image of their antibody",
}


def told(made: Simulation, out: Path) -> Iterator[str]:
    plan = made.plan
    yield f"{len(plan.training_ids)} images stay labelled, {len(plan.test)} are tested:"
    for relation, meaning in MEANING.items():
        count = plan.count(relation)
        yield f"  {relation:<10} {count:>6} ({count / len(plan.test):.1%})  {meaning}"
    yield from plan.said
    if bare := [name for name, (trained, _) in made.labels_in.items() if not trained]:
        yield f"labels that no labelled image has: {', '.join(bare)}"
    if bare := [name for name, (_, tested) in made.labels_in.items() if not tested]:
        yield f"labels that no test image has: {', '.join(bare)}"
    yield f"wrote {out}"
