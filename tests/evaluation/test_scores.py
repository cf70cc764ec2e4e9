"""Scores are scikit-learn's, and those of `compare`."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from braingan.errors import DataError, SettingsError
from braingan.evaluation.comparison import compare
from braingan.evaluation.scores import calibration_error, measures, score

NAMES = ["healthy", "glioma", "pituitary"]


def outputs(classes: int, seed: int = 0, count: int = 240) -> tuple[np.ndarray, ...]:
    """Targets, probabilities with many ties, 12 patients and 3 folds."""
    random = np.random.default_rng(seed)
    targets, patients = random.integers(classes, size=count), random.integers(12, size=count)
    scores = random.integers(1, 6, size=(count, classes)) + 2.0 * np.eye(classes)[targets]
    return targets, scores / scores.sum(axis=1, keepdims=True), patients, patients % 3


def value_of(found: dict[str, Any], metric: str) -> float:
    """The measure that `compare` calls so."""
    kind, _, argument = metric.partition(":")
    if kind == "recall_at_specificity":
        return float(found["sensitivity_at_specificity"][argument])
    if argument:
        return float(list(found["per_class"].values())[int(argument)][kind])
    macro, _, part = kind.partition("_")
    return float(found["macro"][part] if macro == "macro" else found[kind])


SHARED = ["macro_f1", "macro_precision", "macro_recall", "balanced_accuracy", "accuracy", "f1:0", "precision:1",
          "recall:1", "auroc", "average_precision", "brier"]  # fmt: skip
TWO = ["recall_at_specificity:0.90", "recall_at_specificity:0.95"]


def test_scores_equal_scikit_learns() -> None:
    random = np.random.default_rng(0)
    targets, probabilities = random.integers(0, 3, 200), random.dirichlet([1, 1, 1], 200)
    predicted = probabilities.argmax(axis=1)
    scores = score(targets, probabilities)
    for measure, theirs in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert np.allclose(getattr(scores, measure), theirs(targets, predicted, average=None))
        assert scores.macro()[measure] == pytest.approx(theirs(targets, predicted, average="macro"))
    assert scores.accuracy == accuracy_score(targets, predicted)
    assert scores.per_class(["a", "b", "c"])["b"]["support"] == int((targets == 1).sum())


def test_a_class_that_is_never_predicted_scores_zero_without_a_warning() -> None:
    scores = score(np.array([0, 0, 1]), np.array([[0.9, 0.1]] * 3))
    assert scores.f1[1] == scores.precision[1] == 0
    assert scores.macro()["recall"] == 0.5


@pytest.mark.parametrize("in_folds", [False, True])
@pytest.mark.parametrize(("classes", "metric"), [(n, m) for n in (2, 3) for m in SHARED] + [(2, m) for m in TWO])
def test_a_measure_is_what_compare_says(classes: int, metric: str, in_folds: bool) -> None:
    targets, probabilities, patients, folds = outputs(classes)
    own = folds if in_folds else None
    theirs = compare(targets, probabilities, probabilities, patients, metric=metric, folds=own, resamples=2)
    found = measures(targets, probabilities, NAMES[:classes], folds=own)
    assert value_of(found, metric) == pytest.approx(theirs.value_a, abs=1e-12)


def test_folds_change_rankings_and_nothing_else() -> None:
    targets, probabilities, _, folds = outputs(2)
    shifted = probabilities[:, 1] * np.array([0.1, 0.5, 1.0])[folds]  # models of other folds have another scale
    probabilities = np.stack([1 - shifted, shifted], axis=1)
    pooled, averaged = (measures(targets, probabilities, NAMES[:2], folds=own) for own in (None, folds))
    changed = {name for name, value in pooled.items() if averaged[name] != value}
    assert changed == {"auroc", "average_precision", "sensitivity_at_specificity"}
    each = [metrics.roc_auc_score(targets[folds == fold], shifted[folds == fold]) for fold in range(3)]
    assert averaged["auroc"] == pytest.approx(np.mean(each))


def test_a_class_without_images_is_in_no_mean_as_in_compare() -> None:
    targets, probabilities, patients, _ = outputs(3)
    targets = np.where(targets == 2, 0, targets)
    found = measures(targets, probabilities, NAMES)
    assert found["per_class"]["pituitary"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert sum(row[2] for row in found["confusion"]) > 0  # images are taken for it
    for metric in ("macro_f1", "macro_precision", "macro_recall", "auroc", "average_precision"):
        theirs = compare(targets, probabilities, probabilities, patients, metric=metric, resamples=2)
        assert value_of(found, metric) == pytest.approx(theirs.value_a, abs=1e-12)
    scores = score(targets, probabilities)
    assert scores.macro() == found["macro"]
    assert scores.macro()["recall"] == pytest.approx(sum(scores.recall) / 2)


def test_images_of_one_class_have_no_ranking() -> None:
    _, probabilities, _, _ = outputs(2)
    found = measures(np.ones(240, dtype=int), probabilities, NAMES[:2])
    assert found["auroc"] is found["average_precision"] is None
    assert found["sensitivity_at_specificity"] == {"0.90": None, "0.95": None}
    assert found["accuracy"] == found["balanced_accuracy"] == found["per_class"]["glioma"]["recall"]


def test_sensitivity_at_a_specificity_is_of_two_classes_only() -> None:
    targets, probabilities, _, _ = outputs(3)
    assert measures(targets, probabilities, NAMES)["sensitivity_at_specificity"] is None


def test_a_row_of_the_confusion_is_a_true_class() -> None:
    targets, probabilities, _, _ = outputs(3)
    found = measures(targets, probabilities, NAMES)
    assert found["confusion"] == metrics.confusion_matrix(targets, probabilities.argmax(axis=1)).tolist()
    assert found["confusion"] != np.transpose(found["confusion"]).tolist()


def test_the_first_class_may_be_the_positive_one() -> None:
    targets, probabilities, _, _ = outputs(2)
    found = measures(targets, probabilities, NAMES[:2], positive=0)
    other = measures(targets, probabilities, NAMES[:2])
    assert found["average_precision"] == pytest.approx(
        metrics.average_precision_score(targets == 0, probabilities[:, 0])
    )
    assert found["average_precision"] != pytest.approx(other["average_precision"], abs=0.001)
    false, true, _ = metrics.roc_curve(targets == 0, probabilities[:, 0], drop_intermediate=False)
    assert found["sensitivity_at_specificity"]["0.90"] == pytest.approx(true[false <= 0.1 + 1e-9].max())
    assert {name: found[name] for name in ("macro", "brier", "confusion")} == {
        name: other[name] for name in ("macro", "brier", "confusion")
    }


def test_a_threshold_moves_predicted_classes_and_nothing_else() -> None:
    targets, probabilities, _, _ = outputs(2)
    plain, moved = (measures(targets, probabilities, NAMES[:2], threshold=limit) for limit in (None, 0.6))
    changed = {name for name, value in plain.items() if moved[name] != value}
    assert changed == {"per_class", "macro", "accuracy", "balanced_accuracy", "confusion"}
    assert moved["accuracy"] == accuracy_score(targets, probabilities[:, 1] > 0.6)
    assert measures(targets, probabilities, NAMES[:2], threshold=0.5) == plain


def test_calibration_error_is_that_of_a_plain_loop_over_bins() -> None:
    targets, probabilities, _, _ = outputs(3)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    expected = 0.0
    for place in range(15):
        inside = (confidence > place / 15) & (confidence <= (place + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected > 0.05
    assert measures(targets, probabilities, NAMES)["calibration_error"] == pytest.approx(expected)


def test_a_classifier_that_knows_how_sure_it_may_be_is_calibrated() -> None:
    targets = np.repeat([1, 0], [80, 20])
    assert calibration_error(targets, np.tile([0.2, 0.8], (100, 1))) == pytest.approx(0)
    assert calibration_error(targets, np.tile([0.0, 1.0], (100, 1))) == pytest.approx(0.2)
    assert calibration_error(1 - targets, np.tile([0.0, 1.0], (100, 1))) == pytest.approx(0.8)


@pytest.mark.parametrize("classes", [2, 3])
def test_measures_are_json(classes: int) -> None:
    targets, probabilities, _, folds = outputs(classes)
    found = measures(targets, probabilities.astype(np.float32), NAMES[:classes], folds=folds.astype(str))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_one_image_is_enough() -> None:
    found = measures(np.array([1]), np.array([[0.4, 0.6]]), NAMES[:2])
    assert (found["accuracy"], found["brier"], found["confusion"]) == (1.0, pytest.approx(0.16), [[0, 0], [0, 1]])


def test_five_thousand_predictions_take_no_time() -> None:
    targets, probabilities, _, folds = outputs(2, count=5000)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        measures(targets, probabilities, NAMES[:2], folds=folds)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.25  # 0.03 on a slow core that others use, too


LABELS, GIVEN, _, _ = outputs(2)
REFUSED: dict[str, tuple[type[Exception], dict[str, Any]]] = {
    r"probabilities are \(240,\) int64; floats \(240, 2\) work": (DataError, {"probabilities": LABELS}),
    r"probabilities are \(239, 2\) float64; floats \(240, 2\)": (DataError, {"probabilities": GIVEN[1:]}),
    r"floats \(240, 3\) work, for 240 targets and 3 classes": (DataError, {"classes": NAMES}),
    "the classifier's output has floats that are no probabilities": (DataError, {"probabilities": 3 * GIVEN}),
    "targets have the label 2 of 2 classes": (DataError, {"targets": LABELS + 1}),
    r"targets are \(240,\) float64": (DataError, {"targets": LABELS.astype(float)}),
    "classes are a, a; a name for each": (DataError, {"classes": ["a", "a"]}),
    "folds has 3 entries for 240 images": (DataError, {"folds": [0, 1, 2]}),
    "the positive class 2 was asked of 2 classes": (SettingsError, {"positive": 2}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_scored_is_refused_in_one_line(message: str) -> None:
    error, changed = REFUSED[message]
    arguments = {"targets": LABELS, "probabilities": GIVEN, "classes": NAMES[:2]} | changed
    with pytest.raises(error, match=message) as caught:
        measures(**arguments)
    assert "\n" not in str(caught.value)
