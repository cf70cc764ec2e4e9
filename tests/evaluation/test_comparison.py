"""Comparing two classifiers: values against scikit-learn, resampling against loops, and what simulations find."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

import braingan
from braingan.errors import DataError, SettingsError
from braingan.evaluation.comparison import compare
from braingan.evaluation.measures import Measure
from braingan.evaluation.predictions import Images


def best_recall(targets: np.ndarray, scores: np.ndarray, specificity: float) -> float:
    false, true, _ = metrics.roc_curve(targets, scores, drop_intermediate=False)
    return float(true[false <= 1 - specificity + 1e-9].max())


# measure -> how scikit-learn computes it from targets, predicted classes and probabilities of two classes
BINARY: dict[str, Any] = {
    "macro_f1": lambda t, c, p: metrics.f1_score(t, c, average="macro", zero_division=0),
    "macro_precision": lambda t, c, p: metrics.precision_score(t, c, average="macro", zero_division=0),
    "macro_recall": lambda t, c, p: metrics.recall_score(t, c, average="macro", zero_division=0),
    "balanced_accuracy": lambda t, c, p: metrics.balanced_accuracy_score(t, c),
    "accuracy": lambda t, c, p: metrics.accuracy_score(t, c),
    "f1:0": lambda t, c, p: metrics.f1_score(t, c, pos_label=0, zero_division=0),
    "f1:1": lambda t, c, p: metrics.f1_score(t, c, zero_division=0),
    "precision:1": lambda t, c, p: metrics.precision_score(t, c, zero_division=0),
    "recall:1": lambda t, c, p: metrics.recall_score(t, c, zero_division=0),
    "auroc": lambda t, c, p: metrics.roc_auc_score(t, p[:, 1]),
    "average_precision": lambda t, c, p: metrics.average_precision_score(t, p[:, 1]),
    "recall_at_specificity:0.8": lambda t, c, p: best_recall(t, p[:, 1], 0.8),
    "brier": lambda t, c, p: metrics.brier_score_loss(t, p[:, 1]),
}
MORE: dict[str, Any] = {
    "macro_f1": BINARY["macro_f1"],
    "macro_precision": BINARY["macro_precision"],
    "balanced_accuracy": BINARY["balanced_accuracy"],
    "accuracy": BINARY["accuracy"],
    "recall:2": lambda t, c, p: metrics.recall_score(t, c, labels=[2], average=None)[0],
    "auroc": lambda t, c, p: metrics.roc_auc_score(t, p, multi_class="ovr"),
    "average_precision": lambda t, c, p: metrics.average_precision_score(np.eye(3)[t], p, average="macro"),
    "brier": lambda t, c, p: np.mean(((p - np.eye(3)[t]) ** 2).sum(axis=1)),
}
CASES = [(2, name) for name in BINARY] + [(3, name) for name in MORE]


def predictions(classes: int, runs: int = 1, seed: int = 0, count: int = 240) -> tuple[np.ndarray, ...]:
    """Targets, probabilities of a and of b (runs, N, C) with many ties, and 12 patients."""
    random = np.random.default_rng(seed)
    targets = random.integers(classes, size=count)
    scores = random.integers(0, 5, size=(2, runs, count, classes)) + 2.0 * np.eye(classes)[targets]
    probabilities = (scores + 1) / (scores + 1).sum(axis=-1, keepdims=True)
    return targets, probabilities[0], probabilities[1], random.integers(12, size=count)


def study(
    random: np.random.Generator, patients: int, runs: int, effect: float, gain: float = 0.0
) -> tuple[np.ndarray, ...]:
    """Targets, classes of a and b (runs, N) and patients; `effect` and `gain` in units of the margin."""
    groups = np.repeat(np.arange(patients), random.integers(5, 61, patients))
    targets = (random.random(len(groups)) < 0.35).astype(int)
    shared = 1.1 + 0.8 * random.standard_normal(patients)[groups] + 0.6 * random.standard_normal(len(groups))
    found = []
    for better in (0.0, gain):
        margin = better + shared + 0.4 * random.standard_normal(patients)[groups]
        margin = margin + effect * random.standard_normal((runs, 1)) + 0.6 * random.standard_normal((runs, len(groups)))
        found.append(np.where(margin > 0, targets, 1 - targets))
    return targets, *found, groups


def significant(studies: int, patients: int, runs: int, effect: float, gain: float = 0.0) -> int:
    random = np.random.default_rng(patients + runs)
    return sum(
        compare(*study(random, patients, runs, effect, gain), resamples=300, seed=seed).p_value < 0.05
        for seed in range(studies)
    )


def known(classes: int, name: str) -> Any:
    return (BINARY if classes == 2 else MORE)[name]


@pytest.mark.parametrize(("classes", "name"), CASES)
def test_values_are_those_of_scikit_learn(classes: int, name: str) -> None:
    targets, a, b, groups = predictions(classes, runs=2)
    result = compare(targets, a, b, groups, metric=name, resamples=20)
    expected = [np.mean([known(classes, name)(targets, p.argmax(axis=1), p) for p in runs]) for runs in (a, b)]
    assert [result.value_a, result.value_b] == pytest.approx(expected, abs=1e-12)
    assert result.difference == pytest.approx(expected[1] - expected[0], abs=1e-12)


@pytest.mark.parametrize(("classes", "name"), CASES)
def test_a_resample_by_counts_is_the_resample_by_copies(classes: int, name: str) -> None:
    targets, a, _, groups = predictions(classes)
    images = Images(targets, groups, 12, np.zeros_like(groups), classes)
    counts = np.random.default_rng(1).multinomial(12, [1 / 12] * 12, size=5)
    values = Measure.named(name).of(images, a[0])(counts.astype(float))
    for row, value in zip(counts, values, strict=True):
        copies = np.concatenate([np.repeat(np.flatnonzero(groups == unit), row[unit]) for unit in range(12)])
        p = a[0][copies]
        assert value == pytest.approx(known(classes, name)(targets[copies], p.argmax(axis=1), p), abs=1e-12)


def test_the_spread_is_that_of_a_plain_loop_over_patients() -> None:
    targets, a, b, groups = predictions(2)
    result = compare(targets, a, b, groups, metric="macro_f1", resamples=4000)
    random = np.random.default_rng(5)
    differences = []
    for _ in range(400):
        copies = np.concatenate([np.flatnonzero(groups == unit) for unit in random.integers(12, size=12)])
        values = [metrics.f1_score(targets[copies], p[0][copies].argmax(axis=1), average="macro") for p in (a, b)]
        differences.append(values[1] - values[0])
    assert result.standard_error == pytest.approx(np.std(differences) * np.sqrt(12 / 11), rel=0.12)
    reach = stats.t.ppf(0.975, 11) * result.standard_error
    assert [result.low, result.high] == pytest.approx([result.difference - reach, result.difference + reach])


def test_accuracy_of_patients_of_equal_size_is_tested_as_by_a_paired_t_test() -> None:
    random = np.random.default_rng(1)
    targets = random.integers(2, size=120)
    a, b = (np.where(random.random(120) < right, targets, 1 - targets) for right in (0.7, 0.8))
    result = compare(targets, a, b, np.arange(120) // 20, metric="accuracy", resamples=40_000)
    expected = stats.ttest_rel(*((arm == targets).reshape(6, 20).mean(axis=1) for arm in (b, a)))
    interval = expected.confidence_interval(0.95)
    assert result.p_value == pytest.approx(expected.pvalue, rel=0.02)
    assert [result.low, result.high] == pytest.approx(list(interval), rel=0.02)
    assert result.degrees_of_freedom == 5


def test_runs_add_the_part_of_their_variance_that_is_not_of_the_patients() -> None:
    random = np.random.default_rng(0)
    targets = np.tile([0, 1], 500)
    groups = np.repeat(np.arange(50), 20)
    shares = np.array([[0.7, 0.8, 0.9], [0.6, 0.8, 0.95]])
    a, b = (np.array([np.where(random.random(1000) < share, targets, 1 - targets) for share in arm]) for arm in shares)
    accuracy = [(arm == targets).mean(axis=1) for arm in (a, b)]
    result = compare(targets, a, b, groups, metric="accuracy")
    both = sum(np.var(values, ddof=1) / 3 for values in accuracy)
    assert result.standard_error**2 == pytest.approx(both, rel=0.05)  # chance is small beside these runs
    assert 2 < result.degrees_of_freedom < 4.1
    assert result.runs == (3, 3)


def test_the_interval_of_runs_that_differ_is_wider_than_that_of_each_run() -> None:
    targets, a, b, groups = study(np.random.default_rng(2), 55, 3, effect=0.5)
    together = compare(targets, a, b, groups, resamples=500)
    alone = [compare(targets, a[run], b[run], groups, resamples=500) for run in range(3)]
    assert together.high - together.low > max(single.high - single.low for single in alone)
    assert together.covers_runs
    assert not any(single.covers_runs for single in alone)


def test_a_single_run_is_taken_to_vary_as_those_of_the_other_do() -> None:
    targets, a, b, groups = study(np.random.default_rng(2), 55, 3, effect=0.5)
    one, three = compare(targets, a[:1], b, groups), compare(targets, a, b, groups)
    assert one.runs == (1, 3)
    assert one.covers_runs
    assert one.degrees_of_freedom < three.degrees_of_freedom


def test_predictions_that_are_the_same_differ_by_exactly_nothing() -> None:
    for classes, name in CASES:
        targets, a, _, groups = predictions(classes, runs=2)
        result = compare(targets, a, a, groups, metric=name, resamples=50)
        assert (result.difference, result.p_value) == (0.0, 1.0)
        single = compare(targets, a[0], a[0], groups, metric=name, resamples=50)
        assert (single.difference, single.low, single.high, single.p_value) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("name", ["macro_f1", "auroc", "average_precision", "recall_at_specificity:0.8"])
def test_the_order_of_images_changes_nothing(name: str) -> None:
    targets, a, b, groups = predictions(2, runs=2)
    order = np.random.default_rng(3).permutation(len(targets))
    first = compare(targets, a, b, groups, metric=name, resamples=100)
    second = compare(targets[order], a[:, order], b[:, order], groups[order], metric=name, resamples=100)
    for field, value in first.to_json().items():
        assert second.to_json()[field] == pytest.approx(value), field


def test_the_names_of_patients_may_be_anything() -> None:
    targets, a, b, groups = predictions(2)
    names = [("hospital", int(unit)) for unit in groups]
    found = [compare(targets, a, b, ids, resamples=3000) for ids in (groups, groups.astype(str), names)]
    assert {result.patients for result in found} == {12}
    assert [result.high for result in found] == pytest.approx([found[0].high] * 3, abs=0.01)


def test_copies_of_images_within_patients_tell_nothing_new_but_copies_as_patients_would() -> None:
    targets, a, b, groups = predictions(2)
    plain = compare(targets, a, b, groups)
    twice = [np.concatenate([values, values], axis=axis) for values, axis in ((targets, 0), (a, 1), (b, 1))]
    within = compare(*twice, np.concatenate([groups, groups]))
    apart = compare(*twice, np.concatenate([groups, groups + 12]))
    assert (within.low, within.high) == pytest.approx((plain.low, plain.high))
    assert apart.high - apart.low < 0.8 * (plain.high - plain.low)


def test_a_patient_that_is_there_twice_counts_twice() -> None:
    targets, a, _, groups = predictions(2)
    own = groups == 0
    targets, a, groups = (np.concatenate([v, v[own]]) for v in (targets, a[0], np.where(own, 12, groups)))
    images = Images(targets, groups % 12, 12, np.zeros_like(groups), 2)
    once = Images(targets[: -own.sum()], groups[: -own.sum()] % 12, 12, np.zeros_like(groups[: -own.sum()]), 2)
    weights = np.ones((1, 12))
    weights[0, 0] = 2
    for name in BINARY:
        measure = Measure.named(name)
        assert measure.of(images, a)(np.ones((1, 12))) == pytest.approx(measure.of(once, a[: -own.sum()])(weights))


def test_classes_and_the_probabilities_of_the_same_classes_give_the_same() -> None:
    targets, a, b, groups = predictions(3, runs=2)
    given = compare(targets, a, b, groups, resamples=100)
    assert compare(targets, a.argmax(axis=2), b, groups, resamples=100) == given
    assert compare(targets, a[0].argmax(axis=1), b[0], groups, resamples=100) == compare(
        targets, a[:1], b[:1], groups, resamples=100
    )


def test_ranking_measures_are_means_over_folds_and_others_are_not() -> None:
    targets, a, b, groups = predictions(2)
    folds = groups % 3
    shifted = a[0][:, 1] * np.array([0.1, 0.5, 1.0])[folds]  # models of other folds have another scale
    a = np.stack([1 - shifted, shifted], axis=1)
    result = compare(targets, a, b, groups, metric="auroc", folds=folds, resamples=100)
    expected = np.mean([metrics.roc_auc_score(targets[folds == fold], shifted[folds == fold]) for fold in range(3)])
    assert result.value_a == pytest.approx(expected)
    assert compare(targets, a, b, groups, metric="auroc", resamples=100).value_a < expected - 0.05
    plain = compare(targets, a, b, groups, metric="brier", resamples=100)
    assert compare(targets, a, b, groups, metric="brier", folds=folds, resamples=100) == plain


def test_runs_of_a_repeated_cross_validation_have_folds_of_their_own() -> None:
    targets, a, b, groups = predictions(2, runs=2)
    folds = np.array([groups % 3, groups // 4])  # each repeat deals the patients anew
    scales = np.array([0.1, 0.5, 1.0])[folds]  # models of other folds have another scale
    a, b = (np.stack([1 - own[..., 1] * scales, own[..., 1] * scales], axis=2) for own in (a, b))
    result = compare(targets, a, b, groups, metric="auroc", folds=folds, resamples=300)
    expected = [
        np.mean([metrics.roc_auc_score(targets[own == fold], run[own == fold, 1]) for run, own in
                 zip(runs, folds, strict=True) for fold in range(3)])
        for runs in (a, b)
    ]  # fmt: skip
    assert [result.value_a, result.value_b] == pytest.approx(expected)
    assert (
        abs(compare(targets, a, b, groups, metric="auroc", folds=folds[0], resamples=300).value_a - expected[0]) > 0.02
    )
    same = compare(targets, a, b, groups, metric="auroc", folds=np.array([folds[0]] * 2), resamples=300)
    assert same == compare(targets, a, b, groups, metric="auroc", folds=folds[0], resamples=300)
    plain = compare(targets, a, b, groups, metric="macro_f1", resamples=300)
    assert compare(targets, a, b, groups, metric="macro_f1", folds=folds, resamples=300) == plain
    again = compare(targets, a[::-1], b[::-1], groups, metric="auroc", folds=folds[::-1], resamples=300)
    assert again.difference == pytest.approx(result.difference)
    assert again.standard_error == pytest.approx(result.standard_error)


def test_a_fold_of_one_class_is_left_out_of_a_ranking() -> None:
    targets, a, b, groups = predictions(2)
    targets = np.where(groups == 0, 0, targets)
    folds = np.minimum(groups, 1)
    rest = groups > 0
    result = compare(targets, a, b, groups, metric="auroc", folds=folds, resamples=100)
    assert result.value_a == pytest.approx(metrics.roc_auc_score(targets[rest], a[0][rest, 1]))


def test_a_class_of_few_patients_is_in_every_resample() -> None:
    targets = np.repeat([0, 1], [16, 4])
    groups = np.repeat(np.arange(10), 2)  # two patients have class 1
    result = compare(targets, targets, 1 - targets, groups, metric="recall:1", resamples=400)
    assert (result.difference, result.standard_error) == (-1.0, 0.0)  # without it, 0/0 would count as 0


def test_the_recall_of_a_class_is_about_the_patients_who_have_it() -> None:
    targets, patients = np.repeat([1] * 4 + [0] * 16, 6), np.repeat(np.arange(20), 6)  # four of twenty patients
    random = np.random.default_rng(0)
    a, b = (np.where(random.random(120) < right, targets, 1 - targets) for right in (0.5, 0.8))
    result = compare(targets, a, b, patients, metric="recall:1", resamples=4000)
    differences = []
    while len(differences) < 2000:
        copies = np.concatenate([np.flatnonzero(patients == unit) for unit in random.integers(20, size=20)])
        tumour = copies[targets[copies] == 1]
        if len(tumour):
            differences.append((b[tumour] == 1).mean() - (a[tumour] == 1).mean())
    assert result.standard_error == pytest.approx(np.std(differences) * np.sqrt(4 / 3), rel=0.08)
    alike = compare(targets, 0 * targets, targets, patients, metric="recall:1")
    assert (alike.difference, alike.p_value) == (1.0, 2.0 ** (1 - 4))  # four coins, not twenty


@pytest.mark.parametrize("metric", ["recall:1", "balanced_accuracy", "macro_recall"])
def test_two_patients_of_a_class_who_agree_prove_nothing(metric: str) -> None:
    """Their recall goes from 0.50 to 0.74 and to 0.76: so near to each other that 38 others would make it certain."""
    targets, patients = np.repeat([1] * 2 + [0] * 38, 50), np.repeat(np.arange(40), 50)
    a = np.where(np.tile(np.arange(50) % 2 == 0, 40), targets, 1 - targets)
    b = a.copy()
    for patient, right in enumerate((37, 38)):
        b[50 * patient : 50 * (patient + 1)] = np.arange(50) < right
    found = compare(targets, a, b, patients, metric=metric)
    assert found.difference == pytest.approx(0.25 if metric == "recall:1" else 0.125)
    assert found.degrees_of_freedom == 1  # with one run each, those of the patients alone
    assert compare(targets, a, b, patients, metric="accuracy").degrees_of_freedom == 39


def test_many_classes_take_no_more_memory_than_few() -> None:
    random = np.random.default_rng(0)
    targets = np.tile([0, 255], 40)  # labels as a mask has them: 256 classes
    a, b = (np.where(random.random(80) < right, targets, 255 - targets) for right in (0.6, 0.9))
    tracemalloc.start()
    found = compare(targets, a, b, np.repeat(np.arange(20), 4), resamples=2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.difference > 0
    assert peak < 500e6


def test_the_interval_excludes_nothing_exactly_where_p_is_below_its_level() -> None:
    random = np.random.default_rng(0)
    seen = set()
    for gain in np.linspace(0, 0.5, 30):
        result = compare(*study(random, 20, 3, 0.1, gain), resamples=200, confidence=0.9)
        excluded = not result.low <= 0 <= result.high
        assert excluded == (result.p_value < 0.1)
        seen.add(excluded)
    assert seen == {True, False}


def test_patients_who_all_show_the_same_are_as_coins() -> None:
    targets = np.tile([0, 1], 10)
    few = compare(targets[:8], 1 - targets[:8], targets[:8], np.arange(8) // 2)
    many = compare(targets, 1 - targets, targets, np.arange(20) // 2)
    assert (few.difference, few.low, few.high, few.p_value) == (1.0, -1.0, 1.0, 0.125)
    assert (many.difference, many.low, many.high, many.p_value) == (1.0, 1.0, 1.0, 2.0**-9)


def test_a_comparison_is_json_and_the_same_every_time() -> None:
    arguments = predictions(2, runs=3)
    result = braingan.compare(*arguments, seed=4, resamples=100)
    assert isinstance(result, braingan.Comparison)
    assert json.loads(json.dumps(result.to_json())) == result.to_json()
    assert result == braingan.compare(*arguments, seed=4, resamples=100)
    assert result != braingan.compare(*arguments, seed=5, resamples=100)


LABELS, GIVEN, OTHER, PATIENTS = predictions(2)
CLASSES = GIVEN[0].argmax(axis=1)
REFUSED: dict[str, tuple[type[Exception], dict[str, Any]]] = {
    "metric 'f2' was asked; macro_f1, .* work": (SettingsError, {"metric": "f2"}),
    "metric 'f1:tumor' was asked; macro_f1, .*f1:CLASS": (SettingsError, {"metric": "f1:tumor"}),
    "metric 'recall_at_specificity:95' was asked; a specificity above 0": (
        SettingsError,
        {"metric": "recall_at_specificity:95"},
    ),
    "metric auroc was asked and b has classes; probabilities": (SettingsError, {"metric": "auroc", "b": CLASSES}),
    "metric recall_at_specificity:0.9 was asked for 3 classes": (
        SettingsError,
        dict(zip(("targets", "a", "b", "groups"), predictions(3), strict=True))
        | {"metric": "recall_at_specificity:0.9"},
    ),
    "1 resamples were asked; 2 or more": (SettingsError, {"resamples": 1}),
    "confidence 95 was asked; more than 0 and less than 1": (SettingsError, {"confidence": 95}),
    "seed -1 was asked": (SettingsError, {"seed": -1}),
    r"targets are \(240,\) float64; \(N,\) integers": (DataError, {"targets": LABELS.astype(float)}),
    "targets have the label -1": (DataError, {"targets": LABELS - 1}),
    r"a is \(240,\) float64; classes \(N,\) or \(runs, N\) as integers": (DataError, {"a": CLASSES.astype(float)}),
    r"a is \(239,\) int64; .*N = 240": (DataError, {"a": CLASSES[1:]}),
    r"b is \(240, 2\) int64; .*probabilities": (DataError, {"b": np.eye(2, dtype=np.int64)[CLASSES]}),
    "a has the class -1": (DataError, {"a": CLASSES - 1}),
    r"a is \(240, 1\) float64, one column": (DataError, {"a": GIVEN[0][:, 1:]}),
    "b has floats that are no probabilities; from 0 to 1": (DataError, {"b": 3 * OTHER}),
    "a has floats that are no probabilities": (DataError, {"a": np.full_like(GIVEN, np.nan)}),
    "a has probabilities of 3 classes and b of 2": (DataError, {"a": predictions(3)[1]}),
    "there is a class 2 and probabilities of 2 classes": (DataError, {"targets": predictions(3)[0]}),
    "groups has 239 entries for 240 images": (DataError, {"groups": PATIENTS[1:]}),
    "groups has missing entries": (DataError, {"groups": [None, *PATIENTS[1:]]}),
    "groups has 1 patient; 2 or more": (DataError, {"groups": np.zeros(240)}),
    "folds has missing entries": (DataError, {"folds": np.full(240, np.nan)}),
    r"folds are \(3, 240\) int64 for 1 and 1 runs; \(N,\), or a row for each run": (
        DataError,
        {"folds": np.zeros((3, 240), int)},
    ),
    "folds has 239 entries for 240 images": (DataError, {"folds": np.zeros((1, 239), int)}),
    "all images are of one class": (DataError, {"targets": np.ones(240, int), "metric": "auroc"}),
    "1 patient has images of class 1; 2 or more": (DataError, {"targets": (PATIENTS == 3).astype(int)}),
    "no fold has images of two classes": (DataError, {"folds": LABELS, "metric": "auroc"}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_work_is_refused_in_one_line(message: str) -> None:
    error, changed = REFUSED[message]
    arguments = {"targets": LABELS, "a": GIVEN, "b": OTHER, "groups": PATIENTS} | changed
    with pytest.raises(error, match=message) as caught:
        compare(**arguments)
    assert "\n" not in str(caught.value)


def test_classes_that_hardly_any_resample_has_are_refused() -> None:
    targets = np.repeat(np.arange(40), 2)
    with pytest.raises(DataError, match="hardly any resample of the 80 patients has all 40 classes"):
        compare(targets, targets, targets[::-1], np.arange(80), resamples=10)


def test_runs_of_a_batch_count_as_one() -> None:
    targets, a, b, groups = predictions(2, runs=3, count=200)
    alone = compare(targets, a, b, groups)
    twice = [0, 0, 1, 1, 2, 2]
    shared = compare(targets, a.repeat(2, axis=0), b.repeat(2, axis=0), groups, batches=(twice, twice))
    as_if_apart = compare(targets, a.repeat(2, axis=0), b.repeat(2, axis=0), groups)
    assert (shared.difference, shared.low, shared.high) == pytest.approx((alone.difference, alone.low, alone.high))
    assert as_if_apart.high - as_if_apart.low < shared.high - shared.low
    assert shared.runs == alone.runs == (3, 3)
    assert as_if_apart.runs == (6, 6)
    assert not compare(targets, a, b, groups, batches=([0] * 3, [0] * 3)).covers_runs
    with pytest.raises(DataError, match="batches name 2 runs of 3; one entry for each run works"):
        compare(targets, a, b, groups, batches=([0, 1], [0, 1, 2]))


def test_batches_of_different_sizes_leave_the_difference_as_it_is() -> None:
    targets, a, b, groups = predictions(2, runs=5, count=200)
    alone = compare(targets, a, b, groups)
    shared = compare(targets, a, b, groups, batches=(range(5), [0, 1, 2, 0, 1]))
    assert shared.value_b == pytest.approx(alone.value_b, abs=1e-12)
    assert shared.difference == pytest.approx(alone.difference, abs=1e-12)
    assert shared.runs == (5, 3)


@pytest.mark.parametrize("effect", [0.0, 0.15])
def test_no_difference_is_seldom_found_and_a_true_one_often(effect: float) -> None:
    assert 0 < significant(150, 20, 3, effect) <= 15
    assert significant(50, 55, 3, effect, gain=0.6) >= 30


@pytest.mark.slow
@pytest.mark.parametrize("patients", [10, 55])
@pytest.mark.parametrize("runs", [3, 5])
@pytest.mark.parametrize("effect", [0.0, 0.15])
def test_false_alarms_are_about_five_per_cent(patients: int, runs: int, effect: float) -> None:
    assert 4 <= significant(400, patients, runs, effect) <= 29


@pytest.mark.slow
@pytest.mark.parametrize("name", ["macro_f1", "auroc"])
def test_ten_thousand_resamples_of_five_thousand_images_take_seconds(name: str) -> None:
    targets, a, b, _ = predictions(2, runs=3, count=5000)
    started = time.perf_counter()
    compare(targets, a, b, np.arange(5000) // 30, metric=name)
    assert time.perf_counter() - started < 10
