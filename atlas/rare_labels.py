"""What folds can do with labels of few images. Axes: G groups that no fold may part, C labels."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atlas.metrics import exact_interval


def fold_table(
    images_C: NDArray[np.int64],
    groups_C: NDArray[np.int64],
    names: Sequence[str],
    *,
    folds: int,
) -> pd.DataFrame:
    """A row for each label, the fewest images first.

    label, name, images; groups: of images that no fold may part; folds: how many can test the
    label; least_groups, most_groups: how many of its groups a fold tests when they are spread
    evenly; recall_shown: the recall that is shown with 95 % when all its images, over all folds,
    are found (Clopper-Pearson, a group counts once); fold_step: by how much one missed group
    lowers the macro F1 of an average fold that tests it and finds the rest.
    """
    rows = []
    for label in sorted(range(len(names)), key=lambda c: (images_C[c], c)):
        images, groups = int(images_C[label]), int(groups_C[label])
        rows.append(
            {
                "label": label,
                "name": names[label],
                "images": images,
                "groups": groups,
                "folds": min(groups, folds),
                "least_groups": groups // folds,
                "most_groups": -(-groups // folds),
                "recall_shown": exact_interval(groups, groups)[0],
                "fold_step": _step(groups / folds, len(names)),
            }
        )
    return pd.DataFrame(rows)


def _step(tested: float, class_count: int) -> float:
    """1 - F1 of a class of which all but one are found, F1 = 2 (n - 1) / (2 n - 1); a C-th of it.

    A fold tests at least one, or not at all."""
    n = max(tested, 1.0)
    return (1 - 2 * (n - 1) / (2 * n - 1)) / class_count
