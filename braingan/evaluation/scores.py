"""Predictions -> precision, recall and F1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

MEASURES = ("precision", "recall", "f1")


@dataclass(frozen=True)
class Scores:
    """Scores of one classifier on one test set; what is undefined (0/0) counts as 0.

    Attributes:
        precision: one a class, in [0, 1].
        recall: one a class.
        f1: one a class.
        support: test images of each class.
        accuracy: over all images.
    """

    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int, ...]
    accuracy: float

    def macro(self) -> dict[str, float]:
        """Plain means over classes."""
        return {measure: float(np.mean(getattr(self, measure))) for measure in MEASURES}

    def per_class(self, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Class name -> measure -> value."""
        return {
            name: {measure: getattr(self, measure)[label] for measure in (*MEASURES, "support")}
            for label, name in enumerate(classes)
        }


def score(targets: np.ndarray, probabilities: np.ndarray) -> Scores:
    """Score the most probable class of each image, with scikit-learn.

    Args:
        targets: (N,) labels.
        probabilities: (N, classes).
    """
    labels = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, predicted, labels=labels, average=None, zero_division=0
    )
    return Scores(
        precision=tuple(map(float, precision)),
        recall=tuple(map(float, recall)),
        f1=tuple(map(float, f1)),
        support=tuple(map(int, support)),
        accuracy=float(accuracy_score(targets, predicted)),
    )
