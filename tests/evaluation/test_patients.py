"""A patient is one row, however many slices there are."""

from __future__ import annotations

import json

import numpy as np
import pytest

from braingan.errors import DataError
from braingan.evaluation.patients import per_patient
from braingan.evaluation.scores import measures

CLASSES = ["healthy", "tumour"]


def study(classes: int = 2, *, pure: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, probabilities and patients p0 to p29 with 1 to 9 slices each, in any order."""
    random = np.random.default_rng(4)
    patients = random.permutation(np.repeat(np.arange(30), random.integers(1, 10, 30)))
    own = random.integers(classes, size=30)[patients]
    targets = own if pure else np.where(random.random(len(own)) < 0.3, 0, own)
    scores = random.random((len(own), classes)) + 0.3 * np.eye(classes)[targets]
    return targets, scores / scores.sum(axis=1, keepdims=True), np.array([f"p{number}" for number in patients])


@pytest.mark.parametrize("threshold", [None, 0.6])
def test_the_mean_probability_of_a_patient_is_scored_against_the_patients_class(threshold: float | None) -> None:
    targets, probabilities, patients = study(pure=True)
    names = sorted(set(patients.tolist()))
    means = np.array([probabilities[patients == name].mean(axis=0) for name in names])
    labels = np.array([targets[patients == name][0] for name in names])
    expected = measures(labels, means, CLASSES, threshold=threshold)
    found = per_patient(targets, probabilities, patients, CLASSES, threshold=threshold)
    mean = found["mean_probability"]
    assert (found["patients"], found["mixed"], mean["reason"]) == (30, 0, None)
    assert mean["measures"]["confusion"] == expected["confusion"]
    for name in ("auroc", "brier", "calibration_error", "macro"):
        assert mean["measures"][name] == pytest.approx(expected[name]), name


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize("threshold", [None, 0.7])
@pytest.mark.parametrize("positive", [0, 1])
def test_a_patient_is_positive_if_any_slice_is(pure: bool, threshold: float | None, positive: int) -> None:
    targets, probabilities, patients = study(pure=pure)
    labels, highest, guessed = [], [], []
    for name in sorted(set(patients.tolist())):
        here = patients == name
        labels.append(positive if (targets[here] == positive).any() else 1 - positive)
        highest.append(probabilities[here, positive].max())
        guessed.append(positive if highest[-1] > (threshold or 0.5) else 1 - positive)
    column = np.array(highest)
    rows = np.stack([1 - column, column] if positive else [column, 1 - column], axis=1)
    expected = measures(np.array(labels), rows, CLASSES, threshold=threshold, positive=positive)
    found = per_patient(targets, probabilities, patients, CLASSES, threshold=threshold, positive=positive)
    assert found["any_positive"] == {"measures": expected, "reason": None}
    assert len(set(guessed)) == 2
    assert expected["accuracy"] == pytest.approx(np.mean(np.array(guessed) == labels))


def test_patients_with_slices_of_both_classes_have_no_mean() -> None:
    targets, probabilities, patients = study(pure=False)
    found = per_patient(targets, probabilities, patients, CLASSES)
    mixed = sum(len(set(targets[patients == name].tolist())) > 1 for name in set(patients.tolist()))
    assert found["mixed"] == mixed > 5
    assert found["mean_probability"] == {
        "measures": None,
        "reason": f"{mixed} of 30 patients have images of several classes; a class for each patient works",
    }


def test_three_classes_have_a_mean_and_no_positive() -> None:
    found = per_patient(*study(3, pure=True), ["a", "b", "c"])
    assert found["mean_probability"]["measures"]["accuracy"] > 0.5
    assert found["any_positive"]["measures"] is None
    assert found["any_positive"]["reason"].startswith("there are 3 classes; 2 classes")


def test_the_number_of_slices_and_their_order_change_nothing() -> None:
    targets, probabilities, patients = study(pure=True)
    first = per_patient(targets, probabilities, patients, CLASSES)
    twice = np.random.default_rng(1).permutation(np.concatenate([np.arange(len(targets)), *[np.arange(9)] * 5]))
    again = per_patient(targets[twice], probabilities[twice], patients[twice], CLASSES)
    assert again["patients"] == first["patients"]
    assert again["any_positive"] == first["any_positive"]


def test_rankings_of_patients_are_means_over_folds() -> None:
    targets, probabilities, patients = study(pure=True)
    folds = np.array([int(name[1:]) % 2 for name in patients])
    found = per_patient(targets, probabilities, patients, CLASSES, folds=folds)
    each = [
        per_patient(targets[here], probabilities[here], patients[here], CLASSES)
        for here in (folds == fold for fold in (0, 1))
    ]
    for way in ("mean_probability", "any_positive"):
        expected = np.mean([part[way]["measures"]["auroc"] for part in each])
        assert found[way]["measures"]["auroc"] == pytest.approx(expected)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_thresholds_of_folds_are_those_of_their_patients() -> None:
    targets, probabilities, patients = study(pure=True)
    folds = np.array([int(name[1:]) % 2 for name in patients])
    found = per_patient(targets, probabilities, patients, CLASSES, threshold=np.where(folds, 0.3, 0.7))
    each = [
        per_patient(targets[folds == fold], probabilities[folds == fold], patients[folds == fold], CLASSES, threshold=t)
        for fold, t in ((0, 0.7), (1, 0.3))
    ]
    for way in ("mean_probability", "any_positive"):
        together = np.sum([part[way]["measures"]["confusion"] for part in each], axis=0)
        assert found[way]["measures"]["confusion"] == together.tolist()


def test_a_probability_that_rounding_made_larger_than_one_counts_as_one() -> None:
    rounded = np.array([[0.0, 1.004], [0.7, 0.3]])
    found = per_patient(np.array([1, 0]), rounded, ["a", "b"], CLASSES)
    assert found["any_positive"]["measures"]["brier"] == pytest.approx(0.3**2 / 2)


def test_a_patient_has_one_fold_and_one_threshold() -> None:
    targets, probabilities, patients = study(pure=True)
    folds = (np.arange(len(targets)) == len(targets) - 1).astype(int)
    with pytest.raises(DataError, match="more than one fold; one for each patient works"):
        per_patient(targets, probabilities, patients, CLASSES, folds=folds)
    with pytest.raises(DataError, match="more than one threshold; one for each patient works"):
        per_patient(targets, probabilities, patients, CLASSES, threshold=0.5 + 0.1 * folds)
    with pytest.raises(DataError, match="patients has missing entries"):
        per_patient(targets, probabilities, [None] * len(targets), CLASSES)
