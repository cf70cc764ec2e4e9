"""Measures of a classifier by name, for many weightings of the patients at once.

A resample of patients is a row of counts: how often each patient was drawn. A measure is prepared once for the
predictions of a training run, and then gives its value for any number of such rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from braingan.errors import SettingsError
from braingan.evaluation.predictions import Images

Evaluate = Callable[[np.ndarray], np.ndarray]  # (B, patients) counts -> (B,) values

MACRO = ("macro_f1", "macro_precision", "macro_recall", "balanced_accuracy")
PER_CLASS = ("f1", "precision", "recall")
RANKING = ("auroc", "average_precision", "recall_at_specificity")
ROUNDING = 1e-9  # in the number of negatives that a specificity allows
WORKING = "macro_f1, macro_precision, macro_recall, accuracy, balanced_accuracy, f1:CLASS, precision:CLASS, " \
    "recall:CLASS, auroc, average_precision, recall_at_specificity:VALUE and brier"  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """A measure with its argument.

    Attributes:
        name: as given, such as `f1:2`.
        kind: the part before the colon.
        argument: the part after it: a label or a specificity.
    """

    name: str
    kind: str
    argument: float = 0.0

    @classmethod
    def named(cls, name: str) -> Measure:
        """Read `macro_f1`, `f1:2`, `recall_at_specificity:0.95`.

        Raises:
            SettingsError: there is no such measure, or its argument cannot be used.
        """
        kind, colon, text = str(name).partition(":")
        if not colon and kind in (*MACRO, "accuracy", "auroc", "average_precision", "brier"):
            return cls(name, kind)
        if colon and kind in PER_CLASS and text.isdecimal():
            return cls(name, kind, int(text))
        if colon and kind == "recall_at_specificity":
            try:
                argument = float(text)
            except ValueError:
                argument = 0.0
            if not 0 < argument < 1:
                raise SettingsError(f"metric {name!r} was asked; a specificity above 0 and below 1 works, such as 0.95")
            return cls(name, kind, argument)
        raise SettingsError(f"metric {name!r} was asked; {WORKING} work")

    @property
    def needs_probabilities(self) -> bool:
        """Whether predicted classes are not enough."""
        return self.kind in (*RANKING, "brier")

    @property
    def per_fold(self) -> bool:
        """Whether it compares scores of different images, which must then come from one model."""
        return self.kind in RANKING

    def required(self, present: np.ndarray) -> np.ndarray:
        """Labels without whose images there is no value, of those that are present."""
        if self.kind in ("accuracy", "brier"):
            return present[:0]
        return np.array([int(self.argument)]) if self.kind in PER_CLASS else present

    def of(self, images: Images, predicted: np.ndarray) -> Evaluate:
        """Prepare for one training run.

        Args:
            images: what is predicted.
            predicted: (N,) classes or (N, C) probabilities.

        Returns:
            A function from (B, patients) counts to (B,) values; NaN where there is none.
        """
        if self.kind in RANKING:
            return _ranking(self, images, predicted)
        if self.kind == "brier":
            return _brier(images, predicted)
        chosen = predicted.argmax(axis=1) if predicted.ndim == 2 else predicted
        return _confusion(self, images, chosen)


def _confusion(measure: Measure, images: Images, chosen: np.ndarray) -> Evaluate:
    """Counts times the patients' confusion matrices."""
    size = images.classes
    cells = (images.units * size + images.targets) * size + chosen
    matrices = np.bincount(cells, minlength=images.patients * size * size).reshape(images.patients, -1).astype(float)
    present = images.present

    def evaluate(counts: np.ndarray) -> np.ndarray:
        confusion = (counts @ matrices).reshape(len(counts), size, size)
        hit = np.diagonal(confusion, axis1=1, axis2=2)
        true, guessed = confusion.sum(axis=2), confusion.sum(axis=1)
        if measure.kind == "accuracy":
            return _ratio(hit.sum(axis=1), true.sum(axis=1))
        if measure.kind.endswith("f1"):
            values = _ratio(2 * hit, true + guessed)
        else:
            values = _ratio(hit, guessed if measure.kind.endswith("precision") else true)
        picked: np.ndarray = values[:, int(measure.argument)]
        return picked if measure.kind in PER_CLASS else values[:, present].mean(axis=1)

    return evaluate


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """A quotient; 0/0 counts as 0, as in `Scores`."""
    ratio: np.ndarray = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return ratio


def _brier(images: Images, probabilities: np.ndarray) -> Evaluate:
    if images.classes == 2:
        error = (probabilities[:, 1] - (images.targets == 1)) ** 2
    else:
        error = ((probabilities - np.eye(images.classes)[images.targets]) ** 2).sum(axis=1)
    errors = np.bincount(images.units, error, images.patients)
    sizes = np.bincount(images.units, minlength=images.patients).astype(float)

    def evaluate(counts: np.ndarray) -> np.ndarray:
        mean: np.ndarray = (counts @ errors) / (counts @ sizes)
        return mean

    return evaluate


def _ranking(measure: Measure, images: Images, probabilities: np.ndarray) -> Evaluate:
    """Mean over folds of the mean over classes; a class that a fold lacks is left out there."""
    asked = np.array([1]) if images.classes == 2 else images.present
    parts: list[list[Evaluate]] = []
    for fold in range(int(images.folds.max()) + 1):
        here = images.folds == fold
        units, targets, scores = images.units[here], images.targets[here], probabilities[here]
        rankings = [_Ranking.of(units, targets == label, scores[:, label]) for label in asked]
        parts.append([ranking.evaluator(measure) for ranking in rankings if ranking.both])

    def evaluate(counts: np.ndarray) -> np.ndarray:
        drawn = np.ascontiguousarray(counts.T, dtype=float)
        folds = [_mean([part(drawn) for part in own]) for own in parts if own]
        return _mean(folds) if folds else np.full(len(counts), np.nan)

    return evaluate


def _mean(rows: list[np.ndarray]) -> np.ndarray:
    """(B,) means of what is not NaN; NaN where nothing is."""
    values = np.array(rows)
    known = ~np.isnan(values)
    mean: np.ndarray = np.where(known, values, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    return mean


@dataclass(frozen=True)
class _Ranking:
    """Images in descending order of their scores, positives (P) and negatives (Q) apart.

    Attributes:
        positives: (P,) their patients.
        negatives: (Q,) their patients.
        above: (P,) how many negatives have a higher score than each positive.
        upto: (P,) how many have a higher one or the same.
        own: (P,) how many positives have a higher score or the same.
    """

    positives: np.ndarray
    negatives: np.ndarray
    above: np.ndarray
    upto: np.ndarray
    own: np.ndarray

    @classmethod
    def of(cls, units: np.ndarray, positive: np.ndarray, scores: np.ndarray) -> _Ranking:
        order = np.argsort(-scores, kind="stable")
        units, positive, falling = units[order], positive[order], -scores[order]
        high, low = falling[positive], falling[~positive]
        above, upto = (np.searchsorted(low, high, side) for side in ("left", "right"))
        return cls(units[positive], units[~positive], above, upto, np.searchsorted(high, high, "right"))

    @property
    def both(self) -> bool:
        return bool(self.positives.size and self.negatives.size)

    def evaluator(self, measure: Measure) -> Evaluate:
        """(patients, B) counts -> (B,) values."""

        def evaluate(drawn: np.ndarray) -> np.ndarray:
            weights = drawn[self.positives]
            false = _cumulated(drawn[self.negatives])
            with np.errstate(invalid="ignore"):  # 0/0: none of a class was drawn
                mean: np.ndarray = self._sum(measure, weights, false) / weights.sum(axis=0)
            return np.where(false[-1] > 0, mean, np.nan)

        return evaluate

    def _sum(self, measure: Measure, weights: np.ndarray, false: np.ndarray) -> np.ndarray:
        """(B,) sums over positives, from their (P, B) weights and the (1 + Q, B) cumulated weights of negatives."""
        sums: np.ndarray
        if measure.kind == "auroc":
            higher = np.einsum("pb,pb->b", weights, false[self.above])
            tied = higher if (self.above == self.upto).all() else np.einsum("pb,pb->b", weights, false[self.upto])
            sums = weights.sum(axis=0) - (higher + tied) / 2 / false[-1]
        elif measure.kind == "average_precision":
            true = _cumulated(weights)[self.own]
            sums = np.einsum("pb,pb->b", weights, _ratio(true, true + false[self.upto]))
        else:
            allowed = false[self.upto] <= (1 - measure.argument) * false[-1] + ROUNDING
            sums = (weights * allowed).sum(axis=0)
        return sums


def _cumulated(rows: np.ndarray) -> np.ndarray:
    """(1 + N, B) sums of the first rows."""
    total = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, out=total[1:])
    return total
