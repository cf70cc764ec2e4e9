"""Test images that training has seen already, and what that is worth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from braingan.duplicates.descriptor import describe, orientations
from braingan.duplicates.twins import Twin, find_twins_across
from braingan.inspection.examination import Examined

BLOCK = 1024


@dataclass(frozen=True)
class Lookup:
    """Scores of answering with the class of the most similar training image, without learning anything.

    Attributes:
        accuracy: on all test images.
        macro_f1: on all test images.
        accuracy_without: on those without a twin; None where none are left.
        macro_f1_without: likewise.
    """

    accuracy: float
    macro_f1: float
    accuracy_without: float | None
    macro_f1_without: float | None


@dataclass(frozen=True)
class Crossing:
    """What stands in both parts.

    Attributes:
        twins: `first` numbers a test image, `second` a training image.
        per_class: class -> test images with a twin.
        identical: test images that stand in training byte for byte.
        contradictory: test images whose twin has another class.
        patients: patients that are in both, where they are known.
        lookup: what a look-up scores.
    """

    twins: tuple[Twin, ...]
    per_class: dict[str, int]
    identical: int
    contradictory: int
    patients: tuple[str, ...]
    lookup: Lookup

    @property
    def images(self) -> list[int]:
        """Numbers of the test images with a twin."""
        return sorted({twin.first for twin in self.twins})


def cross(test: Examined, train: Examined) -> Crossing:
    """Compare two parts."""
    twins = find_twins_across(test.looks, train.looks)
    classes = test.source.classes
    images = sorted({twin.first for twin in twins})
    counted = Counter(classes[test.labels[number]] for number in images)
    names = train.source.classes
    differ = {twin.first for twin in twins
              if classes[test.labels[twin.first]] != names[train.labels[twin.second]]}  # fmt: skip
    known = test.source.has_patients and train.source.has_patients
    return Crossing(
        twins=tuple(twins),
        per_class={name: counted[name] for name in classes},
        identical=len({twin.first for twin in twins if twin.kind == "identical"}),
        contradictory=len(differ),
        patients=tuple(sorted(set(test.groups) & set(train.groups))) if known else (),
        lookup=_look_up(test, train, images),
    )


def _look_up(test: Examined, train: Examined, with_twin: list[int]) -> Lookup:
    wanted = np.asarray([test.source.classes[label] for label in test.labels])
    answers = np.asarray([train.source.classes[train.labels[number]] for number in _most_similar(test, train)])
    clean = np.setdiff1d(np.arange(len(test)), with_twin)
    without = _scores(wanted[clean], answers[clean]) if len(clean) else (None, None)
    return Lookup(*_scores(wanted, answers), *without)


def _scores(wanted: np.ndarray, answers: np.ndarray) -> tuple[float, float]:
    f1 = f1_score(wanted, answers, labels=np.unique(wanted), average="macro", zero_division=0)
    return round(float(accuracy_score(wanted, answers)), 4), round(float(f1), 4)


def _most_similar(test: Examined, train: Examined) -> np.ndarray:
    known = describe(train.looks.views)
    best, nearest = np.full(len(test), -2.0), np.zeros(len(test), np.int64)
    for _, queries in orientations(describe(test.looks.views)):
        for first in range(0, len(queries), BLOCK):
            products = queries[first : first + BLOCK] @ known.T
            highest = products.max(axis=1)
            better = highest > best[first : first + BLOCK]
            best[first : first + BLOCK][better] = highest[better]
            nearest[first : first + BLOCK][better] = products.argmax(axis=1)[better]
    return nearest
