"""Open-set identification: probes in a gallery that contains only some of their classes.

Axis Q: queries (probes).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FALSE_ALARM_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class Identification:
    """Store the result of identifying probes in a gallery that contains some of their classes.

    Attributes:
        false_alarm_rate: Highest allowed share of impostors that reach the threshold.
        threshold: Lowest similarity threshold that respects this rate.
        genuine: Number of probes whose class is in the gallery.
        identified: Number of genuine probes whose nearest reference has their class and reaches the
            threshold. Its share of the genuine probes is the detection and identification rate.
        nearest_right: Number of genuine probes whose nearest reference has their class, at any
            similarity. Its share is recall@1 of the closed set.
        impostors: Number of probes whose class is not in the gallery.
        false_alarms: Number of impostors that reach the threshold.
    """

    false_alarm_rate: float
    threshold: float
    genuine: int
    identified: int
    nearest_right: int
    impostors: int
    false_alarms: int


def identification_of(
    score_Q: NDArray[np.floating],
    *,
    genuine_Q: NDArray[np.bool_],
    right_Q: NDArray[np.bool_],
    false_alarm_rate: float = FALSE_ALARM_RATE,
) -> Identification | None:
    """Return `identify` for probes of which each has one answer with a score.

    Args:
        score_Q: The score of each answer.
        genuine_Q: Whether the class of each probe is in the gallery.
        right_Q: Whether each answer has the class of its probe; only genuine ones count.
        false_alarm_rate: Highest allowed share of impostors that reach the threshold.

    Example:
        >>> score = np.append(np.linspace(0.0, 1.0, 200), [0.98, 0.998, 0.999])
        >>> genuine = np.arange(203) >= 200
        >>> found = identification_of(score, genuine_Q=genuine, right_Q=genuine)
        >>> found.identified, found.genuine, found.false_alarms
        (2, 3, 2)
    """
    alarms = np.sort(score_Q[~genuine_Q])[::-1]
    allowed = int(len(alarms) * false_alarm_rate + 1e-9)
    if allowed < 1 or not genuine_Q.any():
        return None
    # Just above the first impostor that must not pass, so that ties with it do not pass either.
    threshold = np.nextafter(alarms[allowed], alarms.dtype.type(np.inf))
    right = genuine_Q & right_Q
    return Identification(
        false_alarm_rate=false_alarm_rate,
        threshold=float(threshold),
        genuine=int(genuine_Q.sum()),
        identified=int((right & (score_Q >= threshold)).sum()),
        nearest_right=int(right.sum()),
        impostors=len(alarms),
        false_alarms=int((alarms >= threshold).sum()),
    )
