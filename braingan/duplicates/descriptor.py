"""Views -> compact descriptors: coarse structure as a vector of length one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import fft

BANDS = 8  # lowest frequencies of a cosine transform in each direction
TILT = 0.7  # frequencies are weighted by their power of this: heads differ in detail, not in being round
ORIENTATIONS = ((False, False), (True, False), (False, True), (True, True))  # flipped left-right, up-down
CHUNK = 4096

Flip = tuple[bool, bool]


def describe(views: np.ndarray) -> np.ndarray:
    """Descriptors of views.

    Args:
        views: (N, V, V) uint8.

    Returns:
        (N, D) float32 of length 1; of length 0 for a blank view. The dot product of two is a correlation.
    """
    described = [_describe(views[first : first + CHUNK]) for first in range(0, len(views), CHUNK)]
    return np.concatenate(described) if described else np.zeros((0, int(_kept().sum())), np.float32)


def orientations(descriptors: np.ndarray) -> Iterator[tuple[Flip, np.ndarray]]:
    """The descriptors that the flipped views would have: a flip changes the sign of odd frequencies."""
    rows, columns = (places[_kept()] % 2 for places in np.mgrid[:BANDS, :BANDS])
    for left_right, up_down in ORIENTATIONS:
        signs = (1 - 2 * columns * left_right) * (1 - 2 * rows * up_down)
        yield (left_right, up_down), descriptors * signs.astype(np.float32)


def flipped(views: np.ndarray, flip: Flip) -> np.ndarray:
    """(N, V, V) views, flipped left-right or up-down or both."""
    return views[:, :: -1 if flip[1] else 1, :: -1 if flip[0] else 1]


def _describe(views: np.ndarray) -> np.ndarray:
    spectrum = fft.dctn(views.astype(np.float32), axes=(1, 2), norm="ortho")[:, :BANDS, :BANDS]
    chosen = (spectrum * _frequencies() ** TILT)[:, _kept()]
    lengths = np.linalg.norm(chosen, axis=1, keepdims=True)
    described: np.ndarray = (chosen / np.maximum(lengths, 1e-3)).astype(np.float32)
    return described


def _frequencies() -> np.ndarray:
    frequencies: np.ndarray = np.hypot(*np.mgrid[:BANDS, :BANDS])
    return frequencies


def _kept() -> np.ndarray:
    frequencies = _frequencies()
    kept: np.ndarray = (frequencies > 0) & (frequencies < BANDS)
    return kept
