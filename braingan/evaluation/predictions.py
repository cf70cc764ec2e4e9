"""What a comparison is given -> arrays of one shape, or one line that says why not."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from braingan.errors import DataError

SUM_TOLERANCE = 0.01  # half-precision probabilities need not sum to 1 exactly


@dataclass(frozen=True)
class Images:
    """What the predictions are about.

    Attributes:
        targets: (N,) labels.
        units: (N,) index of the patient.
        patients: how many there are.
        folds: (N,) index of the fold, all 0 without a cross-validation.
        classes: how many labels there may be.
    """

    targets: np.ndarray
    units: np.ndarray
    patients: int
    folds: np.ndarray
    classes: int

    @property
    def present(self) -> np.ndarray:
        """Labels that occur in `targets`, in order."""
        return np.unique(self.targets)


def labels_of(targets: np.ndarray) -> np.ndarray:
    """(N,) labels as integers."""
    labels = np.asarray(targets)
    if labels.ndim != 1 or not len(labels) or labels.dtype.kind not in "biu":
        raise DataError(f"targets are {_shape(labels)}; (N,) integers work, one label an image")
    if labels.min() < 0:
        raise DataError(f"targets have the label {labels.min()}; labels count from 0")
    return labels.astype(np.int64)


def _shape(values: np.ndarray) -> str:
    return f"{values.shape} {values.dtype}"


def predictions_of(name: str, given: np.ndarray, count: int) -> np.ndarray:
    """(R, N) classes or (R, N, C) probabilities."""
    values = np.asarray(given)
    works = (
        f"classes (N,) or (runs, N) as integers, or probabilities (N, C) or (runs, N, C) as floats, N = {count}, work"
    )
    kind = values.dtype.kind
    if kind not in "biuf" or values.ndim not in ((2, 3) if kind == "f" else (1, 2)):
        raise DataError(f"{name} is {_shape(values)}; {works}")
    runs = values[None] if values.ndim == (2 if kind == "f" else 1) else values
    if runs.shape[1] != count or not runs.size:
        raise DataError(f"{name} is {_shape(values)}; {works}")
    if kind != "f":
        if runs.min() < 0:
            raise DataError(f"{name} has the class {runs.min()}; classes count from 0")
        return runs.astype(np.int64)
    if runs.shape[2] < 2:
        raise DataError(f"{name} is {_shape(values)}, one column of probabilities; one column for each class works")
    runs = runs.astype(float)
    sums = runs.sum(axis=2)
    if not (np.isfinite(sums).all() and runs.min() >= 0 and np.abs(sums - 1).max() <= SUM_TOLERANCE):
        raise DataError(f"{name} has floats that are no probabilities; from 0 to 1 with a sum of 1 for each image work")
    return runs


def images_of(
    targets: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    groups: Sequence[Hashable] | np.ndarray,
    folds: Sequence[Hashable] | np.ndarray | None,
) -> Images:
    """What both predict.

    Args:
        targets: (N,) labels.
        a: from `predictions_of`.
        b: from `predictions_of`.
        groups: (N,) patients.
        folds: (N,) folds of a cross-validation, or (runs, N); then the first run counts.
    """
    columns = {name: runs.shape[2] for name, runs in (("a", a), ("b", b)) if runs.ndim == 3}
    if len(set(columns.values())) > 1:
        raise DataError(f"a has probabilities of {columns['a']} classes and b of {columns['b']}; the same classes work")
    largest = 1 + int(max(targets.max(), *(runs.max() for runs in (a, b) if runs.ndim == 2), 0))
    classes = max(columns.values(), default=max(2, largest))
    if largest > classes:
        raise DataError(
            f"there is a class {largest - 1} and probabilities of {classes} classes; a column for each works"
        )
    units = _indices("groups", groups, len(targets))
    patients = int(units.max()) + 1
    if patients < 2:
        raise DataError(f"groups has {patients} patient; 2 or more work, as the spread between patients is what counts")
    one = np.asarray(folds)[0] if _dealt_by_run(folds) else folds
    own = np.zeros_like(units) if one is None else _indices("folds", one, len(targets))
    return Images(targets, units, patients, own, classes)


def images_of_runs(
    images: Images, folds: Sequence[Hashable] | np.ndarray | None, a: np.ndarray, b: np.ndarray
) -> list[Images]:
    """What each run predicts: the same images, which may have been dealt into folds anew.

    Args:
        images: from `images_of`.
        folds: (N,), or an array (runs, N) where repeats of a cross-validation have folds of their own.
        a: from `predictions_of`.
        b: from `predictions_of`.
    """
    if not _dealt_by_run(folds):
        return [images] * max(len(a), len(b))
    rows = np.asarray(folds)
    if rows.ndim != 2 or not len(rows) == len(a) == len(b):
        raise DataError(
            f"folds are {_shape(rows)} for {len(a)} and {len(b)} runs; (N,), or a row for each run of both, works"
        )
    return [replace(images, folds=_indices("folds", row, len(images.targets))) for row in rows]


def _dealt_by_run(folds: Sequence[Hashable] | np.ndarray | None) -> bool:
    return isinstance(folds, np.ndarray) and folds.ndim > 1


def _indices(name: str, values: Sequence[Hashable] | np.ndarray, count: int) -> np.ndarray:
    """(N,) index of each value among the different ones, in an order that is that of the values, not of the images."""
    listed = np.asarray(values).tolist() if isinstance(values, np.ndarray) else list(values)
    if len(listed) != count:
        raise DataError(f"{name} has {len(listed)} entries for {count} images; one for each works")
    if any(value is None or value != value for value in listed):
        raise DataError(f"{name} has missing entries; a value for each image works")
    number = {value: index for index, value in enumerate(sorted(set(listed), key=repr))}
    return np.array([number[value] for value in listed])
