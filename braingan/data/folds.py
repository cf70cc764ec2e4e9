"""Cross-validation by patient: several splits of the same images, each with test patients of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from braingan.data.files import read_json, write_json
from braingan.data.preparation import PreparedSet
from braingan.data.split import (
    FOLDS,
    PARTS,
    TRIES,
    Split,
    SplitFile,
    check_sufficient,
    group_folds,
    grouping,
    split_by_group,
    split_files,
    unit_of,
)
from braingan.errors import SplitError

APART = 104_729  # between the seeds of two repeats
LEFT_OUT = "left_out"


@dataclass(frozen=True)
class Fold:
    """One training and test part.

    Attributes:
        split: which images are for what.
        left_out: images of training patients that `--limit` and its like keep away from training.
    """

    split: Split
    left_out: tuple[SplitFile, ...] = ()

    @property
    def files(self) -> tuple[SplitFile, ...]:
        """All its images."""
        return (*self.split.train, *self.split.val, *self.split.test, *self.left_out)

    def refuse_shared_groups(self) -> None:
        """Raise `SplitError` where an image that limits leave out is of a group that is held out."""
        held_out = {file.group for file in (*self.split.val, *self.split.test)}
        shared = sorted({file.group for file in self.left_out} & held_out)
        if shared:
            raise SplitError(
                f"{self.split.grouped_by} {shared[0]!r} is left out of training and held out; it needs one side"
            )


@dataclass(frozen=True)
class Folds:
    """All folds of a benchmark: of every repeat in turn."""

    folds: tuple[Fold, ...]

    def __len__(self) -> int:
        return len(self.folds)

    def __getitem__(self, number: int) -> Fold:
        return self.folds[number]

    @property
    def one(self) -> bool:
        """Whether this is a single split, which leaves most images without a prediction."""
        return len(self.folds) == 1

    @property
    def tested_share(self) -> float:
        """How many of the patients (or of what else is kept on one side) are tested in some fold: 0 to 1."""
        tested = {file.group for fold in self.folds for file in fold.split.test}
        return len(tested) / len({file.group for fold in self.folds for file in fold.files})

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dictionary: every image once, and for each fold the places of its images in that list."""
        places: dict[SplitFile, int] = {}
        folds = [
            {name: [places.setdefault(file, len(places)) for file in files] for name, files in _parts(fold)}
            for fold in self.folds
        ]
        first = self.folds[0].split
        return {
            "grouped_by": first.grouped_by,
            "seed": first.seed,
            "files": [asdict(file) for file in places],
            "folds": folds,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """From what `to_json` gave, or `Split.to_json`.

        Raises:
            SplitError: something is missing, or a group stands in two parts of a fold.
        """
        if not isinstance(value, Mapping) or "folds" not in value:
            return cls((Fold(Split.from_json(dict(value) if isinstance(value, Mapping) else {})),))
        try:
            shared = {"grouped_by": value["grouped_by"], "seed": value.get("seed")}
            listed = [
                {name: [value["files"][place] for place in fold.get(name, ())] for name in (*PARTS, LEFT_OUT)}
                for fold in value["folds"]
            ]
            folds = tuple(
                Fold(Split.from_json(fold | shared), tuple(SplitFile(**file) for file in fold[LEFT_OUT]))
                for fold in listed
            )
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise SplitError(f"this is no file of splits: {error}; it needs files, folds and grouped_by") from error
        for fold in folds:
            fold.refuse_shared_groups()
        if not folds:
            raise SplitError("this file of splits has no folds; one or more work")
        return cls(folds)

    def save(self, path: Path) -> None:
        """Write as JSON: a single split as `Split.save` writes it, where nothing is left out."""
        first = self.folds[0]
        write_json(path, first.split.to_json() if self.one and not first.left_out else self.to_json())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            OutputError: the file cannot be read.
            SplitError: it is no split.
        """
        return cls.from_json(read_json(path))


def _parts(fold: Fold) -> list[tuple[str, Sequence[SplitFile]]]:
    return [*((part, getattr(fold.split, part)) for part in PARTS), (LEFT_OUT, fold.left_out)]


def split_folds(prepared: PreparedSet, folds: int, repeats: int, *, seed: int) -> tuple[Split, ...]:
    """Splits by group, stratified by class, for cross-validation.

    Each repeat deals the groups anew into `folds` test parts; of the other groups of a fold, a fifth is for validation.
    One fold is a single split, as `split_by_group` makes it.

    Args:
        prepared: the images.
        folds: 1 or more.
        repeats: 1 or more.
        seed: of the shuffles.

    Returns:
        `folds * repeats` splits; within a repeat, every image stands in exactly one test part.

    Raises:
        SplitError: too few groups, or a class that cannot be had in every part.
    """
    seeds = [seed + APART * repeat for repeat in range(repeats)]
    if folds == 1:
        return tuple(replace(split_by_group(prepared, seed=own), seed=seed) for own in seeds)
    labels = np.asarray(prepared.source.targets)
    groups = np.asarray([record.group for record in prepared.source.records])
    check_sufficient(prepared, labels, groups, max(folds, len(PARTS)))
    return tuple(split for own in seeds for split in _one_repeat(prepared, labels, groups, folds, own, seed))


def _one_repeat(
    prepared: PreparedSet, labels: np.ndarray, groups: np.ndarray, folds: int, seed: int, named: int
) -> list[Split]:
    whole = len(prepared.source.classes)
    for attempt in range(TRIES):
        own, found = seed + 7919 * attempt, []
        for test in group_folds(labels, groups, folds, own):
            rest = np.setdiff1d(np.arange(len(labels)), test)
            if len(set(groups[rest])) < FOLDS or np.bincount(labels[rest]).max() < FOLDS:
                break
            val = rest[group_folds(labels[rest], groups[rest], FOLDS, own)[0]]
            parts = {"train": np.setdiff1d(rest, val), "val": val, "test": test}
            if any(len(np.unique(labels[indices])) < whole for indices in parts.values()):
                break
            chosen = {part: split_files(prepared, indices) for part, indices in parts.items()}
            found.append(Split(**chosen, grouped_by=grouping(prepared), seed=named))
        else:
            return found
    raise SplitError(
        f"{folds} folds were asked, and no way of dealing {len(set(groups))} {unit_of(prepared)}s gives each part "
        "every class; fewer folds may work, or more data"
    )
