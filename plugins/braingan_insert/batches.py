"""What inserter and critic are trained on: real tumour slices, and healthy ones with a place for a tumour."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses

from braingan import TrainingRun
from braingan.data.pictures import to_float
from braingan.data.sampling import IndexSampler
from braingan.generation.batches import LATENTS, PLACES, seed_of

from .bank import Bank
from .blending import corners_of, cut, cut_masks, soften
from .placing import NORMALS, Placer

JIGGLE = 4  # stream of random numbers
ROTATION = math.radians(5)  # deviations of the mild movements of all slices: the critic has few real ones
SCALE = 0.08
NOISE = 0.5  # deviation of what fills the hidden region, in [-1, 1]


class InsertBatches:
    """Windows around tumours, real ones and places for new ones; see `braingan.generation.batches.Batches`.

    Args:
        bank: canvases and tumours.
        placer: chooses canvases, outlines and places.
        run: its batch size, seed and class sampling.
        latent_size: length of z.
        window: side of the windows.
        device: where batches are wanted.
    """

    def __init__(
        self, bank: Bank, placer: Placer, run: TrainingRun, latent_size: int, window: int, device: torch.device
    ) -> None:
        self.bank, self.placer, self.run = bank, placer, run
        self.latent_size, self.window, self.device = latent_size, window, device
        self.sampler = IndexSampler(bank.labels, run.class_sampling, seed=run.seed)

    def real(self, turn: int, part: slice) -> tuple[Tensor, Tensor]:
        """(n, C + 2, window, window): slice, mask and opacity; and labels."""
        chosen = self.sampler.batch(turn, self.run.batch_size)[part]
        masks = self.bank.masks[chosen][:, None].float()
        images, masks = self._moved(to_float(self.bank.tumors[chosen]), masks, self._random(turn, JIGGLE), part)
        corners = corners_of(masks, self.window)
        masks = cut_masks(masks, corners, self.window)
        parts = [cut(images, corners, self.window), masks, soften(masks, self.placer.size)]
        return self._there(torch.cat(parts, dim=1)), self.bank.labels[chosen].to(self.device)

    def given(self, turn: int, part: slice) -> tuple[Tensor, ...]:
        """What `Inserter` is called with."""
        y = self.bank.labels[self.sampler.batch(turn, self.run.batch_size)[part]]
        places = self.placer.draw(
            y, torch.randn(self.run.batch_size, NORMALS, generator=self._random(turn, PLACES))[part]
        )
        canvases = to_float(self.bank.canvases[places.canvases])
        random = self._random(turn, LATENTS)
        canvases, masks = self._moved(canvases, places.masks, random, part)
        corners = corners_of(masks, self.window)
        masks = cut_masks(masks, corners, self.window)
        z = torch.randn(self.run.batch_size, self.latent_size, generator=random)[part]
        shape = (self.run.batch_size, canvases.shape[1], self.window, self.window)
        noise = NOISE * torch.randn(shape, generator=random)[part]
        images = (cut(canvases, corners, self.window), masks, soften(masks, self.placer.size), noise)
        return (*map(self._there, images), z.to(self.device), y.to(self.device))

    def _moved(self, images: Tensor, masks: Tensor, random: torch.Generator, part: slice) -> tuple[Tensor, Tensor]:
        """Turned, scaled and mirrored a little, each in its own way; what comes into view is black."""
        normals = torch.randn(self.run.batch_size, 3, generator=random)[part]
        angle, scale = ROTATION * normals[:, 0], torch.exp(SCALE * normals[:, 1])
        flip = torch.where(normals[:, 2] < 0, -1.0, 1.0)
        cos, sin, zero = angle.cos() * scale, angle.sin() * scale, torch.zeros(len(normals))
        affine = torch.stack([flip * cos, -sin, zero, flip * sin, cos, zero], dim=1).view(-1, 2, 3)
        field = F.affine_grid(affine, list(images.shape), align_corners=False)
        moved = (F.grid_sample(masks, field, align_corners=False) >= 0.5).float()
        # A tumour of few pixels may fall through the grid: then it stays as it was, in its slice.
        gone = (moved.sum((1, 2, 3)) == 0).view(-1, 1, 1, 1)
        turned = F.grid_sample(images + 1, field, align_corners=False) - 1
        return torch.where(gone, images, turned), torch.where(gone, masks, moved)

    def _random(self, turn: int, stream: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed_of(self.run.seed, turn, stream))

    def _there(self, images: Tensor) -> Tensor:
        return images.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
