"""An image -> numbers that should say nothing of its class, and numbers that may."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from braingan.data.preprocessing import foreground_mask

WORK = 256  # longest side in pixels at which pixels are measured
CORNER = 0.08  # side of a corner, as a share of the image's
BRIGHT = 255.0
DIM = 10.0  # of 255, above the darkest pixels: what may be head
HEAD_FROM = 0.25  # of the median brightness of that

# What no tumour can change: the file, the frame, and where the head lies in it.
BLIND = (
    "width", "height", "aspect", "colour mode", "transparency or palette", "JPEG file", "JPEG quality",
    "border brightness", "border variation", "corner brightness", "background noise",
    "head left edge", "head top edge", "head width", "head height", "head area",
)  # fmt: skip
# What a tumour may change as well as a scanner: never counted as serious.
APPEARANCE = ("mean brightness", "median brightness", "contrast", "bright tail", "dark tail", "sharpness", "edges")


def blind_statistics(path: Path | None, pixels: np.ndarray) -> list[float]:
    """Statistics that no tumour can change, in the order of `BLIND`.

    Args:
        path: the picture file; None for a slice of a volume, which has no file of its own.
        pixels: (height, width, channels) float32, 0 to 255 for 8-bit files.
    """
    height, width = pixels.shape[:2]
    grey = _grey(pixels)
    size = [math.log2(width), math.log2(height), math.log2(width / height)]
    return [*size, *_file(path), *_frame(grey), *_place(_head(grey))]


def appearance_statistics(pixels: np.ndarray) -> list[float]:
    """Statistics of intensity and sharpness within the head, in the order of `APPEARANCE`."""
    grey = _grey(pixels)
    mask = foreground_mask(grey[:, :, None])
    inside = grey[mask] if mask.any() else grey.ravel()
    middle = float(np.median(inside))
    spread = float(inside.std()) + 1e-6
    low, high = np.percentile(inside, (5, 95))
    details = ndimage.laplace(grey)[mask] if mask.any() else np.zeros(1)
    edges = ndimage.gaussian_gradient_magnitude(grey, 1.0)[mask] if mask.any() else np.zeros(1)
    return [float(inside.mean()), middle, spread, float(high - middle) / spread, float(middle - low) / spread,
            math.log1p(float(details.std()) / spread), math.log1p(float(edges.mean()) / spread)]  # fmt: skip


def _grey(pixels: np.ndarray) -> np.ndarray:
    """(height, width) float32 at most `WORK` pixels a side, on a scale of 0 to 255."""
    wide = pixels.mean(axis=2, dtype=np.float64)  # float images may use their whole range
    low, high = float(wide.min()), float(wide.max())
    if low < 0 or high > BRIGHT:  # not 8-bit: the scale is the image's own
        wide = (wide - low) / max(high - low, 1e-6) * BRIGHT
    grey = wide.astype(np.float32)
    height, width = grey.shape
    scale = WORK / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        grey = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX))
    scaled: np.ndarray = grey
    return scaled


def _file(path: Path | None) -> list[float]:
    """Colour, transparency or palette, JPEG, and the logarithm of its mean quantisation step (less is better)."""
    if path is None:
        return [0.0, 0.0, 0.0, 0.0]
    with Image.open(path) as image:
        tables = getattr(image, "quantization", None) or {}
        step = float(np.mean(tables[0])) if 0 in tables else 1.0
        return [
            float(image.mode in {"RGB", "RGBA", "P", "CMYK"}),
            float(image.mode in {"RGBA", "LA", "P", "PA"}),
            float(image.format == "JPEG"),
            math.log2(step),
        ]


def _frame(grey: np.ndarray) -> list[float]:
    # the darkest side: a head that reaches one edge of the picture is no frame
    border = min((grey[0], grey[-1], grey[:, 0], grey[:, -1]), key=lambda side: float(side.mean()))
    rows, columns = (max(1, round(side * CORNER)) for side in grey.shape)
    ends = [(slice(0, rows), slice(-rows, None)), (slice(0, columns), slice(-columns, None))]
    corners = [grey[y, x] for y, x in itertools.product(*ends)]
    quiet = min(float(corner.std()) for corner in corners)
    return [float(border.mean()), float(border.std()), float(np.median([corner.mean() for corner in corners])),
            math.log1p(quiet)]  # fmt: skip


def _head(grey: np.ndarray) -> np.ndarray:
    """Where the head is, by a threshold that a bright tumour does not move: a share of the median of what is bright."""
    low = float(np.percentile(grey, 1))
    bright = grey[grey > low + DIM]
    if not bright.size:
        return np.zeros_like(grey, bool)
    mask = ndimage.uniform_filter(grey, 3) > low + HEAD_FROM * (float(np.median(bright)) - low)
    pieces, _ = ndimage.label(mask)
    largest: np.ndarray = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1 if mask.any() else mask
    filled: np.ndarray = ndimage.binary_fill_holes(largest)
    return filled


def _place(mask: np.ndarray) -> list[float]:
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return [0.0, 0.0, 1.0, 1.0, 1.0]
    return [
        columns[0] / width,
        rows[0] / height,
        (columns[-1] + 1 - columns[0]) / width,
        (rows[-1] + 1 - rows[0]) / height,
        float(mask.mean()),
    ]
