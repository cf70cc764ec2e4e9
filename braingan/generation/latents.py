"""Latents that depend on (seed, class, index) alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def draw_latents(labels: Sequence[int], size: int, *, seed: int, first: int = 0) -> Tensor:
    """Standard-normal latents, one for each label.

    A batch drawn at once from one seed changes with the batch's size, so every image has a stream of
    its own: a counter-based generator (Philox; Salmon et al. 2011, "Parallel random numbers: as easy
    as 1, 2, 3") whose key is (seed, label) and whose counter starts at the image's number.

    Args:
        labels: N class indices.
        size: length of a latent.
        seed: of the series, 0 or more.
        first: number of the first image in the series.

    Returns:
        (N, size) float32.
    """
    latents = np.empty((len(labels), size), np.float32)
    for row, label in enumerate(labels):
        stream = np.random.Philox(key=[seed, int(label)], counter=[0, 0, 0, first + row])
        latents[row] = np.random.Generator(stream).standard_normal(size, dtype=np.float32)
    return torch.from_numpy(latents)
