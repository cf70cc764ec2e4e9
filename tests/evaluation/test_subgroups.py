"""Subgroups are scored as if they were alone, and say what they cannot."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from braingan.errors import DataError, SettingsError
from braingan.evaluation.scores import measures
from braingan.evaluation.subgroups import by_subgroup

CLASSES = ["healthy", "tumour"]


def study(count: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Targets, probabilities, 20 patients and their hospitals."""
    random = np.random.default_rng(0)
    targets, patients = random.integers(2, size=count), random.integers(20, size=count)
    high = np.clip(random.normal(0.35 + 0.3 * targets, 0.2), 0, 1)
    return targets, np.stack([1 - high, high], axis=1), patients, np.array(["lyon", "oslo", "rome"])[patients % 3]


def test_a_subgroup_is_measured_as_if_it_were_alone() -> None:
    targets, probabilities, patients, sites = study()
    folds, limits = patients % 2, np.where(patients % 2, 0.3, 0.6)
    found = by_subgroup(
        targets, probabilities, sites, CLASSES, patients=patients, folds=folds, threshold=limits, positive=0
    )
    assert list(found) == ["lyon", "oslo", "rome"]
    for site, row in found.items():
        here = sites == site
        alone = measures(
            targets[here], probabilities[here], CLASSES, folds=folds[here], threshold=limits[here], positive=0
        )
        assert {name: row[name] for name in alone} == alone
        assert (row["images"], row["patients"]) == (here.sum(), len(set(patients[here].tolist())))
        assert row["reason"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_subgroup_without_a_class_has_no_means_over_classes() -> None:
    targets, probabilities, _, sites = study()
    targets = np.where(sites == "rome", 1, targets)
    rome = by_subgroup(targets, probabilities, sites, CLASSES)["rome"]
    assert rome["reason"] == "no images of healthy"
    assert rome["macro"] is rome["balanced_accuracy"] is rome["auroc"] is rome["sensitivity_at_specificity"] is None
    assert rome["accuracy"] == rome["per_class"]["tumour"]["recall"] > 0.5
    assert rome["patients"] is None
    assert 0 < rome["brier"] < 0.5


def test_a_class_that_nobody_has_is_missed_by_nobody() -> None:
    targets, probabilities, _, sites = study()
    wide = np.pad(probabilities, ((0, 0), (0, 1)))
    assert all(row["reason"] is None for row in by_subgroup(targets, wide, sites, [*CLASSES, "other"]).values())


def test_a_subgroup_of_few_images_is_counted_and_not_scored() -> None:
    targets, probabilities, patients, _ = study()
    values = ["few"] * 9 + ["many"] * 291
    few = by_subgroup(targets, probabilities, values, CLASSES, patients=patients)["few"]
    assert few["reason"] == "9 images; 10 or more are scored"
    assert sum(row["support"] for row in few["per_class"].values()) == np.sum(few["confusion"]) == 9
    assert few["accuracy"] is few["macro"] is few["per_class"]["tumour"]["f1"] is few["brier"] is None
    assert by_subgroup(targets, probabilities, values, CLASSES, fewest=9)["few"]["accuracy"] is not None


def test_images_of_which_nothing_is_said_are_a_subgroup() -> None:
    targets, probabilities, _, _ = study()
    values: list[Any] = [None, "", " ", float("nan"), 3, "3"] * 50
    found = by_subgroup(targets, probabilities, values, CLASSES)
    assert {name: row["images"] for name, row in found.items()} == {"3": 100, "unknown": 200}


def test_subgroups_that_cannot_be_made_are_refused() -> None:
    targets, probabilities, _, sites = study()
    with pytest.raises(DataError, match="the values of subgroups have 299 entries for 300 images"):
        by_subgroup(targets, probabilities, sites[1:], CLASSES)
    with pytest.raises(SettingsError, match="subgroups of at least 0 images were asked; 1 or more works"):
        by_subgroup(targets, probabilities, sites, CLASSES, fewest=0)
    with pytest.raises(DataError, match="patients has 1 entries for 300 images"):
        by_subgroup(targets, probabilities, sites, CLASSES, patients=["p1"])
