"""Can the class be told from what no tumour can change? Then a classifier may learn the scanner."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 5
REPEATS = 3  # shuffles of the folds, averaged
CHANCE = 0.5
FLAGGED_FROM = 0.70  # balanced accuracy; `docs/inspect.md` says why
LEAST_ABOVE = 0.60  # what its lower bound must exceed, too, so that a handful of patients flags nothing
RESAMPLES = 400
FEWEST = 10  # images of a class, and of the rest
NAMED = 3  # statistics that are named
TELLING = 0.58  # area under the ROC curve from which one statistic is named


@dataclass(frozen=True)
class Shortcut:
    """How well a linear model tells one class from the rest by some statistics.

    Attributes:
        balanced_accuracy: cross-validated, mean of sensitivity and specificity; None where too few to tell.
        low: lower end of a 95 % interval over resampled groups.
        statistics: names of the most telling ones, best first, with the area under the ROC curve of each alone.
        flagged: whether it is more than a user should accept.
    """

    balanced_accuracy: float | None
    low: float | None
    statistics: tuple[tuple[str, float], ...]
    flagged: bool


def probe(
    values: np.ndarray, names: Sequence[str], labels: np.ndarray, classes: int, groups: Sequence[str]
) -> list[Shortcut]:
    """Probe each class against the rest.

    Args:
        values: (N, S) statistics.
        names: of the S statistics.
        labels: (N,) class indices.
        classes: how many there are.
        groups: (N,) what stays on one side of a fold: patients, or twins.
    """
    held_together = np.unique(np.asarray(groups), return_inverse=True)[1]
    if classes == 2:  # telling one from the other is telling the other from the one
        return [_probe(values, names, labels == 1, held_together)] * 2
    return [_probe(values, names, labels == label, held_together) for label in range(classes)]


def _probe(values: np.ndarray, names: Sequence[str], positive: np.ndarray, groups: np.ndarray) -> Shortcut:
    fewest = min(len(np.unique(groups[positive])), len(np.unique(groups[~positive])))
    if min(positive.sum(), (~positive).sum()) < FEWEST or fewest < FOLDS:
        return Shortcut(None, None, (), flagged=False)
    predicted = [_out_of_fold(values, positive, groups, seed) for seed in range(REPEATS)]
    accuracy = float(np.mean([_balanced(positive, guess) for guess in predicted]))
    low = float(np.mean([_lower_bound(positive, guess, groups) for guess in predicted]))
    flagged = accuracy >= FLAGGED_FROM and low > LEAST_ABOVE
    return Shortcut(round(accuracy, 4), round(low, 4), _telling(values, names, positive), flagged)


def _out_of_fold(values: np.ndarray, positive: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    guess = np.zeros(len(positive), bool)
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with few members in a fold: the mean over folds bears it
        for train, held_out in splitter.split(values, positive, groups):
            if positive[train].all() or not positive[train].any():
                guess[held_out] = positive[train][0]
            else:
                guess[held_out] = model.fit(values[train], positive[train]).predict(values[held_out])
    return guess


def _balanced(positive: np.ndarray, guess: np.ndarray) -> float:
    return float((guess[positive].mean() + (~guess[~positive]).mean()) / 2)


def _lower_bound(positive: np.ndarray, guess: np.ndarray, groups: np.ndarray) -> float:
    """The 2.5th percentile over resampled groups: images of one patient are no independent evidence."""
    count = groups.max() + 1
    right = positive == guess
    sums = [np.bincount(groups, weights, minlength=count)
            for weights in (positive & right, positive, ~positive & right, ~positive)]  # fmt: skip
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    hits, of, misses, others = (drawn @ part for part in sums)
    scores = (hits / np.maximum(of, 1) + misses / np.maximum(others, 1)) / 2
    return float(np.percentile(scores, 2.5))


def _telling(values: np.ndarray, names: Sequence[str], positive: np.ndarray) -> tuple[tuple[str, float], ...]:
    areas = [float(roc_auc_score(positive, column)) for column in values.T]
    strength = [max(area, 1 - area) for area in areas]
    best = sorted(range(len(names)), key=lambda number: (-strength[number], number))[:NAMED]
    return tuple((names[number], round(strength[number], 3)) for number in best if strength[number] >= TELLING)
