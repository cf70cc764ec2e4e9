"""Images with labels, as classifiers learn from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelledImages:
    """Images with labels.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
        marks: (N,) bool, which are synthetic; None where none is.
    """

    images: Tensor
    labels: Tensor
    marks: Tensor | None = None

    @property
    def synthetic(self) -> Tensor:
        """Which of the images are synthetic: (N,) bool."""
        return torch.zeros(len(self), dtype=torch.bool) if self.marks is None else self.marks

    def of_labels(self, labels: Tensor, *, wanted: bool = True) -> LabelledImages:
        """The images of these classes, or of all others."""
        return self.at(torch.isin(self.labels, labels) == wanted)

    def at(self, chosen: Tensor) -> LabelledImages:
        """Some of the images: by their places, or by a mask."""
        return LabelledImages(self.images[chosen], self.labels[chosen], self.synthetic[chosen])

    def first(self, counts: dict[int, int]) -> LabelledImages:
        """The first images of each class, as many as `counts` says for its label."""
        places = [torch.nonzero(self.labels == label)[:count, 0] for label, count in counts.items()]
        return self.at(torch.cat(places).sort().values) if places else self.at(torch.zeros(0, dtype=torch.int64))

    def none(self) -> LabelledImages:
        """No image, of the same shape."""
        return self.at(torch.zeros(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: LabelledImages) -> LabelledImages:
        return LabelledImages(
            torch.cat([self.images, other.images]),
            torch.cat([self.labels, other.labels]),
            torch.cat([self.synthetic, other.synthetic]),
        )
