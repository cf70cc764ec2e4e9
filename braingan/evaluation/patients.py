"""Predictions of slices -> measures of patients."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from braingan.errors import DataError
from braingan.evaluation.predictions import _indices
from braingan.evaluation.scores import checked, measures_of, part_of
from braingan.evaluation.thresholds import predicted_classes


def per_patient(
    targets: np.ndarray,
    probabilities: np.ndarray,
    patients: Sequence[Hashable] | np.ndarray,
    classes: Sequence[str],
    *,
    folds: Sequence[Hashable] | np.ndarray | None = None,
    threshold: float | np.ndarray | None = None,
    positive: int = 1,
) -> dict[str, Any]:
    """Measures with one row a patient, so that a patient with many slices counts no more than one with few.

    In two ways:

    - `mean_probability`: the mean of a patient's probabilities, against the class of the patient. It makes sense only
      where all images of a patient are of one class; where one has several (slices with and without a tumour), there
      are no measures and a reason.
    - `any_positive`: a patient is positive if any of the images is, and predicted positive if any is predicted so; the
      score is the highest probability of the positive class. Two classes only. Patients with many slices have more
      chances of a false alarm, and the highest probability is not calibrated: `brier` and
      `calibration_error` of a good slice classifier may be poor here. Where every patient has a positive slice, there
      are no negatives: sensitivity is all that can be measured.

    >>> targets, patients = np.array([0, 1, 0, 0]), ["a", "a", "b", "b"]
    >>> probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.8, 0.2], [0.6, 0.4]])
    >>> found = per_patient(targets, probabilities, patients, ["healthy", "tumour"])
    >>> found["any_positive"]["measures"]["confusion"], found["mean_probability"]["measures"]
    ([[1, 0], [0, 1]], None)
    >>> found["mean_probability"]["reason"]
    '1 of 2 patients has images of several classes; a class for each patient works'

    Args:
        targets: (N,) labels of the images, integers from 0.
        probabilities: (N, C) floats in [0, 1]; rows sum to 1.
        patients: (N,) whose images they are.
        classes: C names, in label order.
        folds: see `measures`; all images of a patient are in one fold.
        threshold: see `measures`; all images of a patient have the same.
        positive: see `measures`.

    Returns:
        `patients` (how many there are), `mixed` (how many of them have images of several classes) and, for each way,
        `measures` (see `measures`; None where they make no sense) and `reason` (None where there are measures). It can
        be written as JSON.

    Raises:
        DataError: shapes that do not fit, or a patient in several folds or with several thresholds.
        SettingsError: a threshold or a positive class that cannot be used.
    """
    images, values = checked(targets, probabilities, classes, folds)
    units = _indices("patients", patients, len(values))
    chosen = predicted_classes(values, threshold, positive=positive)
    first = np.unique(units, return_index=True)[1]  # an image of each patient
    limits = None if threshold is None else np.broadcast_to(np.asarray(threshold, dtype=float), len(values))
    _check_one("fold", images.folds, units, first)
    if limits is not None:
        _check_one("threshold", limits, units, first)
        limits = limits[first]
    count = len(first)
    has = np.zeros((count, len(classes)), dtype=bool)
    has[units, images.targets] = True
    mixed = int((has.sum(axis=1) > 1).sum())
    if mixed:
        verb = "has" if mixed == 1 else "have"
        mean = _nothing(f"{mixed} of {count} patients {verb} images of several classes; a class for each patient works")
    else:
        outputs = _means(values, units)
        predicted = predicted_classes(outputs, limits, positive=positive)
        mean = _found(measures_of(part_of(images, first), outputs, predicted, classes, positive))
    if len(classes) == 2:
        outputs = _highest(values, units, positive)
        true, predicted = (
            np.where(any_of, positive, 1 - positive)
            for any_of in (has[:, positive], np.bincount(units, chosen == positive) > 0)
        )
        highest = _found(measures_of(part_of(images, first, true), outputs, predicted, classes, positive))
    else:
        highest = _nothing(f"there are {len(classes)} classes; 2 classes, one of them positive, work")
    return {"patients": count, "mixed": mixed, "mean_probability": mean, "any_positive": highest}


def _means(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """(patients, C) means of (N, C) probabilities."""
    sums = np.stack([np.bincount(units, column) for column in values.T], axis=1)
    means: np.ndarray = sums / np.bincount(units)[:, None]
    return means


def _highest(values: np.ndarray, units: np.ndarray, positive: int) -> np.ndarray:
    """(patients, 2) probabilities, of the positive class the highest of a patient's images."""
    score = np.zeros(int(units.max()) + 1)
    np.maximum.at(score, units, np.minimum(values[:, positive], 1.0))  # half-precision ones may be a little larger
    return np.stack([1 - score, score] if positive else [score, 1 - score], axis=1)


def _check_one(name: str, values: np.ndarray, units: np.ndarray, first: np.ndarray) -> None:
    """Refuse a patient with several values."""
    other = np.flatnonzero(values != values[first][units])
    if len(other):
        raise DataError(f"the patient of image {other[0]} has more than one {name}; one for each patient works")


def _found(values: dict[str, Any]) -> dict[str, Any]:
    return {"measures": values, "reason": None}


def _nothing(reason: str) -> dict[str, Any]:
    return {"measures": None, "reason": reason}
