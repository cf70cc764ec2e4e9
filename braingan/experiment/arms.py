"""What a classifier is trained on: a list of small named things."""

from __future__ import annotations

from collections.abc import Callable
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
        chosen = torch.isin(self.labels, labels) == wanted
        return LabelledImages(self.images[chosen], self.labels[chosen], self.synthetic[chosen])

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: LabelledImages) -> LabelledImages:
        return LabelledImages(
            torch.cat([self.images, other.images]),
            torch.cat([self.labels, other.labels]),
            torch.cat([self.synthetic, other.synthetic]),
        )


@dataclass(frozen=True)
class Arm:
    """A training set under test.

    Attributes:
        name: how results call it.
        description: in a few words, for reports.
        uses_real: whether real training images are in it.
        uses_synthetic: whether synthetic images are in it.
        build: (real, synthetic) -> training set.
    """

    name: str
    description: str
    uses_real: bool
    uses_synthetic: bool
    build: Callable[[LabelledImages, LabelledImages], LabelledImages]


def synthetic_first(real: LabelledImages, synthetic: LabelledImages) -> LabelledImages:
    """Synthetic images, and real ones of the classes that the generator cannot make: healthy slices, say."""
    return real.of_labels(synthetic.labels, wanted=False) + synthetic


ARMS = (
    Arm("real", "the real training images", True, False, lambda real, synthetic: real),
    Arm("synthetic", "synthetic images, and real ones of classes that cannot be made", False, True, synthetic_first),
    Arm("combined", "both together", True, True, lambda real, synthetic: real + synthetic),
)
