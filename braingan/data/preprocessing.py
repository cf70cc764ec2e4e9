"""What MRI needs before a network sees it, as one small explicit object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from PIL import Image
from scipy import ndimage

from braingan.data.files import fingerprint
from braingan.errors import SettingsError

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; may reach beyond the image


@dataclass(frozen=True)
class Preprocessing:
    """Crop to the head, normalise the intensity, resize. Recorded in every run and undone by nobody.

    The unit is a volume: the slices of one patient together where the patient is known, else one image.
    So a slice keeps its size and brightness relative to its neighbours.

    Attributes:
        size: height and width of the result in pixels.
        channels: 1 for grey, 3 for colour.
        crop: whether to crop to a square around the foreground.
        margin: what the square adds around the foreground, as a share of its side.
        percentiles: intensities that become 0 and 255: the lower of all pixels of the volume, the upper
            of its foreground (so that the amount of black around the head does not matter).
    """

    size: int = 64
    channels: int = 1
    crop: bool = True
    margin: float = 0.04
    percentiles: tuple[float, float] = (1.0, 99.0)

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 1024:
            raise SettingsError(f"size {self.size} was asked; 8 to 1024 pixels work")
        if self.channels not in {1, 3}:
            raise SettingsError(f"{self.channels} channels were asked; images are prepared as grey (1) or colour (3)")

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dictionary."""
        return asdict(self) | {"percentiles": list(self.percentiles)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """From what `to_json` gave."""
        return cls(**(value | {"percentiles": tuple(value["percentiles"])}))

    @property
    def fingerprint(self) -> str:
        """What a prepared PNG says of its preparation, in its text chunk `Preprocessing`."""
        return fingerprint(self.to_json())[:16]

    def __call__(self, slices: Sequence[np.ndarray]) -> np.ndarray:
        """Prepare the slices of one volume.

        Args:
            slices: each (height, width, channels), float32, finite; sizes may differ.

        Returns:
            (N, channels, size, size) uint8.
        """
        return self.with_masks(slices, [None] * len(slices))[0]

    def with_masks(
        self, slices: Sequence[np.ndarray], masks: Sequence[np.ndarray | None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Prepare the slices of one volume and, with the same geometry, where their tumours are.

        A pixel belongs to the tumour where at least half of it is covered. Of a tumour too small for that, the
        pixels that it covers most are kept; one that lies outside the square leaves nothing.

        Args:
            slices: see `__call__`.
            masks: one a slice: (height, width) bool, as large as the slice; None where it is not known.

        Returns:
            (N, channels, size, size) uint8 and (N, size, size) bool, all False where a mask is None.
        """
        boxes = self._boxes(slices)
        low, high = self._window(slices)
        images = [self._prepare(pixels, box, low, high) for pixels, box in zip(slices, boxes, strict=True)]
        prepared = np.zeros((len(slices), self.size, self.size), np.bool_)
        for number, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
            if mask is not None and mask.any():
                prepared[number] = self._prepare_mask(mask, box)
        return np.stack(images), prepared

    def _boxes(self, slices: Sequence[np.ndarray]) -> list[Box]:
        """A square for each slice, one for all slices of a size."""
        if not self.crop:
            return [(0, 0, pixels.shape[1], pixels.shape[0]) for pixels in slices]
        by_shape: dict[tuple[int, ...], list[Box]] = {}
        for pixels in slices:
            box = foreground_box(pixels)
            by_shape.setdefault(pixels.shape, []).extend([box] if box else [])
        squares = {
            shape: square_around(_union(boxes or [(0, 0, shape[1], shape[0])]), self.margin)
            for shape, boxes in by_shape.items()
        }
        return [squares[pixels.shape] for pixels in slices]

    def _window(self, slices: Sequence[np.ndarray]) -> tuple[float, float]:
        pixels = np.concatenate([values.ravel() for values in slices])
        foreground = np.concatenate([values[foreground_mask(values)].ravel() for values in slices])
        low = float(np.percentile(pixels, self.percentiles[0]))
        high = float(np.percentile(foreground if foreground.size else pixels, self.percentiles[1]))
        return low, high

    def _prepare(self, pixels: np.ndarray, box: Box, low: float, high: float) -> np.ndarray:
        scaled = (pixels - low) / max(high - low, 1e-6) * 255.0
        bands = [
            Image.fromarray(np.clip(scaled[:, :, band], 0, 255))
            .crop(box)
            .resize((self.size, self.size), Image.Resampling.LANCZOS)
            for band in range(pixels.shape[2])
        ]
        stacked = np.rint(np.stack([np.asarray(band) for band in bands]))
        prepared: np.ndarray = np.clip(stacked, 0, 255).astype(np.uint8)
        return prepared

    def _prepare_mask(self, mask: np.ndarray, box: Box) -> np.ndarray:
        left, top, right, bottom = box
        rows, columns = (
            _overlaps(start, stop, self.size, pixels)
            for start, stop, pixels in zip((top, left), (bottom, right), mask.shape, strict=True)
        )
        # rounded, so that halves and equals are found whatever the order of summation
        coverage = (rows @ mask.astype(np.float64) @ columns.T).round(9)
        prepared: np.ndarray = (coverage > 0) & (coverage >= min(0.5, coverage.max()))
        return prepared


def foreground_mask(pixels: np.ndarray) -> np.ndarray:
    """Where the head is, and no burnt-in text.

    Args:
        pixels: (height, width, channels).

    Returns:
        (height, width) bool: the largest connected piece of what is brighter, after a little smoothing,
        than a tenth of the way from the darkest pixels to the brightest. Nowhere, where that is next to
        nothing: the slices at the ends of a volume can be black.
    """
    grey = ndimage.uniform_filter(pixels.mean(axis=2), size=3)
    low, high = np.percentile(grey, (1.0, 99.0))
    mask: np.ndarray = grey > low + 0.1 * (high - low)
    if mask.mean() <= 0.02:
        return np.zeros_like(mask)
    pieces, _ = ndimage.label(mask)
    largest: np.ndarray = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    return largest


def foreground_box(pixels: np.ndarray) -> Box | None:
    """The rectangle around the head; None where there is none."""
    mask = foreground_mask(pixels)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def square_around(box: Box, margin: float) -> Box:
    """The square with the same centre that holds the rectangle and a margin."""
    left, top, right, bottom = box
    side = round(max(right - left, bottom - top) * (1 + 2 * margin))
    left, top = (left + right - side) // 2, (top + bottom - side) // 2
    return left, top, left + side, top + side


def _overlaps(start: int, stop: int, parts: int, pixels: int) -> np.ndarray:
    """How much of each of the equal parts of a stretch lies in each pixel of a line: (parts, pixels), 0 to 1."""
    edges, line = np.linspace(start, stop, parts + 1)[:, None], np.arange(pixels)
    shared = np.minimum(edges[1:], line + 1) - np.maximum(edges[:-1], line)
    overlaps: np.ndarray = np.maximum(shared, 0) * parts / (stop - start)
    return overlaps


def _union(boxes: Sequence[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
