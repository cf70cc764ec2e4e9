"""Learning from less than there is: for learning curves, and for the setting in which positives are rare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from braingan.data.preparation import PreparedSet
from braingan.data.split import unit_of
from braingan.errors import SettingsError, SplitError


@dataclass(frozen=True)
class Limits:
    """What the training part may keep; validation and test stay whole.

    Attributes:
        images: class -> how many images, chosen at random.
        patients: class -> of how many patients.
        train_patients: of how many patients at all; None for all.
    """

    images: Mapping[str, int] = field(default_factory=dict)
    patients: Mapping[str, int] = field(default_factory=dict)
    train_patients: int | None = None

    def check_numbers(self) -> None:
        """Refuse what keeps nothing.

        Raises:
            SettingsError: a number is below 1.
        """
        for option, given in (("limit", self.images), ("limit-patients", self.patients)):
            for name, count in given.items():
                if count < 1:
                    raise SettingsError(f"--{option} {name}={count} was asked; 1 or more work")
        if self.train_patients is not None and self.train_patients < 1:
            raise SettingsError(f"--train-patients {self.train_patients} was asked; 1 or more work")

    def __bool__(self) -> bool:
        return bool(self.images or self.patients or self.train_patients)

    def check(self, classes: Sequence[str]) -> None:
        """Refuse classes that there are not.

        Raises:
            SettingsError: names them, and those that there are.
        """
        unknown = [name for name in (*self.images, *self.patients) if name not in classes]
        if unknown:
            raise SettingsError(f"a limit for class {unknown[0]!r} was asked; the data have {', '.join(classes)}")


def limit(prepared: PreparedSet, train: Sequence[int], limits: Limits, *, seed: int) -> tuple[list[int], list[int]]:
    """Choose what to learn from.

    What a smaller limit keeps is part of what a larger one keeps, for the same seed.

    Args:
        prepared: the images.
        train: places of the training images in it.
        limits: what to keep.
        seed: of the choice.

    Returns:
        Places of the images that are kept, and of those left out; both in the order of `train`.

    Raises:
        SettingsError: a limit names a class that there is not.
        SplitError: there are not that many, or a class is left without images.
    """
    source = prepared.source
    limits.check(source.classes)
    labels = np.asarray(source.targets)[list(train)]
    groups = np.asarray([source.records[index].group for index in train])
    kept, unit = np.ones(len(train), bool), unit_of(prepared)
    if limits.train_patients is not None:
        chosen = _first(np.unique(groups), limits.train_patients, [seed, 0], f"training {unit}s")
        kept &= np.isin(groups, chosen)
    for name, count in limits.patients.items():
        own = labels == source.classes.index(name)
        chosen = _first(np.unique(groups[own & kept]), count, [seed, 1], f"training {unit}s of class {name!r}")
        kept &= ~own | np.isin(groups, chosen)
    for name, count in limits.images.items():
        own = np.flatnonzero((labels == source.classes.index(name)) & kept)
        chosen = _first(own, count, [seed, 2], f"training images of class {name!r}")
        kept[np.setdiff1d(own, chosen)] = False
    for label in range(len(source.classes)):
        if not (labels[kept] == label).any():
            raise SplitError(
                f"the limits leave no training image of class {source.classes[label]!r}; a larger one works"
            )
    places = np.asarray(train)
    return places[kept].tolist(), places[~kept].tolist()


def _first(values: np.ndarray, count: int, seed: Sequence[int], what: str) -> np.ndarray:
    if count > len(values):
        raise SplitError(f"{count} {what} were asked, and there are {len(values)}; ask for at most so many")
    chosen: np.ndarray = np.random.default_rng(seed).permutation(values)[:count]
    return chosen
