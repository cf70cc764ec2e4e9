"""The seam between a healthy slice and a tumour, and the window around it in which networks work."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses

SOFT = 1 / 64  # of the image's side: how far the mask is widened, and the deviation of its blur
HIDDEN = 0.02  # opacity from which the slice below is hidden from the network
RIM = 4 / 64  # of the image's side: what a window leaves around a tumour; at least what the blur reaches
MOST = 0.98  # quantile of the training masks' extents that fits into a window


def soften(masks: Tensor, side: int) -> Tensor:
    """How much of each pixel is the tumour's: the mask, a little wider and blurred.

    Oedema and mass effect do not end where a mask does, and a hard edge would give the image away.

    Args:
        masks: (N, 1, H, W) float32, 0 or 1: of images, or of windows of images.
        side: of the images in pixels.

    Returns:
        The same shape, in [0, 1].
    """
    sigma = max(1.0, SOFT * side)  # below a pixel, there is no soft edge
    widen = 2 * max(1, round(sigma)) + 1
    wider = F.max_pool2d(masks, widen, 1, widen // 2)
    reach = math.ceil(3 * sigma)
    places = torch.arange(-reach, reach + 1, device=masks.device, dtype=masks.dtype)
    kernel = torch.exp(-places.square() / (2 * sigma * sigma))
    kernel = kernel / kernel.sum()
    # Edges are repeated: an image's own edge is no seam.
    rows = F.conv2d(F.pad(wider, (reach, reach, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    return F.conv2d(F.pad(rows, (0, 0, reach, reach), mode="replicate"), kernel.view(1, 1, -1, 1)).clamp(0, 1)


def window_side(masks: Tensor, step: int) -> int:
    """The side of a square that holds nearly all tumours with a margin.

    Args:
        masks: (M, H, W) bool, not empty.
        step: the side is a multiple of it, and at most the image's.
    """
    side = int(masks.shape[-1])
    extents = [max(_extent(mask.any(0)), _extent(mask.any(1))) for mask in masks.numpy()]
    wanted = float(np.quantile(extents, MOST)) * 1.1 + 2 * _rim(side)  # masks are scaled when they are placed
    return min(side, step * math.ceil(wanted / step))


def corners_of(masks: Tensor, window: int) -> Tensor:
    """(N, 2) int64: top and left of the windows around the middle of each mask, within the image.

    Of a tumour in pieces too far from each other for any to lie in that window, the largest one counts.
    """
    side = masks.shape[-1]
    middles = torch.stack([_middle(masks[:, 0].amax(2)), _middle(masks[:, 0].amax(1))], dim=1)
    corners = (middles - window / 2).round().long().clamp(0, side - window)
    reach = window // 2 - _rim(side)
    for number in torch.nonzero(~cut_masks(masks, corners, window).flatten(1).any(1)).flatten().tolist():
        about = F.avg_pool2d(masks[number], 2 * reach + 1, 1, reach) * masks[number]
        place = torch.tensor(divmod(int(about.argmax()), side))
        corners[number] = (place - window // 2).clamp(0, side - window)
    return corners


def cut(images: Tensor, corners: Tensor, window: int) -> Tensor:
    """(N, C, H, W) -> (N, C, window, window)."""
    return torch.stack(
        [image[:, top : top + window, left : left + window] for image, (top, left) in zip(images, corners.tolist(),
                                                                                         strict=True)]
    )  # fmt: skip


def cut_masks(masks: Tensor, corners: Tensor, window: int) -> Tensor:
    """As `cut`, without what is so close to the window's edge that its soft seam would be cut there."""
    side = masks.shape[-1]
    inner = cut(masks, corners, window)
    rim = _rim(side)
    if window == side:
        return inner
    for mask, (top, left) in zip(inner, corners.tolist(), strict=True):
        for axis, start in ((1, top), (2, left)):
            if start > 0:
                mask.narrow(axis, 0, rim).zero_()
            if start + window < side:
                mask.narrow(axis, window - rim, rim).zero_()
    return inner


def put_back(images: Tensor, windows: Tensor, corners: Tensor) -> Tensor:
    """Copies of the images with the windows in their places."""
    whole, window = images.clone(), windows.shape[-1]
    for number, (top, left) in enumerate(corners.tolist()):
        whole[number, :, top : top + window, left : left + window] = windows[number]
    return whole


def _extent(occupied: np.ndarray) -> int:
    places = np.flatnonzero(occupied)
    return int(places[-1] - places[0]) + 1


def _middle(occupied: Tensor) -> Tensor:
    """(N, L) of 0 and 1 -> (N,) the middle between the first and the last 1."""
    length = occupied.shape[1]
    return (occupied.argmax(1) + length - occupied.flip(1).argmax(1)) / 2


def _rim(side: int) -> int:
    return max(4, round(RIM * side))
