"""From which probability on an image counts as positive, and how to choose it on validation images."""

from __future__ import annotations

import numpy as np

from braingan.errors import DataError, SettingsError
from braingan.evaluation.predictions import labels_of, predictions_of

USUAL = 0.5
ROUNDING = 1e-12  # in a macro-F1: thresholds this close are equally good


def predicted_classes(
    probabilities: np.ndarray, threshold: float | np.ndarray | None = None, *, positive: int = 1
) -> np.ndarray:
    """(N,) labels: the most probable class, or the positive one where its probability is above a threshold.

    Above, and not equal to it, so that 0.5 gives what the most probable class gives (but for an image with equal
    probabilities, where the positive label is 0).

    Args:
        probabilities: (N, C).
        threshold: of two classes, 0 to 1; one, or (N,) one for each image.
        positive: of two classes, the label of the one that is looked for.

    Raises:
        SettingsError: a threshold for more than two classes, or outside 0 to 1.
    """
    if threshold is None:
        most: np.ndarray = probabilities.argmax(axis=1)
        return most
    count, classes = probabilities.shape
    if classes != 2:
        raise SettingsError(f"a threshold was asked for {classes} classes; without one, the most probable class counts")
    check_positive(positive, classes)
    limit = np.asarray(threshold, dtype=float)
    if limit.shape not in ((), (count,)):
        raise SettingsError(f"thresholds are {limit.shape}; one, or one for each of {count} images, works")
    if not ((limit >= 0) & (limit <= 1)).all():
        wrong = limit[~((limit >= 0) & (limit <= 1))][0]
        raise SettingsError(f"a threshold of {wrong} was asked; 0 to 1 works")
    above = probabilities[:, positive].astype(float) > limit  # in float32 a threshold could round up to a probability
    return np.where(above, positive, 1 - positive)


def check_positive(positive: int, classes: int) -> None:
    """Refuse a positive label that two classes do not have."""
    if classes == 2 and positive not in (0, 1):
        raise SettingsError(f"the positive class {positive} was asked of 2 classes; their labels 0 and 1 work")


def threshold_for_specificity(
    targets: np.ndarray, probabilities: np.ndarray, specificity: float, *, positive: int = 1
) -> float:
    """The lowest threshold with at least that specificity on these images, for `predicted_classes` on others.

    Choose it on validation images, never on those that are scored with it. On others the specificity will be another
    one: it should be told with the sensitivity.

    >>> rows = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.1, 0.9]])
    >>> threshold_for_specificity(np.array([0, 0, 1, 1]), rows, 0.9)
    0.35

    Args:
        targets: (N,) labels, 0 and 1.
        probabilities: (N, 2) floats in [0, 1]; rows sum to 1.
        specificity: above 0, at most 1.
        positive: the label of the class that is looked for.

    Returns:
        0 to 1; half way between probabilities that occur.

    Raises:
        DataError: not two classes, or shapes that do not fit.
        SettingsError: a positive class that is not 0 or 1, or a specificity that cannot be.
    """
    if not 0 < specificity <= 1:
        raise SettingsError(f"a specificity of {specificity} was asked; above 0 and at most 1 works")
    true, scores, tried = _candidates(targets, probabilities, positive)
    negatives = np.sort(scores[~true])
    reached = np.searchsorted(negatives, tried, side="right") / len(negatives)
    return float(tried[reached >= specificity - ROUNDING][0])


def threshold_for_f1(targets: np.ndarray, probabilities: np.ndarray, *, positive: int = 1) -> float:
    """The threshold with the best macro-F1 on these images, for `predicted_classes` on others.

    Choose it on validation images, never on those that are scored with it. Thresholds half way between
    probabilities that occur are tried, and 0, 0.5 and 1. Of equally good ones, the nearest to 0.5 is taken, so that 0.5
    stays where nothing is better.

    >>> threshold_for_f1(np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.9]]))
    0.25

    Args:
        targets: (N,) labels, 0 and 1.
        probabilities: (N, 2) floats in [0, 1]; rows sum to 1.
        positive: the label of the class that is looked for.

    Returns:
        0 to 1.

    Raises:
        DataError: not two classes, or shapes that do not fit.
        SettingsError: a positive class that is not 0 or 1.
    """
    true, scores, tried = _candidates(targets, probabilities, positive)
    reached = _macro_f1(true, scores, tried)
    best = tried[reached >= reached.max() - ROUNDING]
    return float(best[np.abs(best - USUAL).argmin()])


def _candidates(
    targets: np.ndarray, probabilities: np.ndarray, positive: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) whether images are positive, (N,) scores, and (T,) thresholds that are worth a trial, rising."""
    labels, values = labels_of(targets), np.asarray(probabilities)
    if values.shape != (len(labels), 2) or values.dtype.kind != "f":
        raise DataError(f"probabilities are {values.shape} {values.dtype}; floats {(len(labels), 2)} work")
    present = np.unique(labels).tolist()
    if present != [0, 1]:
        found = ", ".join(map(str, present))
        raise DataError(f"a threshold was asked from images with the labels {found}; images of both 0 and 1 work")
    check_positive(positive, 2)
    scores = predictions_of("the classifier's output", values, len(labels))[0][:, positive]
    scores = np.minimum(scores, 1.0)  # half-precision probabilities may be a little larger
    distinct = np.unique(scores)
    tried = np.unique(np.concatenate([[0.0, USUAL, 1.0], (distinct[1:] + distinct[:-1]) / 2]))
    return labels == positive, scores, tried


def _macro_f1(true: np.ndarray, scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(T,) values, from how many positives and negatives lie above each threshold."""
    count = len(true)
    hits, alarms = (
        len(own) - np.searchsorted(np.sort(own), thresholds, side="right") for own in (scores[true], scores[~true])
    )
    positives, guessed = int(true.sum()), hits + alarms
    rejected = count - positives - alarms
    found: np.ndarray = hits / (positives + guessed) + rejected / (2 * count - positives - guessed)  # halves of two F1s
    return found
