"""Where scores differ: by the split, the generator, or the classifier."""

from __future__ import annotations

import numpy as np
import pytest

from braingan import DataError
from braingan.evaluation.variance import split_variance


def simulated(random: np.random.Generator, split: float, generator: float, classifier: float) -> np.ndarray:
    """(folds, generators, seeds) scores with these standard deviations."""
    folds, generators, seeds = 10, 3, 4
    scores = 0.8 + random.normal(0, split, (folds, 1, 1)) + random.normal(0, generator, (folds, generators, 1))
    return scores + random.normal(0, classifier, (folds, generators, seeds))


def test_each_source_is_found_again_on_average() -> None:
    random = np.random.default_rng(0)
    wanted = (0.05, 0.02, 0.01)
    found = [split_variance(simulated(random, *wanted)) for _ in range(300)]
    for name, deviation in zip(("split", "generator", "classifier"), wanted, strict=True):
        assert np.mean([getattr(one, name) ** 2 for one in found]) == pytest.approx(deviation**2, rel=0.1), name


def test_luck_of_classifiers_is_not_taken_for_that_of_generators_or_folds() -> None:
    random = np.random.default_rng(1)
    found = [split_variance(simulated(random, 0, 0, 0.03)) for _ in range(300)]
    assert np.mean([one.classifier for one in found]) == pytest.approx(0.03, rel=0.05)
    assert np.mean([one.generator for one in found]) < 0.008
    assert np.mean([one.split for one in found]) < 0.005


def test_what_was_not_varied_is_not_known() -> None:
    found = split_variance(np.full((1, 1, 1), 0.8))
    assert (found.split, found.generator, found.classifier) == (None, None, None)
    confounded = split_variance([[[0.8], [0.9]], [[0.7], [0.9]]])  # one classifier a generator: whose luck is it?
    assert (confounded.generator, confounded.classifier) == (None, None)
    assert confounded.split == 0


def test_generators_with_one_classifier_each_show_the_luck_of_both_together() -> None:
    random = np.random.default_rng(2)
    found = [split_variance(simulated(random, 0.05, 0.02, 0.01)[:, :, :1]) for _ in range(300)]
    assert np.mean([one.training**2 for one in found]) == pytest.approx(0.02**2 + 0.01**2, rel=0.1)
    assert split_variance(simulated(random, 0.05, 0.02, 0.01)).training is None


def test_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"scores are \(3,\); \(folds, generators, seeds\) works"):
        split_variance(np.zeros(3))
