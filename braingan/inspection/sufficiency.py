"""How small a difference a test set of so many patients can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from braingan.errors import SettingsError

DRAWS = 2000
CHUNK = 1000  # patients that are drawn at a time
SIGNIFICANCE = 0.05
SHARED = 0.5  # correlation of two classifiers' errors on the same images


@dataclass(frozen=True)
class Assumptions:
    """What the smallest detectable difference rests on.

    Attributes:
        recall: of each class, of a classifier that is to be improved.
        correlation: of the hits and misses on two images of one patient and class (0 to 1).
        power: probability that a true difference of this size is found significant (at 5 %, two-sided).
    """

    recall: float = 0.85
    correlation: float = 0.3
    power: float = 0.8

    def __post_init__(self) -> None:
        for name in ("recall", "correlation", "power"):
            if not 0 < getattr(self, name) < 1:
                raise SettingsError(f"{name} {getattr(self, name)} was asked; more than 0 and less than 1 works")


def smallest_difference(
    labels: np.ndarray, groups: Sequence[str], classes: int, assumed: Assumptions, *, share: float = 1.0
) -> float | None:
    """The smallest difference in macro-F1 that a test set can be expected to show.

    Hits and misses of a classifier are simulated: each patient has a recall of its own for each class
    (beta-binomial, with the given correlation between its images), a miss falls on any other class. The spread of
    macro-F1 over such test sets is multiplied by the sum of the two normal quantiles of significance and power;
    two classifiers on the same images share part of their errors (correlation `SHARED`).

    Args:
        labels: (N,) class indices of the test images.
        groups: (N,) their patients.
        classes: how many classes there are.
        assumed: see `Assumptions`.
        share: of these patients that the test set will have; 1 if they are the test set.

    Returns:
        From 0 to 1; None with fewer than two classes or patients.
    """
    if classes < 2 or len(set(groups)) < 2:
        return None
    units = np.unique(np.asarray(groups), return_inverse=True)[1]
    cells, sizes = np.unique(np.stack([units, labels]), axis=1, return_counts=True)
    random = np.random.default_rng(0)
    confusion = np.zeros((DRAWS, classes, classes))
    for label in range(classes):
        here = cells[1] == label
        confusion[:, label, label] = _hits(sizes[here], assumed, random)
        missed = (sizes[here].sum() - confusion[:, label, label]) / (classes - 1)
        others = [other for other in range(classes) if other != label]
        confusion[:, label, others] = missed[:, None]
    spread = float(_macro_f1(confusion).std()) / np.sqrt(share) * np.sqrt(2 * (1 - SHARED))
    quantiles = norm.ppf(1 - SIGNIFICANCE / 2) + norm.ppf(assumed.power)
    return round(min(1.0, float(quantiles * spread)), 4)


def _hits(sizes: np.ndarray, assumed: Assumptions, random: np.random.Generator) -> np.ndarray:
    """(DRAWS,) hits among patients with so many images each."""
    strength = 1 / assumed.correlation - 1  # of the beta distribution: a + b
    total = np.zeros(DRAWS)
    for first in range(0, len(sizes), CHUNK):
        part = sizes[first : first + CHUNK]
        own = random.beta(assumed.recall * strength, (1 - assumed.recall) * strength, size=(DRAWS, len(part)))
        total += random.binomial(part, own).sum(axis=1)
    return total


def _macro_f1(confusion: np.ndarray) -> np.ndarray:
    """(D,) from (D, true, predicted) counts."""
    hit = np.diagonal(confusion, axis1=1, axis2=2)
    total = confusion.sum(axis=1) + confusion.sum(axis=2)
    f1: np.ndarray = (2 * hit / np.maximum(total, 1)).mean(axis=1)
    return f1
