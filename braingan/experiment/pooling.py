"""Cells -> predictions of each arm for every tested image: those of all folds of a repeat put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braingan.data.folds import Folds
from braingan.data.split import SplitFile

Cells = Mapping[tuple[str, int, int], Mapping[str, Any]]  # (label, fold, seed) -> what a cell's file says


@dataclass(frozen=True)
class ScoredImages:
    """The images that predictions are about.

    Attributes:
        files: (N,) their names.
        targets: (N,) labels.
        patients: (N,) groups.
        folds: (repeats, N) in which fold each was tested, by its number over all repeats.
        rows: (repeats, N) its place in the test part of that fold.
    """

    files: list[str]
    targets: np.ndarray
    patients: list[str]
    folds: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    @property
    def repeats(self) -> int:
        """How often every image was tested by each seed."""
        return len(self.folds)


@dataclass(frozen=True)
class Pooled:
    """What the classifiers of an arm say of the tested images.

    Attributes:
        probabilities: (runs, N, C).
        runs: (repeat, seed) of each run.
        folds: (runs, N) in which fold each image was tested.
        validation: fold -> (seeds, V, C) probabilities of its validation images.
        choices: what was chosen in each fold, for an arm that is put together from others.
        batches: (runs,) what runs have in common: repeat and generator, where there are several in a fold. Empty if
            each is on its own.
    """

    probabilities: np.ndarray
    runs: list[tuple[int, int]]
    folds: np.ndarray
    validation: dict[int, np.ndarray] = field(default_factory=dict)
    choices: list[str] = field(default_factory=list)
    batches: Sequence[tuple[int, ...]] = ()

    @property
    def apart(self) -> Sequence[tuple[int, ...]]:
        """(runs,) which of them share their luck, as `compare` takes it."""
        return self.batches or self.runs


def scored_images(splits: Folds, classes: Sequence[str], repeats: int) -> ScoredImages:
    """The images that every repeat tests, in the order in which the first one tests them.

    Args:
        splits: of all repeats.
        classes: names in label order.
        repeats: how many there are.
    """
    per_repeat = len(splits) // repeats
    places: list[dict[str, tuple[int, int]]] = []
    known: dict[str, SplitFile] = {}
    for repeat in range(repeats):
        own: dict[str, tuple[int, int]] = {}
        for fold in range(repeat * per_repeat, (repeat + 1) * per_repeat):
            own |= {file.file: (fold, row) for row, file in enumerate(splits[fold].split.test)}
            known |= {file.file: file for file in splits[fold].split.test}
        places.append(own)
    files = [file for file in known if all(file in own for own in places)]
    at = np.array([[own[file] for file in files] for own in places])
    return ScoredImages(
        files=files,
        targets=np.array([classes.index(known[file].label) for file in files]),
        patients=[known[file].group for file in files],
        folds=at[:, :, 0],
        rows=at[:, :, 1],
    )


def pool(label: str, cells: Cells, tested: ScoredImages, seeds: Sequence[int], generators: int = 1) -> Pooled:
    """Put the predictions of an arm together.

    Args:
        label: of the arm (and its ratio).
        cells: all of them.
        tested: the images.
        seeds: of the classifiers.
        generators: see `batch_of`.
    """
    runs = [(repeat, seed) for repeat in range(tested.repeats) for seed in seeds]
    said = []
    for repeat, seed in runs:
        numbers = np.unique(tested.folds[repeat])
        own = {fold: np.array(cells[label, fold, seed]["predictions"]["test"]) for fold in numbers.tolist()}
        places = zip(tested.folds[repeat].tolist(), tested.rows[repeat].tolist(), strict=True)
        said.append([own[fold][row] for fold, row in places])
    folds = sorted({fold for name, fold, _ in cells if name == label})
    validation = {fold: np.array([cells[label, fold, seed]["predictions"]["val"] for seed in seeds]) for fold in folds}
    dealt = np.array([tested.folds[repeat] for repeat, _ in runs])
    batches = [(repeat, batch_of(seed, generators)) for repeat, seed in runs]
    return Pooled(np.array(said), runs, dealt, validation, batches=batches)


def batch_of(seed: int, generators: int) -> int:
    """What the classifier of a seed has in common with others of its arm: a generator, where a fold has several.

    Args:
        seed: of the classifier.
        generators: in each fold, which the seeds take in turn; with a single one, or none, each seed is on its own.
    """
    return seed % generators if generators > 1 else seed


def chosen(pooled: Mapping[str, Pooled], names: Sequence[str]) -> Pooled:
    """The predictions of one arm in some folds and of another in others.

    Args:
        pooled: arms by label; all have the same runs.
        names: for each fold, by its number over all repeats, whose predictions count.
    """
    first = pooled[names[0]]
    probabilities = np.empty_like(first.probabilities)
    for fold, name in enumerate(names):
        here = first.folds == fold
        probabilities[here] = pooled[name].probabilities[here]
    return Pooled(probabilities, first.runs, first.folds, choices=list(names), batches=first.batches)
