"""Views -> compact descriptors: coarse structure as a vector of length one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import fft

BANDS = 8  # lowest frequencies of a cosine transform in each direction, for finding candidates
TILT = 0.7  # frequencies are weighted by their power of this: heads differ in detail, not in being round
ORIENTATIONS = ((False, False), (True, False), (False, True), (True, True))  # flipped left-right, up-down
CHUNK = 4096

Flip = tuple[bool, bool]


def describe(views: np.ndarray, bands: int = BANDS) -> np.ndarray:
    """Descriptors of views.

    Args:
        views: (N, V, V) uint8.
        bands: how many of the lowest frequencies are seen in each direction.

    Returns:
        (N, D) float32 of length 1; of length 0 for a blank view. The dot product of two is a correlation.
    """
    described = [_describe(views[first : first + CHUNK], bands) for first in range(0, len(views), CHUNK)]
    return np.concatenate(described) if described else np.zeros((0, int(_kept(bands).sum())), np.float32)


def orientations(descriptors: np.ndarray, bands: int = BANDS) -> Iterator[tuple[Flip, np.ndarray]]:
    """The descriptors that the flipped views would have: a flip changes the sign of odd frequencies."""
    rows, columns = (places[_kept(bands)] % 2 for places in np.mgrid[:bands, :bands])
    for left_right, up_down in ORIENTATIONS:
        signs = (1 - 2 * columns * left_right) * (1 - 2 * rows * up_down)
        yield (left_right, up_down), descriptors * signs.astype(np.float32)


def flipped(views: np.ndarray, flip: Flip) -> np.ndarray:
    """(N, V, V) views, flipped left-right or up-down or both."""
    return views[:, :: -1 if flip[1] else 1, :: -1 if flip[0] else 1]


def _describe(views: np.ndarray, bands: int) -> np.ndarray:
    spectrum = fft.dctn(views.astype(np.float32), axes=(1, 2), norm="ortho")[:, :bands, :bands]
    chosen = (spectrum * _frequencies(bands) ** TILT)[:, _kept(bands)]
    lengths = np.linalg.norm(chosen, axis=1, keepdims=True)
    described: np.ndarray = (chosen / np.maximum(lengths, 1e-3)).astype(np.float32)
    return described


def _frequencies(bands: int) -> np.ndarray:
    frequencies: np.ndarray = np.hypot(*np.mgrid[:bands, :bands])
    return frequencies


def _kept(bands: int) -> np.ndarray:
    frequencies = _frequencies(bands)
    kept: np.ndarray = (frequencies > 0) & (frequencies < bands)
    return kept
