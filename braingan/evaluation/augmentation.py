"""Mild classic augmentation, the same for every arm, for a whole batch at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses

ROTATION = math.radians(10)
SHIFT = 0.06  # of the image's side
SCALE = 0.1
BRIGHTNESS = 0.1
CONTRAST = 0.15


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


def _uniform(count: int, reach: float, device: torch.device) -> Tensor:
    return (torch.rand(count, device=device) * 2 - 1) * reach
