"""Subgroups of the test images (site, sequence), so that harm to one of them shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from braingan.data.records import ImageRecord
from braingan.errors import BrainganError
from braingan.evaluation.comparison import compare
from braingan.evaluation.subgroups import UNKNOWN, by_subgroup
from braingan.experiment.contrasts import METRIC, Choice
from braingan.experiment.pooling import Pooled, ScoredImages, chosen

MOST = 12  # values of a column that make subgroups; more are numbers or names


def subgroup_columns(records: Sequence[ImageRecord]) -> dict[str, dict[str, str]]:
    """Columns of the metadata that make subgroups: column -> file -> text.

    Those with 2 to 12 different values, but not where each is of one patient or file: such a column names them. More
    than 2 that are all numbers make subgroups where they are whole (sites may have numbers), but not where one of them
    has a single patient (ages) or all have the same patients (places of slices): these are measurements.
    """
    columns: dict[str, dict[str, str]] = {}
    groups: dict[str, dict[str, set[str]]] = {}
    for record in records:
        for name, text in record.columns:
            value = text.strip() or UNKNOWN
            columns.setdefault(name, {})[record.file] = value
            groups.setdefault(name, {}).setdefault(value, set()).add(record.group)
    return {name: values for name, values in columns.items() if _divides(groups[name])}


def _divides(groups: Mapping[str, set[str]]) -> bool:
    """Whether values make subgroups, each with the patients that have it."""
    known = {value: own for value, own in groups.items() if value != UNKNOWN}
    if len(known) == len(frozenset().union(*known.values())) == sum(map(len, known.values())):
        return False  # one name for each patient
    if not 2 < len(known) <= MOST or not all(value.replace(".", "", 1).lstrip("-").isdigit() for value in known):
        return 2 <= len(known) <= MOST
    different = len({frozenset(own) for own in known.values()}) > 1
    return different and all(value.isdigit() and len(own) > 1 for value, own in known.items())


def compare_subgroups(
    tested: ScoredImages, pooled: Mapping[str, Pooled], choice: Choice | None, classes: Sequence[str],
    columns: Mapping[str, Mapping[str, str]],
) -> list[dict[str, Any]]:  # fmt: skip
    """The arms within each subgroup.

    Args:
        tested: the images.
        pooled: arms by label.
        choice: of the primary contrast.
        classes: names in label order.
        columns: from `subgroup_columns`.

    Returns:
        One entry a subgroup: `column`, `value`, `images`, `patients`, `macro_f1` (label -> mean over runs, None where
        there are too few images or classes) and `reason`, and `difference`, `low`, `high` of the primary contrast
        within it, which is exploratory; None where it cannot be computed.
    """
    found = []
    for column, texts in columns.items():
        values = np.array([texts.get(file, UNKNOWN) for file in tested.files])
        if len(set(values.tolist())) < 2:  # the images that were tested do not differ in it
            continue
        groups = {label: _of_runs(tested, own, values, classes) for label, own in pooled.items()}
        first = next(iter(groups.values()))[0]
        for value, own in first.items():
            f1 = {label: _mean([run[value]["macro"] for run in runs]) for label, runs in groups.items()}
            found.append(
                {"column": column, "value": value, "images": own["images"], "patients": own["patients"],
                 "reason": own["reason"], "macro_f1": f1}
                | _contrast(tested, pooled, None if own["reason"] else choice, values == value)
            )  # fmt: skip
    return found


def _of_runs(tested: ScoredImages, own: Pooled, values: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    return [by_subgroup(tested.targets, said, values, classes, patients=tested.patients, folds=folds)
            for said, folds in zip(own.probabilities, own.folds, strict=True)]  # fmt: skip


def _mean(macros: Sequence[Mapping[str, float] | None]) -> float | None:
    known = [macro["f1"] for macro in macros if macro is not None and macro["f1"] is not None]
    return float(np.mean(known)) if known else None


def _contrast(
    tested: ScoredImages, pooled: Mapping[str, Pooled], choice: Choice | None, here: np.ndarray
) -> dict[str, float | None]:
    nothing: dict[str, float | None] = {"difference": None, "low": None, "high": None}
    if choice is None:
        return nothing
    a, b = (chosen(pooled, names) for names in (choice.baseline, choice.augmented))
    patients = [patient for patient, own in zip(tested.patients, here, strict=True) if own]
    try:
        compared = compare(tested.targets[here], a.probabilities[:, here], b.probabilities[:, here], patients,
                           metric=METRIC, batches=(a.apart, b.apart))  # fmt: skip
    except BrainganError:  # too few patients, or of one class
        return nothing
    return {"difference": compared.difference, "low": compared.low, "high": compared.high}
