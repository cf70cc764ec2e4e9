"""A threshold is the best there is, and is chosen on validation images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from braingan.errors import DataError, SettingsError
from braingan.evaluation.scores import measures
from braingan.evaluation.thresholds import predicted_classes, threshold_for_f1, threshold_for_specificity


def outputs(seed: int, count: int = 60, steps: int = 12, bias: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and probabilities of few different values that are too low for class 1."""
    random = np.random.default_rng(seed)
    targets = np.concatenate([[0, 1], (random.random(count) < 0.3).astype(int)])
    high = np.clip(random.normal(0.5 - bias + 0.3 * targets, 0.2), 0, 1).round(2 if steps > 12 else 1)
    return targets, np.stack([1 - high, high], axis=1)


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("seed", range(10))
def test_no_threshold_is_better(seed: int, positive: int) -> None:
    targets, probabilities = outputs(seed)
    found = threshold_for_f1(targets, probabilities, positive=positive)

    def reached(threshold: float) -> float:
        predicted = predicted_classes(probabilities, threshold, positive=positive)
        return float(f1_score(targets, predicted, average="macro", zero_division=0))

    others = [reached(threshold) for threshold in np.linspace(0, 1, 21)]  # between all probabilities, and at them
    assert reached(found) == pytest.approx(max(others))
    assert reached(found) >= reached(0.5)


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("specificity", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_no_lower_threshold_is_as_specific(seed: int, specificity: float, positive: int) -> None:
    targets, probabilities = outputs(seed)
    found = threshold_for_specificity(targets, probabilities, specificity, positive=positive)

    def reached(threshold: float) -> float:
        predicted = predicted_classes(probabilities, threshold, positive=positive)
        return float((predicted[targets != positive] != positive).mean())

    assert reached(found) >= specificity
    lower = np.unique(probabilities[:, positive])
    assert all(reached(threshold) < specificity for threshold in lower[lower < found - 0.06])


def test_a_specificity_that_cannot_be_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"a specificity of 1\.5 was asked; above 0 and at most 1 works"):
        threshold_for_specificity(*outputs(0), 1.5)
    with pytest.raises(DataError, match="images of both 0 and 1 work"):
        threshold_for_specificity(np.zeros(62, int), outputs(0)[1], 0.9)


def test_a_threshold_repairs_probabilities_that_are_too_low() -> None:
    targets, probabilities = outputs(0, count=2000, steps=100, bias=0.4)
    found = threshold_for_f1(targets[:1000], probabilities[:1000])
    assert found < 0.5
    plain, moved = (
        measures(targets[1000:], probabilities[1000:], ["a", "b"], threshold=limit)["macro"]["f1"]
        for limit in (None, found)
    )
    assert moved > plain + 0.05


def test_of_equally_good_thresholds_the_nearest_to_a_half_is_taken() -> None:
    targets = np.array([0, 0, 1, 1])
    for high, expected in (
        ([0.1, 0.3, 0.7, 0.9], 0.5),  # 0.5 itself is as good as any
        ([0.1, 0.2, 0.3, 0.4], 0.25),
        ([0.6, 0.7, 0.8, 0.9], 0.75),
        ([0.1, 0.45, 0.2, 0.9], 0.5),  # 0.15 is as good
    ):
        column = np.array(high)
        assert threshold_for_f1(targets, np.stack([1 - column, column], axis=1)) == pytest.approx(expected)


def test_a_half_is_what_the_most_probable_class_is() -> None:
    probabilities = np.array([[0.5, 0.5], [0.4, 0.6], [0.6, 0.4]])
    assert predicted_classes(probabilities).tolist() == [0, 1, 0]
    assert predicted_classes(probabilities, 0.5).tolist() == [0, 1, 0]
    assert predicted_classes(probabilities, 0.4, positive=0).tolist() == [0, 1, 0]


def test_images_may_have_a_threshold_each() -> None:
    probabilities = np.array([[0.7, 0.3], [0.7, 0.3]])
    assert predicted_classes(probabilities, np.array([0.2, 0.4])).tolist() == [1, 0]


def test_a_classifier_that_is_always_wrong_has_a_threshold_that_ignores_it() -> None:
    column = np.array([0.9, 0.1, 0.1, 0.1])
    rows = np.stack([1 - column, column], axis=1)
    assert threshold_for_f1(np.array([0, 1, 1, 1]), rows) == 0  # all are positive
    assert threshold_for_f1(np.array([1, 0, 0, 0]), rows[:, ::-1]) == 1


@pytest.mark.parametrize("steps", [0, 1])
def test_a_threshold_between_neighbours_in_single_precision_parts_them(steps: int) -> None:
    low = np.float32(0.3)
    for _ in range(steps):  # half way rounds to the even one of the two: down, or up
        low = np.nextafter(low, np.float32(1))
    high = np.nextafter(low, np.float32(1))
    column = np.array([low, low, high, high])
    targets, probabilities = np.array([0, 0, 1, 1]), np.stack([1 - column, column], axis=1)
    found = threshold_for_f1(targets, probabilities)
    assert predicted_classes(probabilities, found).tolist() == targets.tolist()


def test_a_threshold_of_half_precision_probabilities_can_be_used() -> None:
    column = np.array([1.002, 1.004, 1.006, 1.008])
    probabilities = np.stack([np.zeros(4), column], axis=1)
    found = threshold_for_f1(np.array([0, 0, 1, 1]), probabilities)
    assert predicted_classes(probabilities, found).tolist() == [1] * 4


TWO = np.array([[0.5, 0.5]] * 4)
THREE = np.full((4, 3), 1 / 3)


@pytest.mark.parametrize(
    ("threshold", "probabilities", "positive", "message"),
    [
        (0.5, THREE, 1, "a threshold was asked for 3 classes; without one"),
        (1.5, TWO, 1, "a threshold of 1.5 was asked; 0 to 1 works"),
        (np.array([0.1, 0.2, 0.3, np.nan]), TWO, 1, "a threshold of nan was asked"),
        (np.array([0.1, 0.2]), TWO, 1, r"thresholds are \(2,\); one, or one for each of 4 images"),
        (0.5, TWO, -1, "the positive class -1 was asked of 2 classes"),
    ],
)
def test_thresholds_that_cannot_be_used_are_refused(
    threshold: Any, probabilities: np.ndarray, positive: int, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        predicted_classes(probabilities, threshold, positive=positive)


@pytest.mark.parametrize(
    ("targets", "probabilities", "message"),
    [
        ([1, 1, 1, 1], TWO, "a threshold was asked from images with the labels 1; images of both 0 and 1 work"),
        ([0, 1, 2, 1], TWO, "with the labels 0, 1, 2; images of both"),
        ([0, 1, 0, 1], THREE, r"probabilities are \(4, 3\) float64; floats \(4, 2\) work"),
        ([0, 1, 0, 1], 2 * TWO, "the classifier's output has floats that are no probabilities"),
    ],
)
def test_images_that_give_no_threshold_are_refused(targets: list[int], probabilities: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        threshold_for_f1(np.array(targets), probabilities)
