"""Measures of parts of the test images: those of one hospital, of one sequence."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from braingan.errors import DataError, SettingsError
from braingan.evaluation.predictions import _indices
from braingan.evaluation.scores import checked, measures_of, part_of
from braingan.evaluation.thresholds import predicted_classes

UNKNOWN = "unknown"  # the subgroup of images of which nothing is said
FEWEST = 10  # images: below, one image more or less moves a share by 10 points
COMPARABLE = ("macro", "balanced_accuracy", "auroc", "average_precision", "sensitivity_at_specificity")


def by_subgroup(
    targets: np.ndarray,
    probabilities: np.ndarray,
    values: Sequence[Any] | np.ndarray,
    classes: Sequence[str],
    *,
    patients: Sequence[Hashable] | np.ndarray | None = None,
    folds: Sequence[Hashable] | np.ndarray | None = None,
    threshold: float | np.ndarray | None = None,
    positive: int = 1,
    fewest: int = FEWEST,
) -> dict[str, dict[str, Any]]:
    """Measures of the images of each hospital, sequence, or whatever a column of `metadata.csv` says.

    A subgroup of fewer than `fewest` images has `confusion` and the `support` of its classes, and None for all else. A
    subgroup that lacks a class which the others have has None for means over classes and for rankings (`macro`,
    `balanced_accuracy`, `auroc`, `average_precision`, `sensitivity_at_specificity`), because means over fewer classes
    are not comparable with those of other subgroups. `reason` says so. A subgroup of few patients is
    a poor witness however many slices it has: look at `patients`.

    Args:
        targets: (N,) labels, integers from 0.
        probabilities: (N, C) floats in [0, 1]; rows sum to 1.
        values: (N,) the column's text; None and blank text are the subgroup "unknown".
        classes: C names, in label order.
        patients: (N,) whose images they are.
        folds: see `measures`.
        threshold: see `measures`.
        positive: see `measures`.
        fewest: images that a subgroup needs, 1 or more.

    Returns:
        Value -> `images`, `patients` (None if they are not given), `reason` (None where nothing is left out) and what
        `measures` gives; in the order of the values. It can be written as JSON.

    Raises:
        DataError: shapes that do not fit, or floats that are no probabilities.
        SettingsError: a threshold, a positive class or a fewest number that cannot be used.
    """
    if fewest < 1:
        raise SettingsError(f"subgroups of at least {fewest} images were asked; 1 or more works")
    images, outputs = checked(targets, probabilities, classes, folds)
    chosen = predicted_classes(outputs, threshold, positive=positive)
    names = _names(values, len(chosen))
    units = None if patients is None else _indices("patients", patients, len(chosen))
    found = {}
    for name in sorted(set(names.tolist())):
        here = names == name
        part, size = part_of(images, here), int(here.sum())
        own = measures_of(part, outputs[here], chosen[here], classes, positive)
        missing = [classes[label] for label in np.setdiff1d(images.present, part.present)]
        found[name] = {
            "images": size,
            "patients": None if units is None else len(np.unique(units[here])),
            "reason": _reason(size, fewest, missing),
            **_known(own, few=size < fewest, lacking=bool(missing)),
        }
    return found


def _names(values: Sequence[Any] | np.ndarray, count: int) -> np.ndarray:
    listed = np.asarray(values).tolist() if isinstance(values, np.ndarray) else list(values)
    if len(listed) != count:
        raise DataError(f"the values of subgroups have {len(listed)} entries for {count} images; one for each works")
    said = ("" if value is None or value != value else str(value).strip() for value in listed)
    return np.array([text or UNKNOWN for text in said], dtype=object)


def _reason(size: int, fewest: int, missing: list[str]) -> str | None:
    if size < fewest:
        return f"{size} images; {fewest} or more are scored"
    return f"no images of {', '.join(missing)}" if missing else None


def _known(own: dict[str, Any], *, few: bool, lacking: bool) -> dict[str, Any]:
    """Measures without those that say nothing."""
    if few:
        counts = {name: dict.fromkeys(row) | {"support": row["support"]} for name, row in own["per_class"].items()}
        return dict.fromkeys(own) | {"per_class": counts, "confusion": own["confusion"]}
    return own | dict.fromkeys(COMPARABLE) if lacking else own
