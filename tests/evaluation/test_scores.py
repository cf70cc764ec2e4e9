"""Scores are scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from braingan.evaluation.scores import score


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
