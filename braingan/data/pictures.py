"""uint8 pixels, float pixels and PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from braingan.data.files import replacing

GAP = 2  # black pixels around each image of a grid
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def to_uint8(images: Tensor) -> Tensor:
    """Float pixels in [-1, 1] -> uint8 pixels in 0..255, any shape."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_float(images: Tensor) -> Tensor:
    """Uint8 pixels in 0..255 -> float32 pixels in [-1, 1], any shape."""
    return images.float() / 127.5 - 1


def to_picture(image: Tensor) -> Image.Image:
    """(C, H, W) uint8 with 1, 3 or 4 channels -> a PIL image of mode L, RGB or RGBA."""
    pixels = image.movedim(0, -1).numpy()
    return Image.fromarray(pixels[:, :, 0] if image.shape[0] == 1 else pixels)


def from_picture(image: Image.Image) -> Tensor:
    """A PIL image of 8 bits -> (C, H, W) uint8."""
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.ndim == 2 else pixels.movedim(-1, 0)


def write_png(path: Path, image: Tensor, text: Mapping[str, str]) -> None:
    """Write (C, H, W) uint8 as a PNG with text chunks, whole or not at all."""
    info = PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    with replacing(path) as beside:
        to_picture(image).save(beside, format="PNG", pnginfo=info)


def grid(images: Tensor, columns: int) -> Tensor:
    """(N, C, H, W) uint8 -> one (3, height, width) uint8 picture with `columns` images in a row."""
    shown = images[:, :3] if images.shape[1] > 2 else images[:, :1].expand(-1, 3, -1, -1)
    count, _, height, width = shown.shape
    columns = min(columns, count)
    picture = shown.new_zeros(3, -(-count // columns) * (height + GAP) + GAP, columns * (width + GAP) + GAP)
    for number, image in enumerate(shown):
        row, column = divmod(number, columns)
        top, left = row * (height + GAP) + GAP, column * (width + GAP) + GAP
        picture[:, top : top + height, left : left + width] = image
    return picture
