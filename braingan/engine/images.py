"""Training images where the networks are: uint8 on the device, gathered into batches there."""

from __future__ import annotations

import torch
from torch import Tensor

from braingan.data.pictures import to_float
from braingan.data.sampling import IndexSampler

SHARE = 0.4  # of a GPU's free memory that images may take; networks need the rest


class ImageStore:
    """Batches of a labelled set, by position: the same position gives the same batch.

    Images stay uint8, a quarter of float32, and are turned into numbers batch by batch. What does not fit into a
    GPU's memory stays in page-locked host memory and is copied batch by batch, while the GPU computes.

    Args:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
        sampler: which images make a batch.
        device: where batches are wanted.
        resident: whether all images go to the device; by default, if they fit.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        sampler: IndexSampler,
        device: torch.device,
        *,
        resident: bool | None = None,
    ) -> None:
        self.device, self.sampler = device, sampler
        self.resident = fits(images, device) if resident is None else resident
        self.labels = labels.to(device)
        self._pinned = not self.resident and device.type == "cuda"
        self.images = images.to(device) if self.resident else images

    def batch(self, number: int, size: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Batch number `number` of `size` images, or a part of it.

        Returns:
            (n, C, H, W) float32 in [-1, 1], channels last, and (n,) int64, on the device.
        """
        chosen = self.sampler.batch(number, size)[part]
        there = chosen.to(self.device, non_blocking=True)
        pixels = self.images[there if self.resident else chosen]
        if self._pinned:
            pixels = pixels.pin_memory()
        pixels = pixels.to(self.device, non_blocking=True)
        return to_float(pixels).contiguous(memory_format=torch.channels_last), self.labels[there]

    def labels_of(self, number: int, size: int, part: slice = slice(None)) -> Tensor:
        """The labels of a batch alone: (n,) int64, on the device."""
        return self.labels[self.sampler.batch(number, size)[part].to(self.device, non_blocking=True)]


def fits(images: Tensor, device: torch.device) -> bool:
    """Whether images should live on the device."""
    if device.type != "cuda":
        return True  # host memory is where they are already
    free, _ = torch.cuda.mem_get_info(device)
    return images.numel() * images.element_size() < SHARE * free
