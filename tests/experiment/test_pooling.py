"""Predictions of all folds put together: each image's are those of the classifier that did not learn from it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from braingan.data.folds import Folds
from braingan.experiment.pooling import Pooled, chosen, pool, scored_images

LABELS = ["real", "real+classic", "combined@0.5", "combined@1", "combined+classic@0.5", "combined+classic@1",
          "shuffled", "duplicates", "oracle-same-patients"]  # fmt: skip


def probabilities(row: dict[str, str], classes: list[str]) -> list[float]:
    return [float(row[f"p_{name}"]) for name in classes]


def labelled_cells(study: Any) -> dict[tuple[str, int, int], dict[str, Any]]:
    """What the files of the cells say, by the labels that results give them."""
    by_ratio, found = {"combined", "combined+classic"}, {}
    for cell in study.cells().values():
        label = f"{cell['arm']}@{cell['ratio']:g}" if cell["arm"] in by_ratio else cell["arm"]
        found[label, cell["fold"], cell["seed"]] = cell
    return found


def test_every_image_is_predicted_once_for_each_arm_repeat_and_seed_by_the_fold_that_tests_it(study: Any) -> None:
    folds, rows = Folds.from_json(study.result.splits), study.rows()
    seen = [(row["arm"], row["run"], row["seed"], row["file"]) for row in rows]
    assert len(set(seen)) == len(seen) == len(LABELS) * 2 * 2 * 40
    assert list(dict.fromkeys(row["arm"] for row in rows)) == study.result.arms == LABELS
    for row in rows:
        assert row["file"] in {file.file for file in folds[int(row["fold"])].split.test}
        assert int(row["run"]) == int(row["fold"]) // 2


@pytest.mark.parametrize("label", LABELS)
def test_pooled_predictions_are_those_that_the_file_of_predictions_has(study: Any, label: str) -> None:
    folds, cells, classes = Folds.from_json(study.result.splits), labelled_cells(study), study.result.classes
    tested = scored_images(folds, classes, 2)
    pooled = pool(label, cells, tested, range(2))
    assert pooled.runs == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert pooled.probabilities.shape == (4, 40, 2)
    written = {(int(row["run"]), int(row["seed"]), row["file"]): row for row in study.rows() if row["arm"] == label}
    for run, (repeat, seed) in enumerate(pooled.runs):
        for place, file in enumerate(tested.files):
            row = written[repeat, seed, file]
            assert pooled.probabilities[run, place].tolist() == probabilities(row, classes)
            assert pooled.folds[run, place] == int(row["fold"])
            assert (tested.patients[place], classes[tested.targets[place]]) == (row["patient"], row["target"])


def test_scores_are_those_of_all_folds_together_and_rankings_those_of_each_fold(study: Any) -> None:
    rows, result = study.rows(), study.result
    found = {(own["arm"], own["repeat"], own["seed"]): own for own in result.scores}
    assert len(found) == len(LABELS) * 2 * 2
    for (label, repeat, seed), own in found.items():
        mine = [row for row in rows if (row["arm"], row["run"], row["seed"]) == (label, str(repeat), str(seed))]
        targets = np.array([result.classes.index(row["target"]) for row in mine])
        said = np.array([probabilities(row, result.classes) for row in mine])
        folds = np.array([int(row["fold"]) for row in mine])
        assert own["macro"]["f1"] == pytest.approx(f1_score(targets, said.argmax(axis=1), average="macro"))
        assert own["accuracy"] == pytest.approx((said.argmax(axis=1) == targets).mean())
        parts = [roc_auc_score(targets[folds == fold], said[folds == fold, 1]) for fold in np.unique(folds)]
        assert own["auroc"] == pytest.approx(np.mean(parts))
    f1 = [own["macro"]["f1"] for own in result.scores if own["arm"] == "real"]
    assert result.summary["real"]["f1"] == pytest.approx({"mean": np.mean(f1), "std": np.std(f1, ddof=1)})


def test_runs_say_what_each_classifier_scored_on_its_own_fold(study: Any) -> None:
    rows: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for row in study.rows():
        rows[row["arm"], row["fold"], row["seed"]].append(row)
    assert len(rows) == len(study.result.runs)
    for run in study.result.runs:
        own = rows[run["arm"], str(run["fold"]), str(run["seed"])]
        said = np.array([probabilities(row, study.result.classes) for row in own]).argmax(axis=1)
        targets = np.array([study.result.classes.index(row["target"]) for row in own])
        assert run["macro"]["f1"] == pytest.approx(f1_score(targets, said, average="macro"))


def test_an_arm_put_together_from_others_has_the_predictions_of_each_in_its_folds() -> None:
    folds = np.array([[0, 0, 1, 1], [2, 3, 2, 3]])
    runs = [(0, 0), (1, 0)]
    a, b = (Pooled(np.full((2, 4, 2), value), runs, folds) for value in (0.25, 0.75))
    both = chosen({"a": a, "b": b}, ["a", "b", "b", "a"])
    assert both.probabilities[:, :, 0].tolist() == [[0.25, 0.25, 0.75, 0.75], [0.75, 0.25, 0.75, 0.25]]
    assert both.choices == ["a", "b", "b", "a"]
    assert both.folds is folds
