"""uint8 pixels, float pixels and PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torchvision.utils import make_grid

from braingan.data.files import replacing

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


def write_png(path: Path, image: Tensor, text: Mapping[str, str]) -> None:
    """Write (C, H, W) uint8 as a PNG with text chunks, whole or not at all."""
    info = PngInfo()
    for key, value in text.items():
        info.add_text(key, value)
    with replacing(path) as beside:
        to_picture(image).save(beside, format="PNG", pnginfo=info)


def grid(images: Tensor, columns: int) -> Tensor:
    """(N, C, H, W) uint8 -> one (3 or 1, height, width) uint8 picture with `columns` images in a row."""
    shown = images[:, :3] if images.shape[1] != 2 else images[:, :1]
    picture: Tensor = make_grid(shown, nrow=columns, padding=2)
    return picture
