"""Train, validation and test by patient. The split comes first; everything else sees its own part."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from braingan.data.files import fingerprint, read_json, write_json
from braingan.data.preparation import PreparedSet
from braingan.errors import SplitError

log = logging.getLogger("braingan")

PARTS = ("train", "val", "test")
FOLDS = 5  # a fifth of the patients for test, a fifth for validation
TRIES = 50  # shuffles tried before a split is called impossible

GroupedBy = Literal["patient", "twins", "file"]
UNITS: dict[GroupedBy, str] = {"patient": "patient", "twins": "picture", "file": "file"}  # what a group is, in words


@dataclass(frozen=True)
class SplitFile:
    """One image as a split names it: by name and by content."""

    file: str
    sha256: str
    label: str
    group: str


@dataclass(frozen=True)
class Split:
    """Which images are for what. No group stands in two parts.

    Attributes:
        train: what generators and classifiers learn from.
        val: for choices (a checkpoint, a ratio); never learned from and never scored on.
        test: what scores come from.
        grouped_by: "patient"; where no patients are known "twins" (images of the same picture stay together), or
            "file" (each is alone).
        seed: of the shuffle; None where the parts were given.
    """

    train: tuple[SplitFile, ...]
    val: tuple[SplitFile, ...]
    test: tuple[SplitFile, ...]
    grouped_by: GroupedBy
    seed: int | None = None

    @property
    def train_hash(self) -> str:
        """What a generator learned from, in one word: see `hash_of`."""
        return self.hash_of("train")

    def hash_of(self, part: str) -> str:
        """SHA-256 over contents, classes and groups of the images of a part, whatever their order and names."""
        return fingerprint(sorted([file.sha256, file.label, file.group] for file in getattr(self, part)))

    def without(self, files: Collection[str]) -> Split:
        """The same split, less some files."""
        train, val, test = (tuple(file for file in getattr(self, part) if file.file not in files) for part in PARTS)
        return replace(self, train=train, val=val, test=test)

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dictionary."""
        parts = {part: [asdict(file) for file in getattr(self, part)] for part in PARTS}
        return parts | {"grouped_by": self.grouped_by, "seed": self.seed}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Split:
        """From what `to_json` gave.

        Raises:
            SplitError: something is missing, a group stands in two parts, or there are several splits (see `Folds`).
        """
        if isinstance(value, Mapping) and "folds" in value:
            raise SplitError(
                "this is a file of splits, of several folds or with limits, and a single split is needed; split.json "
                "of a benchmark with --folds 1 and without limits works"
            )
        try:
            parts = {part: tuple(SplitFile(**file) for file in value.get(part, ())) for part in PARTS}
            split = cls(**parts, grouped_by=value["grouped_by"], seed=value.get("seed"))
            if not all(isinstance(name, str) for part in parts.values() for file in part for name in astuple(file)):
                raise TypeError("file, sha256, label and group must be strings")
        except (KeyError, TypeError, AttributeError) as error:
            raise SplitError(f"this is no split file: {error}; it needs train, val, test and grouped_by") from error
        split.refuse_shared_groups()
        return split

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Split:
        """Read what `save` wrote.

        Raises:
            OutputError: the file cannot be read.
            SplitError: it is no split.
        """
        return cls.from_json(read_json(path))

    def refuse_shared_groups(self) -> None:
        """Raise `SplitError` where a patient, or a file, stands in two parts."""
        seen: dict[str, str] = {}
        for part in PARTS:
            for file in getattr(self, part):
                other = seen.setdefault(file.group, part)
                if other != part:
                    raise SplitError(f"{self.grouped_by} {file.group!r} is in {other} and in {part}; it needs one side")


def split_files(prepared: PreparedSet, indices: Iterable[int]) -> tuple[SplitFile, ...]:
    """How a split names the images at `indices`."""
    source = prepared.source
    return tuple(
        SplitFile(record.file, prepared.hashes[index], source.classes[record.label], record.group)
        for index, record in ((index, source.records[index]) for index in indices)
    )


def grouping(prepared: PreparedSet) -> GroupedBy:
    """What keeps together: patients where they are known, else twins where they were grouped, else files."""
    if prepared.source.has_patients:
        return "patient"
    return "twins" if len({record.group for record in prepared.source.records}) < len(prepared) else "file"


def everything(prepared: PreparedSet) -> Split:
    """All images for training, none held out."""
    return Split(split_files(prepared, range(len(prepared))), (), (), grouping(prepared))


def split_by_group(prepared: PreparedSet, *, seed: int = 0, parts: Sequence[str] = PARTS) -> Split:
    """Split by group, stratified by class.

    A fifth of the groups goes to each part but the first; the first gets the rest.

    Args:
        prepared: the images.
        seed: of the shuffle.
        parts: `("train", "val", "test")`, or `("train", "val")` where the test images lie elsewhere.

    Raises:
        SplitError: too few groups, or a class that cannot be had in every part.
    """
    labels = np.asarray(prepared.source.targets)
    groups = np.asarray([record.group for record in prepared.source.records])
    check_sufficient(prepared, labels, groups, len(parts))
    for attempt in range(TRIES):
        folds = group_folds(labels, groups, FOLDS, seed + 7919 * attempt)
        held_out = {part: folds[number] for number, part in enumerate(parts[1:])}
        taken = np.concatenate(list(held_out.values()))
        held_out["train"] = np.setdiff1d(np.arange(len(labels)), taken)
        if all(len(np.unique(labels[indices])) == len(prepared.source.classes) for indices in held_out.values()):
            chosen = {part: split_files(prepared, held_out.get(part, ())) for part in PARTS}
            return Split(**chosen, grouped_by=grouping(prepared), seed=seed)
    raise SplitError(
        f"no split of {len(set(groups))} {unit_of(prepared)}s gives each of {len(parts)} parts every class; "
        "it would take more of them, or parts of your own with --split"
    )


def group_folds(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Deal images into `count` parts, stratified by class, no group in two: the places of each part."""
    from sklearn.model_selection import StratifiedGroupKFold  # a second, which most commands can do without

    splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes with few members: checked by the caller, on the result
        return [held_out for _, held_out in splitter.split(labels, labels, groups)]


def unit_of(prepared: PreparedSet) -> str:
    """What one group is called."""
    return {"patient": "patient", "twins": "group", "file": "file"}[grouping(prepared)]


def check_sufficient(prepared: PreparedSet, labels: np.ndarray, groups: np.ndarray, parts: int) -> None:
    """Refuse data of which each of some parts could not have every class.

    Raises:
        SplitError: too few groups, or too few of a class.
    """
    kind = unit_of(prepared)
    if len(set(groups)) < FOLDS:
        raise SplitError(f"{len(set(groups))} {kind}s were found; a split by {kind} needs at least {FOLDS}")
    for label, name in enumerate(prepared.source.classes):
        found = len(set(groups[labels == label]))
        if found < parts:
            raise SplitError(f"class {name!r} has {found} {kind}(s); {parts} parts need at least {parts}")
    most = int(np.bincount(labels).max())
    if most < FOLDS:
        raise SplitError(f"the largest class has {most} images; a split needs at least {FOLDS}")


def given_split(path: Path | None, prepared: PreparedSet) -> Split:
    """Read a split file, less the files that cannot be read; without one, all images are for training."""
    if path is None:
        return everything(prepared)
    return Split.load(path).without({bad.file for bad in prepared.bad_files})


def with_test(learning: Split, prepared: PreparedSet, held_out: PreparedSet) -> Split:
    """A split of one folder, with the images of another as its test part.

    Raises:
        SplitError: a patient is in both.
    """
    known = prepared.source.has_patients and held_out.source.has_patients
    files = split_files(held_out, range(len(held_out)))
    split = replace(learning, test=files, grouped_by="patient" if known else learning.grouped_by)
    split.refuse_shared_groups()
    return split


@dataclass(frozen=True)
class Parts:
    """Where the parts of a split stand in a `PreparedSet`."""

    train: list[int]
    val: list[int]
    test: list[int]
    left_out: int


def locate(split: Split, prepared: PreparedSet, *, left_out: int = 0) -> Parts:
    """Find a split's images among prepared ones, by name and content.

    Args:
        split: which images are for what.
        prepared: where they are looked for.
        left_out: how many images the split is known to leave out; more are warned of.

    Raises:
        SplitError: an image is missing, has another content, or another class or group.
    """
    at = {record.file: index for index, record in enumerate(prepared.source.records)}
    found = {part: [_index(file, at, prepared) for file in getattr(split, part)] for part in PARTS}
    named = Counter(index for indices in found.values() for index in indices)
    missing = len(prepared) - len(named)
    if missing > left_out:
        log.warning("the split leaves out %d of %d images", missing, len(prepared))
    return Parts(**found, left_out=missing)


def _index(file: SplitFile, at: dict[str, int], prepared: PreparedSet) -> int:
    index = at.get(file.file)
    if index is None:
        raise SplitError(f"the split names {file.file}, which is not among the images; give the data it was made from")
    record = prepared.source.records[index]
    if prepared.hashes[index] != file.sha256:
        raise SplitError(f"{file.file} has changed since the split was made (other content); make a new split")
    label = prepared.source.classes[record.label]
    group = record.group if prepared.source.has_patients else file.group  # of twins: as the split has them
    if (label, group) != (file.label, file.group):
        raise SplitError(
            f"{file.file} is {label!r} of {record.group!r} here but {file.label!r} of {file.group!r} in the split"
        )
    return index
