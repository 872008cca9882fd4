"""What the classifier says of a test image. Axes: 1 image, C labels."""

from collections.abc import Sequence

import numpy as np

from classify.thresholds import decide
from pipeline.explanation_drawing import Draw
from pipeline.run_reading import Classified, Leaks
from report.explanation_page import Bar, Classifier

SHOWN_COPIES = 8


def said_by(name: str, classified: Classified, leaks: Leaks | None, draw: Draw) -> Classifier:
    """Probabilities against cuts, the given labels first, then the likeliest."""
    cuts_C = classified.thresholds.per_class_C
    own_1C = classified.own.aligned_to([name]).probabilities_NC
    shared_1C = classified.shared.aligned_to([name]).probabilities_NC
    given_C = decide(shared_1C, classified.thresholds)[0]
    bars = [
        Bar(
            label=label,
            probability=float(shared_1C[0, label]),
            own=float(own_1C[0, label]),
            cut=float(cuts_C[label]),
            given=bool(given_C[label]),
            carried=label not in classified.thresholds.without_positives,
        )
        for label in range(len(cuts_C))
    ]
    alone = np.flatnonzero(decide(own_1C, classified.thresholds)[0])
    return Classifier(
        folder=classified.folder.name,
        bars=sorted(bars, key=lambda bar: (not bar.given, -bar.probability)),
        copies=[draw.picture(i, i) for i in _shown_the_same(name, leaks, draw.run.test_ids)],
        alone=tuple(int(label) for label in alone),
    )


def _shown_the_same(name: str, leaks: Leaks | None, test_ids: Sequence[str]) -> list[str]:
    group = leaks.group_of.get(name) if leaks else None
    if leaks is None or group is None:
        return []
    same = [i for i in test_ids if leaks.group_of.get(i) == group and i != name]
    return same[:SHOWN_COPIES]
