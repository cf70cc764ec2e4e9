"""Where scores differ from run to run: by the split, the generator's training, or the classifier's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from braingan.errors import DataError


@dataclass(frozen=True)
class VarianceSplit:
    """Standard deviations of a score that each source alone would cause.

    Attributes:
        split: from fold to fold: other training and other test patients; where each fold has one generator, that
            generator, too.
        generator: from one training of the generator to another in the same fold; None where each fold has one, or each
            generator one classifier, whose luck cannot be told from it.
        classifier: from one seed of the classifier to another with the same images; None where there is one.
        training: the luck of a generator and that of its classifier together, where each generator has one classifier;
            else None.
        folds: how many there are.
        generators: in each fold.
        seeds: classifiers of each generator.
    """

    split: float | None
    generator: float | None
    classifier: float | None
    training: float | None
    folds: int
    generators: int
    seeds: int

    def to_json(self) -> dict[str, float | int | None]:
        """As a JSON-able dictionary."""
        return asdict(self)


def split_variance(scores: Sequence[Sequence[Sequence[float]]] | np.ndarray) -> VarianceSplit:
    """Split the variance of scores into those of folds, generators within folds, and classifiers within generators.

    The estimates of a balanced nested analysis of variance (Searle, Casella & McCulloch, Variance Components, 1992,
    chapter 3); an estimate below 0 counts as 0. From few folds and seeds they are rough: with two seeds a generator, a
    deviation is easily wrong by half.

    >>> found = split_variance([[[0.80, 0.82]], [[0.90, 0.92]]])
    >>> round(found.split, 3), found.generator, round(found.classifier, 3)
    (0.07, None, 0.014)

    Args:
        scores: (folds, generators, seeds); without generators (folds, 1, seeds).

    Raises:
        DataError: another shape.
    """
    values = np.asarray(scores, float)
    if values.ndim != 3 or not values.size:
        raise DataError(f"scores are {values.shape}; (folds, generators, seeds) works")
    folds, generators, seeds = values.shape
    within = float(values.var(axis=2, ddof=1).mean()) if seeds > 1 else None
    below = values.mean(axis=2)  # (folds, generators)
    among = float(below.var(axis=1, ddof=1).mean()) if generators > 1 else None  # and that of classifiers / seeds
    between = None if among is None or within is None else max(0.0, among - within / seeds)
    split = None
    if folds > 1:
        luck = (within or 0.0) / seeds if among is None else among
        split = max(0.0, float(below.mean(axis=1).var(ddof=1)) - luck / generators)
    together = among if seeds == 1 else None
    return VarianceSplit(_root(split), _root(between), _root(within), _root(together), folds, generators, seeds)


def _root(variance: float | None) -> float | None:
    return None if variance is None else float(np.sqrt(variance))
