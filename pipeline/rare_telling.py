"""What was made of rare labels, in lines for people."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.rare_augmentation import RareAugmentation


def told(found: RareAugmentation, out: Path | None) -> Iterator[str]:
    """out: None where nothing was written."""
    plan = found.plan
    short = [label for label, count in enumerate(plan.before_L) if count < plan.least]
    width = max([len(found.labels[label]) for label in short], default=0)
    for label in short:
        before, after = int(plan.before_L[label]), int(plan.after_L[label])
        note = "  (no original carries it)" if label in plan.out_of_reach else ""
        yield f"{found.labels[label]:<{width}}  {before:>6} -> {after:>6}{note}"
    total = found.images + plan.made
    verb = "would be made" if out is None else "made"
    yield f"{plan.made} images {verb}: {found.images} -> {total} labelled images"
    if out is not None:
        yield f"{out} is already there" if found.already_there else f"wrote {out}"
