"""Images that most classifiers get right with synthetic images and wrong without, or the other way round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braingan.reporting.predicted import Predicted, View


@dataclass(frozen=True)
class Changed:
    """An image that changed sides.

    Attributes:
        file: its name.
        patient: whose it is; empty where it is not known.
        label: its class.
        fixed: whether synthetic images made it right; else they made it wrong.
        before: mean probability of the true class without them.
        after: the same with them.
        right_before: share of the runs that are right without them.
        right_after: the same with them.
    """

    file: str
    patient: str
    label: str
    fixed: bool
    before: float
    after: float
    right_before: float
    right_after: float


def changed_images(predicted: Predicted, without: View, with_synthetic: View) -> list[Changed]:
    """Those that more than half of the runs get right on one side, and less than half on the other.

    Returns:
        The largest changes first.
    """
    (before, right_before), (after, right_after) = (_judged(predicted, view) for view in (without, with_synthetic))
    found = [
        Changed(
            predicted.files[at], predicted.patients[at], predicted.classes[predicted.targets[at]],
            bool(right_after[at] > right_before[at]), float(before[at]), float(after[at]), float(right_before[at]),
            float(right_after[at]),
        )
        for at in np.flatnonzero((right_before - 0.5) * (right_after - 0.5) < 0)
    ]  # fmt: skip
    return sorted(found, key=lambda own: (-abs(own.after - own.before), own.file))


def _judged(predicted: Predicted, view: View) -> tuple[np.ndarray, np.ndarray]:
    """(N,) mean probability of the true class and (N,) share of runs that are right; 0.5 where nothing is known."""
    known = view.folds >= 0
    runs = np.maximum(known.sum(axis=0), 1)
    own = np.take_along_axis(view.probabilities, predicted.targets[None, :, None], axis=2)[:, :, 0]
    right = np.nan_to_num(view.probabilities).argmax(axis=2) == predicted.targets
    shares = np.where(known.any(axis=0), np.where(known, right, 0).sum(axis=0) / runs, 0.5)
    return np.where(known, own, 0).sum(axis=0) / runs, shares
