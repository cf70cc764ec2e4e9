"""The learning curve of the real images, and what synthetic ones are worth on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from braingan.data.folds import Folds

PATIENTS = " patients"  # labels of the points end so
FARTHEST = np.log2(11)  # doublings either way, beyond which a number of patients would be a guess


def curve_label(arm: str, fraction: float) -> str:
    """How results call an arm that learns from a part of the training patients.

    >>> curve_label("real", 0.25)
    'real@25% patients'
    """
    return f"{arm}@{100 * fraction:g}%{PATIENTS}"


def patients_in_part(fraction: float, patients: int) -> int:
    """How many of the training patients a part of them is.

    >>> patients_in_part(0.25, 18), patients_in_part(0.1, 4)
    (4, 1)
    """
    return max(1, round(fraction * patients))


def learning_curve(
    arm: str, fractions: Sequence[float], summary: Mapping[str, Any], splits: Folds, primary: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """The scores of an arm on parts of the training patients, and the exchange rate.

    A straight line is fitted to macro-F1 over the logarithm of the number of patients. What synthetic images gain is
    worth as many more patients as the line would need for the same gain: an extrapolation, good for orders of
    magnitude.

    Args:
        arm: whose curve it is.
        fractions: of the training patients that were tried, apart from all.
        summary: label -> measure -> mean and deviation.
        splits: the folds, whose training parts say how many patients there are.
        primary: the primary contrast, whose difference is exchanged.

    Returns:
        `arm`, `points` (`patients`, `macro_f1`), `per_doubling` (points of macro-F1 that twice the patients give) and
        `worth`: `patients`, `low`, `high`, by which the training set would have to grow for the primary difference and
        the ends of its interval; None where the curve does not rise, where the number would be beyond ten times what
        there is or, for a loss, would leave less than an eleventh, and without a primary contrast. None without a
        curve.
    """
    if not fractions:
        return None
    each = [len({file.group for file in fold.split.train}) for fold in splits.folds]
    labels = {fraction: curve_label(arm, fraction) for fraction in sorted(fractions)} | {1.0: arm}
    sizes = [float(np.mean([patients_in_part(fraction, count) for count in each])) for fraction in labels]
    f1 = [summary[label]["f1"]["mean"] for label in labels.values()]
    points = [{"patients": round(size, 1), "macro_f1": score} for size, score in zip(sizes, f1, strict=True)]
    slope, whole = float(np.polyfit(np.log2(sizes), f1, 1)[0]), sizes[-1]
    ends = {"patients": "difference", "low": "low", "high": "high"}
    worth = {name: _worth(primary[key], slope, whole) if primary else None for name, key in ends.items()}
    return {"arm": arm, "points": points, "per_doubling": slope, "worth": worth}


def _worth(gain: float, slope: float, patients: float) -> float | None:
    """More patients that would give the same gain; fewer for a loss."""
    doublings = gain / slope if slope > 0 else np.inf
    return round(float(patients * (2**doublings - 1)), 1) if abs(doublings) < FARTHEST else None
