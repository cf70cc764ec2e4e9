"""What two networks are given in a turn: real images, and what G makes images from."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from braingan.data.sampling import IndexSampler
from braingan.engine.images import ImageStore
from braingan.generation.protocol import TrainingData, TrainingRun

LATENTS, NOISE, PLACES = 1, 2, 3  # streams of random numbers


class Batches(Protocol):
    """A source of batches without state: turn 700 can be had without turn 699, so that a run can be taken up.

    Both methods give the part `part` of a whole batch of `run.batch_size`: many processes see what one would.
    """

    def real(self, turn: int, part: slice) -> tuple[Tensor, Tensor]:
        """What D is shown as real, (n, ..., H, W) float32, and labels (n,) int64, on the device."""

    def given(self, turn: int, part: slice) -> tuple[Tensor, ...]:
        """What G is called with, on the device. It belongs to the labels of `real` of the same turn."""


class LatentBatches:
    """Training images as they are, and latents: G(z, y).

    Args:
        data: the training images.
        run: its batch size, seed and class sampling.
        latent_size: length of z.
        device: where batches are wanted.
    """

    def __init__(self, data: TrainingData, run: TrainingRun, latent_size: int, device: torch.device) -> None:
        self.run, self.latent_size, self.device = run, latent_size, device
        sampler = IndexSampler(data.labels, run.class_sampling, seed=run.seed)
        self.store = ImageStore(data.images, data.labels, sampler, device)

    def real(self, turn: int, part: slice) -> tuple[Tensor, Tensor]:
        """(n, C, H, W) float32 in [-1, 1], channels last, and labels."""
        return self.store.batch(turn, self.run.batch_size, part)

    def given(self, turn: int, part: slice) -> tuple[Tensor, ...]:
        """Z (n, latent_size) and y (n,)."""
        random = torch.Generator().manual_seed(seed_of(self.run.seed, turn, LATENTS))
        z = torch.randn(self.run.batch_size, self.latent_size, generator=random)
        return z[part].to(self.device, non_blocking=True), self.store.labels_of(turn, self.run.batch_size, part)


def seed_of(*numbers: int) -> int:
    """One seed for a tuple of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
