"""Predictions -> confusion shares, ROC curves and calibration, for figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from braingan.errors import BrainganError
from braingan.evaluation.patients import per_patient
from braingan.evaluation.scores import confusion_matrix
from braingan.experiment.result import mean_and_std
from braingan.reporting.predicted import View

GRID = np.linspace(0, 1, 101)
BINS = 10


@dataclass(frozen=True)
class Bin:
    """Predictions of about the same probability.

    Attributes:
        said: their mean probability.
        found: the share for which it was true.
        count: how many predictions.
    """

    said: float
    found: float
    count: int


def confusion_shares(targets: np.ndarray, view: View) -> np.ndarray:
    """(C, C) shares of the images of each true class (rows), all runs together; a row without images is 0."""
    classes = view.probabilities.shape[2]
    counts = np.zeros((classes, classes))
    for run, own in enumerate(view.probabilities):
        here = view.tested(run)
        counts += confusion_matrix(targets[here], own[here].argmax(axis=1), classes)
    shares: np.ndarray = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def mean_roc(targets: np.ndarray, view: View, positive: int = 1) -> np.ndarray | None:
    """(101,) true-positive rates at the false-positive rates 0, 0.01 to 1.

    A curve for each fold of each run, because scores of different models have different scales, and their mean at each
    false-positive rate (vertical averaging). Of two classes, of the positive one; of more, the mean over classes of
    each against the rest.

    Returns:
        None where no fold has images of both kinds.

    Source: Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27, 2006, section 8.
    """
    classes = view.probabilities.shape[2]
    curves = []
    for own, folds in zip(view.probabilities, view.folds, strict=True):
        for fold in np.unique(folds[folds >= 0]):
            here = folds == fold
            for label in [positive] if classes == 2 else range(classes):
                true = targets[here] == label
                if true.any() and not true.all():
                    curves.append(_roc(true, own[here, label]))
    return np.mean(curves, axis=0) if curves else None


def _roc(true: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """True-positive rates on the grid; ties are a slope."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of images with the same score
    hits, alarms = np.cumsum(true[order])[last], np.cumsum(~true[order])[last]
    rates: np.ndarray = np.interp(GRID, np.append(0, alarms / alarms[-1]), np.append(0, hits / hits[-1]))
    return rates


def calibration(targets: np.ndarray, view: View, positive: int = 1) -> list[Bin]:
    """Ten bins of equal width, empty ones left out; all runs together.

    Of two classes, of the probability of the positive one; of more, of the most probable class.
    """
    classes = view.probabilities.shape[2]
    known = view.folds >= 0
    probabilities, true = view.probabilities[known], np.broadcast_to(targets, known.shape)[known]
    if classes == 2:
        said, found = probabilities[:, positive], true == positive
    else:
        said, found = probabilities.max(axis=1), probabilities.argmax(axis=1) == true
    at = np.clip((said * BINS).astype(int), 0, BINS - 1)
    bins = [np.flatnonzero(at == number) for number in range(BINS)]
    return [Bin(float(said[own].mean()), float(found[own].mean()), len(own)) for own in bins if len(own)]


def patient_rows(
    targets: np.ndarray, patients: list[str], view: View, classes: list[str], positive: int = 1
) -> dict[str, dict[str, dict[str, float | None]] | str]:
    """Measures with one row a patient, as means over runs: way -> measure -> mean and std, or why there are none.

    Args:
        targets: (N,) labels.
        patients: (N,) names.
        view: the predictions.
        classes: names in label order.
        positive: of two classes, the label of the one that is looked for.
    """
    found: dict[str, dict[str, dict[str, float | None]] | str] = {}
    try:
        runs = [
            per_patient(
                targets[here],
                own[here],
                np.array(patients)[here],
                classes,
                folds=view.folds[run][here],
                positive=positive,
            )
            for run, own in enumerate(view.probabilities)
            if (here := view.tested(run)).any()
        ]
    except BrainganError as error:  # given splits may test slices of a patient in several folds
        return dict.fromkeys(("mean_probability", "any_positive"), str(error))
    for way in ("mean_probability", "any_positive"):
        reason = next((own[way]["reason"] for own in runs if own[way]["reason"]), None)
        if reason or not runs:
            found[way] = reason or "there are no predictions"
            continue
        found[way] = _means([own[way]["measures"] for own in runs], classes, positive)
    return found


def _means(measured: list[dict[str, Any]], classes: list[str], positive: int) -> dict[str, dict[str, float | None]]:
    """Means over runs of what can be measured: where all patients are of one class, whoever says so is always right."""
    counts = {name: sum(own["per_class"][name]["support"] for own in measured) for name in classes}
    judged = all(counts.values())
    found = {
        "macro F1": mean_and_std(own["macro"]["f1"] if judged else None for own in measured),
        "accuracy": mean_and_std(own["accuracy"] if judged else None for own in measured),
        "AUROC": mean_and_std(own["auroc"] for own in measured),
    }
    if len(classes) == 2:
        name = classes[positive]
        found["sensitivity"] = mean_and_std(
            own["per_class"][name]["recall"] if counts[name] else None for own in measured
        )
    return found
