from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from braingan.errors import OutputError
from braingan.reporting import facts
from braingan.reporting.changed import changed_images
from braingan.reporting.curves import GRID, calibration, confusion_shares, mean_roc, patient_rows
from braingan.reporting.predicted import Predicted, View, contrast_of, read_predicted, views_of

Maker = Any  # tests/reporting/conftest.py
Out = Callable[..., Path]


def view_of(probabilities: Any, folds: Any = None, name: str = "arm") -> View:
    """Of (runs, N) probabilities of class 1."""
    ones = np.array(probabilities, dtype=float)
    where = np.zeros(ones.shape, int) if folds is None else np.broadcast_to(np.array(folds), ones.shape)
    return View(name, "", np.stack([1 - ones, ones], axis=2), where)


def predicted_of(targets: list[int]) -> Predicted:
    count = len(targets)
    files, patients = ([f"{kind}{number}" for number in range(count)] for kind in ("file", "patient"))
    return Predicted(["no", "yes"], files, patients, np.array(targets), {}, {})


def test_runs_hold_the_images_of_all_folds(make_result: Maker, make_out: Out, tmp_path: Path) -> None:
    result = make_result(folds=2)
    predicted = read_predicted(make_out(result, tmp_path) / "predictions.csv", result)
    assert predicted is not None
    view = predicted.view("combined")
    assert view.probabilities.shape == (3, 40, 2)
    assert not np.isnan(view.probabilities).any()
    assert {int(fold) for fold in np.unique(view.folds)} == {0, 1}
    for seed, own in enumerate(view.probabilities):
        scored = next(entry for entry in result.scores if entry["arm"] == "combined" and entry["seed"] == seed)
        assert (own.argmax(axis=1) == predicted.targets).mean() == pytest.approx(scored["accuracy"])


def test_of_a_partial_result_the_folds_of_a_repeat_make_a_run(
    make_result: Maker, make_out: Out, tmp_path: Path
) -> None:
    whole = make_result(folds=2)
    result = replace(whole, settings=whole.settings | {"repeats": 2})  # one of them is finished
    predicted = read_predicted(make_out(result, tmp_path) / "predictions.csv", result)
    assert predicted is not None
    assert predicted.view("combined").probabilities.shape == (3, 40, 2)


def test_the_chosen_arm_of_each_fold_counts(make_result: Maker, make_out: Out, tmp_path: Path) -> None:
    result = make_result(folds=2)
    predicted = read_predicted(make_out(result, tmp_path) / "predictions.csv", result)
    assert predicted is not None
    mixed = predicted.chosen("mixed", ["real", "combined"])
    assert mixed is not None
    real, combined = predicted.view("real"), predicted.view("combined")
    first = real.folds[0] == 0
    assert (mixed.probabilities[:, first] == real.probabilities[:, first]).all()
    assert (mixed.probabilities[:, ~first] == combined.probabilities[:, ~first]).all()
    assert mixed.made_of == "real in 1 fold, combined in 1 fold"
    assert predicted.chosen("missing", ["real", "natural"]) is None


def test_both_sides_of_the_primary_contrast_are_looked_at(make_result: Maker, make_out: Out, tmp_path: Path) -> None:
    result = make_result()
    predicted = read_predicted(make_out(result, tmp_path) / "predictions.csv", result)
    assert predicted is not None
    sides = [view.name for view in views_of(result, predicted)]
    assert sides == ["best without", "with synthetic images"]  # the former is `real`, which is not shown twice
    alone = make_result(choice=None, comparisons=[])
    views = views_of(alone, predicted)
    assert [view.name for view in views] == ["real", "combined"]
    contrast = contrast_of(alone, views)
    assert contrast is not None
    assert contrast[1].name == "combined"


def test_predictions_of_other_runs_are_left_out(make_result: Maker, make_out: Out, tmp_path: Path) -> None:
    path = make_out(make_result(), tmp_path) / "predictions.csv"
    assert read_predicted(path, make_result(seeds=2)) is None
    assert read_predicted(tmp_path / "gone.csv", make_result()) is None


def test_a_damaged_file_is_refused_in_one_line(make_result: Maker, make_out: Out, tmp_path: Path) -> None:
    path = make_out(make_result(), tmp_path) / "predictions.csv"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(OutputError, match=r"predictions\.csv cannot be read beside this result .*move it away"):
        read_predicted(path, make_result())


def test_an_image_changes_sides_if_most_runs_do() -> None:
    #         fixed, broken, right before, one run of three only, never right
    before = [[0.4, 0.9, 0.9, 0.1, 0.1], [0.4, 0.9, 0.9, 0.1, 0.1], [0.6, 0.2, 0.9, 0.1, 0.1]]
    after = [[0.8, 0.1, 0.9, 0.9, 0.1], [0.9, 0.1, 0.9, 0.1, 0.2], [0.2, 0.9, 0.9, 0.1, 0.3]]
    found = changed_images(predicted_of([1] * 5), view_of(before), view_of(after))
    assert [(own.file, own.fixed) for own in found] == [("file1", False), ("file0", True)]  # the larger change first
    assert found[1].before == pytest.approx(1.4 / 3)
    assert (found[1].right_before, found[1].right_after) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_images_that_nobody_has_tested_change_no_side() -> None:
    before, after = view_of([[0.9, np.nan]], [[0, -1]]), view_of([[0.9, 0.9]])
    assert changed_images(predicted_of([1, 1]), before, after) == []


def test_the_roc_curve_has_the_area_of_the_ranking() -> None:
    random = np.random.default_rng(0)
    targets = (random.random(400) < 0.4).astype(int)
    scores = np.clip(0.3 * targets + 0.7 * random.random(400), 0, 1).round(2)  # with ties
    rates = mean_roc(targets, view_of([scores]))
    assert rates is not None
    assert np.trapezoid(rates, GRID) == pytest.approx(roc_auc_score(targets, scores), abs=0.005)


def test_equal_scores_are_a_slope_and_no_luck_of_the_order() -> None:
    rates = mean_roc(np.array([1, 1, 0, 0]), view_of([[0.5, 0.5, 0.5, 0.5]]))
    assert rates == pytest.approx(GRID)


def test_folds_have_roc_curves_of_their_own() -> None:
    targets, folds = np.array([0, 1, 0, 1]), [0, 0, 1, 1]
    rates = mean_roc(targets, view_of([[0.1, 0.2, 0.8, 0.9]], folds))  # each fold is perfect, on a scale of its own
    assert rates is not None
    assert (rates == 1).all()
    assert mean_roc(np.array([0, 0]), view_of([[0.1, 0.2]])) is None


def test_calibration_compares_what_was_said_with_what_was_found() -> None:
    bins = calibration(np.array([0, 1, 1, 0]), view_of([[0.15, 0.12, 0.95, 1.0]]))
    assert [(own.count, round(own.said, 3), own.found) for own in bins] == [(2, 0.135, 0.5), (2, 0.975, 0.5)]


def test_confusion_is_in_shares_of_the_true_class() -> None:
    shares = confusion_shares(np.array([0, 0, 1]), view_of([[0.1, 0.9, 0.8], [0.1, 0.1, 0.8]]))
    assert shares.tolist() == [[0.75, 0.25], [0, 1]]


def test_patients_are_rows_of_their_own_measures() -> None:
    targets, patients = np.array([0, 0, 1, 1]), ["a", "a", "b", "b"]
    found = patient_rows(targets, patients, view_of([[0.1, 0.2, 0.9, 0.4], [0.1, 0.6, 0.9, 0.4]]), ["no", "yes"])
    means = {way: own["accuracy"]["mean"] for way, own in found.items() if isinstance(own, dict)}
    assert means == {"mean_probability": 1.0, "any_positive": 0.75}
    other = patient_rows(targets, patients, view_of([[0.1, 0.2, 0.9, 0.4]], [0, 1, 0, 1]), ["no", "yes"])
    assert "more than one fold" in str(other["any_positive"])


def test_the_positive_class_of_an_older_result_is_the_latter(make_result: Maker) -> None:
    """Its numbers were computed so."""
    result = make_result(classes=("abnormal", "normal"))
    assert facts.positive(result) == 0
    older = {name: value for name, value in result.settings.items() if name != "positive"}
    assert facts.positive(replace(result, settings=older)) == 1


def test_where_all_patients_are_positive_only_sensitivity_is_told() -> None:
    """Whoever calls everybody positive would have an accuracy and a macro F1 of 1."""
    targets, patients = np.array([0, 1, 0, 1]), ["a", "a", "b", "b"]
    found = patient_rows(targets, patients, view_of([[0.1, 0.9, 0.1, 0.2], [0.1, 0.9, 0.1, 0.8]]), ["no", "yes"])
    shown = found["any_positive"]
    assert isinstance(shown, dict)
    assert {name: own["mean"] for name, own in shown.items()} == {
        "macro F1": None, "accuracy": None, "AUROC": None, "sensitivity": 0.75,
    }  # fmt: skip
