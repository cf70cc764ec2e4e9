"""An image -> its view: the head in a standard frame, small, the same whatever the file's size or brightness."""

from __future__ import annotations

import numpy as np
from PIL import Image

VIEW = 64  # pixels a side
REACH = 2.0  # half the side of the frame, in standard deviations of the brightness about its centre
AIR = 0.1  # of the range of intensities: air is noise, and there may be any amount of it around a head
WORK = 256  # longest side in pixels that is looked at
FLAT = 1e-3  # a range of intensities, as a share of the largest value, that shows nothing

Frame = tuple[float, float, float, float]  # left, top, right, bottom in pixels; may reach beyond the image


def view_of(pixels: np.ndarray) -> np.ndarray:
    """The standard view of an image.

    The frame is centred on the centre of brightness and as wide and high as its spread, so it hardly depends on
    the margin around the head, on noise or on compression, as the box around a thresholded head does.

    Args:
        pixels: (height, width, channels), finite, on any scale; channels are averaged.

    Returns:
        (VIEW, VIEW) uint8; all zero where the image shows nothing (one colour, or too small to tell).
    """
    grey = pixels[:, :, 0].astype(np.float32) if pixels.shape[2] == 1 else pixels.mean(axis=2).astype(np.float32)
    largest = float(np.abs(grey).max(initial=0))
    if largest > 1e9:  # float images may use their whole range, and squares would overflow
        grey = grey / np.float32(largest)
    blank = np.zeros((VIEW, VIEW), np.uint8)
    if min(grey.shape) < 8:
        return blank
    grey = _small(grey)
    low, high = np.percentile(grey, (1.0, 99.5))
    if high - low <= FLAT * max(abs(low), abs(high)):
        return blank
    weights = np.clip((grey - low) / (high - low) - AIR, 0, 1)
    framed = _cut(grey, _frame(weights))
    low, high = np.percentile(framed, (1.0, 99.0))
    if high <= low:
        return blank
    view: np.ndarray = np.rint(np.clip((framed - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return view


def _small(grey: np.ndarray) -> np.ndarray:
    height, width = grey.shape
    scale = WORK / max(height, width)
    if scale >= 1:
        return grey
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX))


def _frame(weights: np.ndarray) -> Frame:
    rows, columns = weights.sum(axis=1), weights.sum(axis=0)
    (y, height), (x, width) = _moments(rows), _moments(columns)
    return x - REACH * width, y - REACH * height, x + REACH * width, y + REACH * height


def _moments(weights: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the place, in pixels; the spread is at least one."""
    places = np.arange(len(weights)) + 0.5
    total = weights.sum()
    mean = float((weights * places).sum() / total)
    return mean, max(1.0, float(np.sqrt((weights * (places - mean) ** 2).sum() / total)))


def _cut(grey: np.ndarray, frame: Frame) -> np.ndarray:
    """The frame at twice the size, halved: Pillow's `transform` does not filter on its own."""
    image = Image.fromarray(grey - grey.min())  # what lies outside is filled with 0: the darkest value
    large = image.transform((2 * VIEW, 2 * VIEW), Image.Transform.EXTENT, frame, Image.Resampling.BILINEAR)
    view: np.ndarray = np.asarray(large).reshape(VIEW, 2, VIEW, 2).mean(axis=(1, 3))
    return view
