"""What is done to the images of a batch: mild classic augmentation, strong augmentation, and mixing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
import torch
from timm.data.mixup import Mixup
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses
from torchvision.transforms.v2 import RandAugment, TrivialAugmentWide

ROTATION = math.radians(10)
SHIFT = 0.06  # of the image's side
SCALE = 0.1
BRIGHTNESS = 0.1
CONTRAST = 0.15

MIXUP_ALPHA = 0.8  # with this CutMix, and either as often: Touvron et al., "DeiT", ICML 2021
CUTMIX_ALPHA = 1.0

TRIVIAL_SHIFT = 32 / 224  # of the image's side: the wide space's 32 pixels, where it was made for photographs
# Taken from RandAugment. Shears are about a corner, and the wide space's move the middle out of sight; the others' turn
# dark images black.
MILDER = ("ShearX", "ShearY", "Brightness", "Contrast", "Posterize")


class _Trivial(TrivialAugmentWide):  # type: ignore[misc]
    """In which every image can still be seen: the wide space was made for photographs."""

    _AUGMENTATION_SPACE: ClassVar = (
        TrivialAugmentWide._AUGMENTATION_SPACE
        | {name: RandAugment._AUGMENTATION_SPACE[name] for name in MILDER}
        | {
            "TranslateX": (lambda bins, _, width: torch.linspace(0.0, TRIVIAL_SHIFT * width, bins), True),
            "TranslateY": (lambda bins, height, _: torch.linspace(0.0, TRIVIAL_SHIFT * height, bins), True),
        }
    )


TRIVIAL = _Trivial()


def normalise(images: Tensor) -> Tensor:
    """(N, C, H, W) uint8 -> float32 around 0, in [-1, 3]: a prepared head slice is mostly dark."""
    return images.float() / 63.75 - 1


def augment_batch(images: Tensor) -> Tensor:
    """Flip left and right, rotate, shift, scale, and vary brightness and contrast, each image in its own way.

    Args:
        images: (N, C, H, W) float32 from `normalise`; what comes into view at the edges is black.

    Returns:
        The same shape.
    """
    count, device = len(images), images.device
    angle, zoom = _uniform(count, ROTATION, device), 1 + _uniform(count, SCALE, device)
    flip = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    shift_x, shift_y = _uniform(count, 2 * SHIFT, device), _uniform(count, 2 * SHIFT, device)
    affine = torch.stack([flip * cos, -sin, shift_x, flip * sin, cos, shift_y], dim=1).view(count, 2, 3)
    field = F.affine_grid(affine, list(images.shape), align_corners=False)
    moved = F.grid_sample(images + 1, field, align_corners=False) - 1  # padding is 0, which is -1: black
    gain, offset = 1 + _uniform(count, CONTRAST, device), _uniform(count, BRIGHTNESS, device)
    return (moved + 1) * gain.view(-1, 1, 1, 1) - 1 + offset.view(-1, 1, 1, 1)


def augment_strongly(images: Tensor) -> Tensor:
    """Change each image by one operation of a strength of its own: shear, rotate, equalise, posterise, ...

    TrivialAugment with its wide space, but for shifts (at most a seventh of the side) and for shears, brightness,
    contrast and posterising, which are RandAugment's: the wide space's would move a small image out of sight, or turn
    it black. What comes into view at the edges is black. The operation is the same for all channels of an image, and
    each is taken as a grey image of its own: channels need not be colours. "Color" then changes nothing.

    Args:
        images: (N, C, H, W) uint8.

    Returns:
        The same shape and type. Draws from torch's random state on the CPU, wherever the images are.

    Sources: Mueller & Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021; Cubuk et
    al., "RandAugment: Practical automated data augmentation with a reduced search space", CVPR workshops 2020.
    """
    return torch.stack([TRIVIAL(image.unsqueeze(1)).squeeze(1) for image in images])


class Mixing:
    """Blends pairs of images, or cuts a piece of one into another, and their labels alike.

    Each batch is shuffled first, because a sampler that takes the classes in turn would pair always the same classes.
    The last image of an odd batch stays as it is. timm draws from numpy's global random state; it is exchanged for one
    of its own as long as that lasts, so that the caller's is left alone.

    Args:
        classes: how many there are.
        seed: of all that is drawn, 0 or more.

    Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; Yun et al., "CutMix", ICCV 2019.
    """

    def __init__(self, classes: int, *, seed: int) -> None:
        self.classes = classes
        self._mixup = Mixup(MIXUP_ALPHA, CUTMIX_ALPHA, label_smoothing=0.0, num_classes=classes)  # type: ignore[no-untyped-call]
        self._state = np.random.RandomState(seed % 2**32).get_state()

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            images: (N, C, H, W) float32.
            labels: (N,) int64.

        Returns:
            New images of the same shape, and (N, classes) float32 targets whose rows sum to 1.
        """
        even = len(labels) // 2 * 2
        with self._own_random_state():
            order = torch.from_numpy(np.random.permutation(len(labels))).to(labels.device)
            images, labels = images[order], labels[order]
            mixed, targets = self._mixup(images[:even], labels[:even])
        rest = F.one_hot(labels[even:], self.classes).to(targets.dtype)
        return torch.cat([mixed, images[even:]]), torch.cat([targets, rest])

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        outside = np.random.get_state()
        np.random.set_state(self._state)
        try:
            yield
        finally:
            self._state = np.random.get_state()
            np.random.set_state(outside)


def _uniform(count: int, reach: float, device: torch.device) -> Tensor:
    return (torch.rand(count, device=device) * 2 - 1) * reach
