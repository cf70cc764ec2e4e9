"""Views -> 64 bytes that recognise the same picture and from which no picture can be recovered.

Universal embeddings (Boufounos and Rane 2011, "Secure binary embeddings for privacy preserving nearest
neighbors"): each bit is the parity of a quantised random projection. Two nearly equal images differ in few bits;
beyond a small distance all images differ in half of them, whatever they show, so the bits say nothing about where
an image lies among others. What they do say, and are for: whether an image that one already has was among them.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np

from braingan.duplicates.descriptor import describe, orientations

BITS = 512
BANDS = 16  # more detail than candidates are found by, because there are no pixels to confirm on
STEP = 0.45  # of the quantiser, in units of the descriptor's length: how far apart images may be to be told apart
MOST_DIFFERENT = 170  # bits of 512: rates of false and missed matches are in `benchmarks/planted_twins.py`
BLOCK = 4096  # fingerprints that are computed at a time
PRODUCTS = 2**26  # that are held at a time: 256 MiB


def fingerprints(views: np.ndarray) -> np.ndarray:
    """The fingerprints of views: (N, 64) uint8; all zero for a blank view, which matches nothing."""
    return _quantised(describe(views, BANDS))


def matches(views: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Pairs (number of a view, number of a known fingerprint) of the same picture, also flipped: (P, 2) int64."""
    signs = _signs(known)
    found = [np.zeros((0, 2), np.int64)]
    for _, described in orientations(describe(views, BANDS), BANDS):
        queries = _signs(_quantised(described))
        block = max(1, PRODUCTS // max(1, len(signs)))
        for first in range(0, len(queries), block):
            close = queries[first : first + block] @ signs.T >= BITS - 2 * MOST_DIFFERENT
            found.append(np.argwhere(close) + np.array([first, 0]))
    return np.unique(np.concatenate(found), axis=0)


def _quantised(described: np.ndarray) -> np.ndarray:
    blocks = [_quantised_block(described[first : first + BLOCK]) for first in range(0, len(described), BLOCK)]
    return np.concatenate([np.zeros((0, BITS // 8), np.uint8), *blocks])


def _quantised_block(described: np.ndarray) -> np.ndarray:
    directions, shifts = _projection(described.shape[1])
    cells = np.floor((described.astype(np.float64) @ directions) / STEP + shifts)
    packed = np.packbits(cells.astype(np.int64) % 2 == 1, axis=1)
    packed[~described.any(axis=1)] = 0
    return packed


def _signs(packed: np.ndarray) -> np.ndarray:
    """(N, BITS) float32 of -1 and 1; all 0 for what has no fingerprint."""
    signs = np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1
    signs[~packed.any(axis=1)] = 0
    return signs


@cache
def _projection(dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """(D, BITS) directions of -1 and 1 and (BITS,) shifts from 0 to 2, the same on every machine for ever."""
    count = dimensions * BITS // 8
    drawn = hashlib.shake_256(b"braingan fingerprint 1").digest(count + 2 * BITS)
    directions = np.unpackbits(np.frombuffer(drawn[:count], np.uint8)).reshape(dimensions, BITS) * 2.0 - 1
    shifts = np.frombuffer(drawn[count:], "<u2") / 2.0**15
    return directions, shifts
