"""Pairs of images that show the same picture: the same bytes, the same pixels, or the same slice altered."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from braingan.duplicates.confirm import TANGENT, Tangents, align_pairs
from braingan.duplicates.descriptor import describe, flipped, orientations
from braingan.duplicates.index import Index
from braingan.progress import Progress
from braingan.threads import shared_out

Kind = Literal["identical", "re-encoded", "altered"]

NEIGHBOURS = 32  # candidates of each image in each orientation, beside the rest of its patient
LEAST = 0.80  # correlation of descriptors of a candidate
PAIRS = 8192  # candidates that a thread judges at a time
IN_PLACE = 0.015  # a fit that turns less than this (0.6 degrees) left the picture upright; of JPEG 30 some reach 0.006


@dataclass(frozen=True)
class Looks:
    """What twins are recognised by.

    Attributes:
        views: (N, 64, 64) uint8, see `braingan.data.views`.
        hashes: (N,) SHA-256 of each file's content.
    """

    views: np.ndarray
    hashes: Sequence[str]

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True)
class Twin:
    """Two images that show the same picture.

    Attributes:
        first: number of the one image.
        second: of the other; larger than `first` where both are of one set.
        kind: "identical" (byte for byte), "re-encoded" (the same picture in another file format, quality, size,
            brightness, or cropped or stretched), "altered" (flipped, turned or sheared).
        score: correlation of the finest detail after alignment.
    """

    first: int
    second: int
    kind: Kind
    score: float


def find_twins(looks: Looks, groups: Sequence[str]) -> list[Twin]:
    """Twins within a set.

    Of byte-identical images each is paired with the first of them only, and that one alone with other pictures, so
    the pairs are links of groups and not all pairs of them.

    Args:
        looks: of the images.
        groups: the patient of each image, or a name of its own where no patients are known. Slices of one
            patient look alike without being twins, so within a group only byte-identical images count.
    """
    names = np.unique(np.asarray(groups), return_inverse=True)[1]
    first_of = _first_of_each(looks)
    found = [Twin(int(first), number, "identical", 1.0) for number, first in enumerate(first_of) if first != number]
    once = np.flatnonzero(first_of == np.arange(len(looks)))
    largest = int(np.bincount(names).max(initial=1))
    few = _at(looks, once)
    for twin in _alike(few, few, NEIGHBOURS + min(largest, 64), names[once]):
        first, second = sorted((int(once[twin.first]), int(once[twin.second])))
        found.append(replace(twin, first=first, second=second))
    return _each_pair(found)


def find_twins_across(ours: Looks, others: Looks) -> list[Twin]:
    """Twins between two sets: `first` numbers an image of `ours`, `second` one of `others`.

    Every image of `ours` that has a twin is named; of byte-identical images of `others` the first.
    """
    own, their = _first_of_each(ours), _first_of_each(others)
    once, others_once = (np.flatnonzero(firsts == np.arange(len(firsts))) for firsts in (own, their))
    copies: dict[int, list[int]] = {}
    for number, first in enumerate(own):
        copies.setdefault(int(first), []).append(number)
    found = _identical(ours, others)
    for twin in _alike(_at(ours, once), _at(others, others_once), NEIGHBOURS, None):
        second = int(others_once[twin.second])
        found += [replace(twin, first=number, second=second) for number in copies[int(once[twin.first])]]
    return _each_pair(found)


def _each_pair(found: Sequence[Twin]) -> list[Twin]:
    """Each pair once, as it was found first, in ascending order."""
    pairs: dict[tuple[int, int], Twin] = {}
    for twin in found:
        pairs.setdefault((twin.first, twin.second), twin)
    return [pairs[pair] for pair in sorted(pairs)]


def _at(looks: Looks, numbers: np.ndarray) -> Looks:
    return Looks(looks.views[numbers], [looks.hashes[int(number)] for number in numbers])


def _first_of_each(looks: Looks) -> np.ndarray:
    """(N,) number of the first image of the same bytes; images that show nothing, or have no hash, stand alone."""
    first: dict[str, int] = {}
    shows = np.flatnonzero(looks.views.any(axis=(1, 2)))
    numbers = np.arange(len(looks))
    for number in shows.tolist():
        if name := looks.hashes[number]:
            numbers[number] = first.setdefault(name, number)
    return numbers


def _identical(ours: Looks, others: Looks) -> list[Twin]:
    """Byte-identical pairs, each with the first of the others."""
    at: dict[str, int] = {}
    for number in np.flatnonzero(others.views.any(axis=(1, 2))):
        at.setdefault(others.hashes[int(number)], int(number))
    at.pop("", None)  # of files that could not be hashed
    return [
        Twin(int(number), at[ours.hashes[int(number)]], "identical", 1.0)
        for number in np.flatnonzero(ours.views.any(axis=(1, 2)))
        if ours.hashes[int(number)] in at
    ]


def _alike(ours: Looks, others: Looks, neighbours: int, groups: np.ndarray | None) -> list[Twin]:
    """Pairs that fit on each other; with groups, both are one set, and only pairs of two groups count."""
    if not len(ours) or not len(others):
        return []
    tasks: list[Future[list[Twin]]] = []
    with shared_out() as pool:
        described, index = describe(ours.views), Index.build(describe(others.views))
        known = Tangents(others.views)
        for flip, queries in orientations(described):
            views, altered = flipped(ours.views, flip), flip != (False, False)
            near = known if groups is not None and not altered else Tangents(views)
            for first, second in index.nearest(queries, neighbours, LEAST):
                if groups is not None:
                    kept = groups[first] != groups[second]
                    first, second = _each_once(first[kept], second[kept])
                for start in range(0, len(first), PAIRS):
                    pairs = first[start : start + PAIRS], second[start : start + PAIRS]
                    tasks.append(pool.submit(_judge, views, near, others.views, known, *pairs, altered=altered))
        return _collected(tasks)


def _collected(tasks: list[Future[list[Twin]]]) -> list[Twin]:
    """What all tasks found, in the order in which they were given."""
    twins: list[Twin] = []
    with Progress("comparing", len(tasks), "parts") as progress:
        for task in tasks:
            twins += task.result()
            progress.advance(1)
    return twins


def _each_once(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pair in one order; every flip is its own inverse, so the order says nothing."""
    pairs = np.unique(np.stack([np.minimum(first, second), np.maximum(first, second)]), axis=1)
    return pairs[0], pairs[1]


def _judge(
    views: np.ndarray,
    near: Tangents,
    other_views: np.ndarray,
    known: Tangents,
    first: np.ndarray,
    second: np.ndarray,
    *,
    altered: bool,
) -> list[Twin]:
    """The pairs that withstand a look at small movements, and then a registration."""
    kept = near.likeness(first, known, second) >= TANGENT
    first, second = first[kept], second[kept]
    fit = align_pairs(views[first], other_views[second])
    return [
        Twin(
            int(first[number]),
            int(second[number]),
            "altered" if altered or fit.turned[number] > IN_PLACE else "re-encoded",
            float(fit.score[number]),
        )
        for number in np.flatnonzero(fit.twin)
    ]
