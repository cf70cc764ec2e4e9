"""Predictions -> every measure of a classifier, from precision to calibration."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from braingan.errors import DataError
from braingan.evaluation.measures import Measure
from braingan.evaluation.predictions import Images, _indices, labels_of, predictions_of
from braingan.evaluation.thresholds import check_positive, predicted_classes

MEASURES = ("precision", "recall", "f1")
SPECIFICITIES = ("0.90", "0.95")
BINS = 15  # as in Guo et al. 2017, so that values can be compared with published ones


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

    @classmethod
    def of(cls, confusion: np.ndarray) -> Scores:
        """From (C, C) numbers of images, true classes in rows."""
        hit, true, guessed = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        return cls(
            precision=_quotients(hit, guessed),
            recall=_quotients(hit, true),
            f1=_quotients(2 * hit, true + guessed),
            support=tuple(true.tolist()),
            accuracy=float(hit.sum() / true.sum()),
        )

    def macro(self) -> dict[str, float]:
        """Plain means over the classes that have test images, as in `braingan.compare`."""
        present = np.array(self.support) > 0
        return {measure: float(np.array(getattr(self, measure))[present].mean()) for measure in MEASURES}

    def per_class(self, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Class name -> measure -> value; all 0 for a class without images."""
        return {
            name: {measure: getattr(self, measure)[label] for measure in (*MEASURES, "support")}
            for label, name in enumerate(classes)
        }


def score(targets: np.ndarray, probabilities: np.ndarray) -> Scores:
    """Score the most probable class of each image.

    Args:
        targets: (N,) labels.
        probabilities: (N, classes).
    """
    return Scores.of(confusion_matrix(targets, probabilities.argmax(axis=1), probabilities.shape[1]))


def measures(
    targets: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    folds: Sequence[Hashable] | np.ndarray | None = None,
    threshold: float | np.ndarray | None = None,
    positive: int = 1,
) -> dict[str, Any]:
    """All measures of one classifier on one test set.

    Where `braingan.compare` has a measure of the same name, the value is the same.

    =========================== ================================================================================
    per_class                   class name -> precision, recall, f1, support (the number of its images)
    macro                       precision, recall, f1: means over the classes that occur in `targets`
    accuracy                    share of images that are predicted rightly
    balanced_accuracy           mean recall of the classes that occur in `targets`
    auroc                       area under the ROC curve of the positive class; of more than two classes, the mean
                                of each that occurs against the rest
    average_precision           the same of the precision-recall curve, as a sum of steps
    sensitivity_at_specificity  "0.90", "0.95" -> the highest recall of the positive class that any threshold gives
                                with at least that specificity. The threshold is chosen on these images, which
                                flatters. None for more than two classes
    brier                       mean squared distance of the probability of class 1 from 0 or 1; of more than two
                                classes, summed over classes (then up to 2). Smaller is better
    calibration_error           see `calibration_error`. Smaller is better
    confusion                   C rows of C numbers of images; a row is a true class
    =========================== ================================================================================

    What is 0/0 counts as 0. A class without images has a support of 0 and is in no mean, but images that are taken
    for it count against their own class. Ranking measures (`auroc`, `average_precision`,
    `sensitivity_at_specificity`) are None where all images are of one class. The threshold changes predicted classes
    only: `per_class`, `macro`, `accuracy`, `balanced_accuracy` and `confusion`.

    >>> found = measures(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]), ["healthy", "tumour"])
    >>> found["per_class"]["tumour"], found["auroc"], found["confusion"]
    ({'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666, 'support': 1}, 1.0, [[1, 1], [0, 1]])

    Args:
        targets: (N,) labels, integers from 0.
        probabilities: (N, C) floats in [0, 1]; rows sum to 1.
        classes: C names, in label order.
        folds: (N,) which part of a cross-validation each prediction comes from. Ranking measures are then computed in
            each fold and averaged, because models of different folds have different scales; a fold, or a class in
            it, without positives and negatives is left out. Other measures are of all images together.
        threshold: of two classes, see `predicted_classes`; one, or (N,) one for each image, as models of different
            folds have their own. None takes the most probable class.
        positive: of two classes, the label of the one that is looked for; with more it means nothing.

    Returns:
        A dictionary that can be written as JSON: floats, integers, lists and None.

    Raises:
        DataError: shapes that do not fit, or floats that are no probabilities.
        SettingsError: a threshold or a positive class that cannot be used.
    """
    images, values = checked(targets, probabilities, classes, folds)
    return measures_of(images, values, predicted_classes(values, threshold, positive=positive), classes, positive)


def checked(
    targets: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    folds: Sequence[Hashable] | np.ndarray | None = None,
) -> tuple[Images, np.ndarray]:
    """What is predicted, all of it one unit, and (N, C) float64 probabilities.

    Raises:
        DataError: shapes that do not fit, floats that are no probabilities, or doubled names of classes.
    """
    labels, values, names = labels_of(targets), np.asarray(probabilities), list(classes)
    works = (len(labels), len(names))
    if values.shape != works or values.dtype.kind != "f":
        raise DataError(
            f"probabilities are {values.shape} {values.dtype}; floats {works} work, for {len(labels)} targets and "
            f"{len(names)} classes"
        )
    if len(set(names)) < len(names):
        raise DataError(f"classes are {', '.join(names)}; a name for each, none of them twice, works")
    if labels.max() >= len(names):
        raise DataError(f"targets have the label {labels.max()} of {len(names)} classes; labels count from 0")
    values = predictions_of("the classifier's output", values, len(labels))[0]
    parts = np.zeros_like(labels) if folds is None else _indices("folds", folds, len(labels))
    return Images(labels, np.zeros_like(labels), 1, parts, len(names)), values


def part_of(images: Images, chosen: np.ndarray, targets: np.ndarray | None = None) -> Images:
    """Some of the images of `checked`.

    Args:
        images: from `checked`.
        chosen: (M,) indices, or (N,) bool.
        targets: (M,) other labels than theirs.
    """
    own = images.targets[chosen] if targets is None else targets
    return replace(images, targets=own, units=images.units[chosen], folds=images.folds[chosen])


def measures_of(
    images: Images, probabilities: np.ndarray, predicted: np.ndarray, classes: Sequence[str], positive: int = 1
) -> dict[str, Any]:
    """What `measures` gives, of arrays that are checked and classes that are predicted already.

    Args:
        images: from `checked` or `part_of`.
        probabilities: (N, C).
        predicted: (N,) labels.
        classes: C names.
        positive: of two classes, the label of the one that is looked for.
    """
    check_positive(positive, len(classes))
    confusion = confusion_matrix(images.targets, predicted, images.classes)
    scores = Scores.of(confusion)
    macro = scores.macro()
    mirrored = images.classes == 2 and positive == 0  # rankings look for class 1
    ranked = replace(images, targets=1 - images.targets) if mirrored else images
    order = probabilities[:, ::-1] if mirrored else probabilities
    wanted = SPECIFICITIES if images.classes == 2 else ()
    return {
        "per_class": scores.per_class(classes),
        "macro": macro,
        "accuracy": scores.accuracy,
        "balanced_accuracy": macro["recall"],
        "auroc": _value("auroc", ranked, order),
        "average_precision": _value("average_precision", ranked, order),
        "sensitivity_at_specificity": {
            least: _value(f"recall_at_specificity:{least}", ranked, order) for least in wanted
        } or None,
        "brier": _value("brier", images, probabilities),
        "calibration_error": calibration_error(images.targets, probabilities),
        "confusion": confusion.tolist(),
    }  # fmt: skip


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(C, C) numbers of images, true classes in rows.

    Args:
        targets: (N,) labels below C.
        predicted: (N,) labels below C.
        classes: C.
    """
    cells = np.asarray(targets, dtype=np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def calibration_error(targets: np.ndarray, probabilities: np.ndarray, *, bins: int = BINS) -> float:
    """Expected calibration error of the most probable class, 0 (calibrated) to 1.

    Images are put into bins of equal width by the probability of their most probable class, (0, 1/bins] to
    (1 - 1/bins, 1]. It is the mean over bins, weighted by their images, of the distance between mean probability and
    share of images whose most probable class is the true one. It depends on the bins, and few images make it larger:
    compare it only between classifiers on the same images. Of two classes, only the upper half of the bins is used.

    Args:
        targets: (N,) labels.
        probabilities: (N, C).
        bins: how many.

    Source: Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    places = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    # A bin's share of images times its distance is the distance of its sums over the number of images.
    gaps = np.bincount(places, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _value(name: str, images: Images, probabilities: np.ndarray) -> float | None:
    value = float(Measure.named(name).of(images, probabilities)(np.ones((1, 1)))[0])
    return None if np.isnan(value) else value


def _quotients(above: np.ndarray, below: np.ndarray) -> tuple[float, ...]:
    """0/0 counts as 0."""
    return tuple((above / np.maximum(below, 1)).tolist())  # no image below: none above
