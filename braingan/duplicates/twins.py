"""Pairs of images that show the same picture: the same bytes, the same pixels, or the same slice altered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from braingan.duplicates.confirm import TANGENT, Tangents, align_pairs
from braingan.duplicates.descriptor import describe, flipped, orientations
from braingan.duplicates.index import BLOCK, Index
from braingan.progress import Progress

Kind = Literal["identical", "re-encoded", "altered"]

NEIGHBOURS = 32  # candidates of each image in each orientation, beside the rest of its patient
LEAST = 0.80  # correlation of descriptors of a candidate
IN_PLACE = 0.04  # a fit that moves less than this leaves the picture where it was


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
            brightness), "altered" (flipped, turned, cropped or stretched).
        score: correlation of the finest detail after alignment.
    """

    first: int
    second: int
    kind: Kind
    score: float


def find_twins(looks: Looks, groups: Sequence[str]) -> list[Twin]:
    """Twins within a set.

    Args:
        looks: of the images.
        groups: the patient of each image, or a name of its own where no patients are known. Slices of one
            patient look alike without being twins, so within a group only byte-identical images count.
    """
    names = np.unique(np.asarray(groups), return_inverse=True)[1]
    found = {(twin.first, twin.second): twin for twin in _identical(looks, looks) if twin.first < twin.second}
    largest = int(np.bincount(names).max(initial=1))
    for twin in _alike(looks, looks, NEIGHBOURS + min(largest, 64), names):
        found.setdefault((min(twin.first, twin.second), max(twin.first, twin.second)), twin)
    return [_ordered(found[pair]) for pair in sorted(found)]


def find_twins_across(ours: Looks, others: Looks) -> list[Twin]:
    """Twins between two sets: `first` numbers an image of `ours`, `second` one of `others`."""
    found = {(twin.first, twin.second): twin for twin in _identical(ours, others)}
    for twin in _alike(ours, others, NEIGHBOURS, None):
        found.setdefault((twin.first, twin.second), twin)
    return [found[pair] for pair in sorted(found)]


def _ordered(twin: Twin) -> Twin:
    first, second = sorted((twin.first, twin.second))
    return Twin(first, second, twin.kind, twin.score)


def _identical(ours: Looks, others: Looks) -> list[Twin]:
    """Byte-identical pairs; images that show nothing (the black ends of a volume) say nothing."""
    at: dict[str, list[int]] = {}
    for number in np.flatnonzero(others.views.any(axis=(1, 2))):
        at.setdefault(others.hashes[int(number)], []).append(int(number))
    return [
        Twin(int(first), second, "identical", 1.0)
        for first in np.flatnonzero(ours.views.any(axis=(1, 2)))
        for second in at.get(ours.hashes[int(first)], ())
    ]


def _alike(ours: Looks, others: Looks, neighbours: int, groups: np.ndarray | None) -> list[Twin]:
    """Pairs that fit on each other; with groups, both are one set, and only pairs of two groups count."""
    described, index = describe(ours.views), Index.build(describe(others.views))
    known, twins = Tangents(others.views), []
    for flip, queries in orientations(described):
        views = flipped(ours.views, flip)
        near = known if groups is not None and flip == (False, False) else Tangents(views)
        with Progress("comparing", len(views)) as progress:
            for first, second in index.nearest(queries, neighbours, LEAST):
                if groups is not None:
                    kept = groups[first] != groups[second]
                    first, second = _each_once(first[kept], second[kept])
                kept = near.likeness(first, known, second) >= TANGENT
                twins += _judge(views, others.views, first[kept], second[kept], altered=flip != (False, False))
                progress.advance(min(BLOCK, len(views) - progress.done))
    return twins


def _each_once(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pair in one order; every flip is its own inverse, so the order says nothing."""
    pairs = np.unique(np.stack([np.minimum(first, second), np.maximum(first, second)]), axis=1)
    return pairs[0], pairs[1]


def _judge(
    views: np.ndarray, other_views: np.ndarray, first: np.ndarray, second: np.ndarray, *, altered: bool
) -> list[Twin]:
    fit = align_pairs(views[first], other_views[second])
    return [
        Twin(
            int(first[number]),
            int(second[number]),
            "altered" if altered or fit.moved[number] > IN_PLACE else "re-encoded",
            float(fit.score[number]),
        )
        for number in np.flatnonzero(fit.twin)
    ]
