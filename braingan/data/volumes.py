"""What readers of scientific files share: which files there are, planes as radiologists see them, what is no air."""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from scipy import ndimage

from braingan.data.findings import Findings
from braingan.data.walking import file_problem, name_problem, names_below, printable
from braingan.errors import DataError

AXES = ("sagittal", "coronal", "axial")  # in the order of a volume's axes: to the right, the front, the top
SQUARE_ENOUGH = 1.05  # how much longer than wide a pixel may be before the plane is resized
AIR = 0.05  # how far from the background a voxel must be, as a share of the range of intensities
NEARLY_EQUAL = 0.02  # of that, what counts as no difference
MOST_COUNTED = 1_000_000  # voxels suffice for percentiles

P = ParamSpec("P")
T = TypeVar("T")


def files_below(data: Path, findings: Findings, endings: tuple[str, ...] = ()) -> list[str]:
    """Names of all files that are not hidden, relative, with forward slashes, sorted.

    Args:
        data: the folder.
        findings: receives what cannot be opened or named.
        endings: only files whose names end so, in lower case; none: all files.
    """
    good = []
    for name in names_below(data):
        if endings and not name.lower().endswith(endings):
            continue
        if wrong := name_problem(name) or file_problem(data / name):
            findings.add(printable(name), wrong)
        else:
            good.append(name)
    return good


def need_package(package: str, extra: str, data: Path) -> None:
    """Raise a `DataError` where a package is missing that the format needs."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise DataError(f"{data}: needs {package}; pip install 'braingan[{extra}]' installs it") from error


def one_line(error: BaseException) -> str:
    """What an exception says."""
    return " ".join(str(error).split()) or type(error).__name__


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written anew."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def remember_latest(read: Callable[P, T]) -> Callable[P, T]:
    """Keep what was read last, for each thread of its own.

    The slices of a volume are asked for one after another and each patient is one thread's, so this suffices
    to decompress a volume once. It takes one volume a thread, and ends with the thread.
    """
    kept = threading.local()

    @functools.wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        key = (args, tuple(sorted(kwargs.items())))
        if getattr(kept, "key", None) != key:
            kept.key = kept.value = None  # frees the one before the next is read
            kept.value = read(*args, **kwargs)
            kept.key = key
        value: T = kept.value
        return value

    return reading


def plane(voxels: np.ndarray, axis: str, index: int) -> np.ndarray:
    """A slice as radiologists see it: front or top up, the patient's right (or front) at the left.

    Args:
        voxels: (to the right, to the front, to the top), as nibabel's closest canonical orientation has them.
        axis: `axial`, `coronal` or `sagittal`.
        index: counted from the bottom, the back or the left.
    """
    return _cut(voxels, AXES.index(axis), index).T[::-1, ::-1]


def _cut(voxels: np.ndarray, axis: int, index: int) -> np.ndarray:
    """A view: `np.take` would copy the whole volume where it is stored in another order."""
    cut: np.ndarray = voxels[(slice(None),) * axis + (index,)]
    return cut


def plane_spacing(spacing: np.ndarray, axis: str) -> tuple[float, float]:
    """Height and width of the pixels of a plane, from the sides of a voxel."""
    columns, rows = np.delete(spacing, AXES.index(axis))
    return float(rows), float(columns)


def square_factors(spacing: tuple[float, float]) -> tuple[float, float]:
    """By what to stretch rows and columns so that pixels are square; the finer spacing is kept.

    >>> square_factors((3.0, 1.0)), square_factors((1.0, 1.04))
    ((3.0, 1.0), (1.0, 1.0))
    """
    finest = min(spacing)
    if max(spacing) <= SQUARE_ENOUGH * finest:
        return 1.0, 1.0
    return spacing[0] / finest, spacing[1] / finest


def square(pixels: np.ndarray, spacing: tuple[float, float], order: int) -> np.ndarray:
    """The plane with square pixels.

    Args:
        pixels: (rows, columns).
        spacing: height and width of a pixel.
        order: 1 to interpolate, 0 to keep the values that there are.
    """
    factors = square_factors(spacing)
    if factors == (1.0, 1.0):
        return pixels
    resized: np.ndarray = ndimage.zoom(pixels, factors, order=order, mode="nearest", grid_mode=True)
    return resized


def foreground(voxels: np.ndarray) -> np.ndarray:
    """Which voxels are no air: (same shape) bool.

    The background is what is most common on the faces of the volume, be it 0, noise, or the lowest value of a
    volume whose tissue was brought to mean 0. The foreground differs from it by more than a twentieth of the range.
    Where the air was set to one value and tissue lies on both sides of it (it was brought to mean 0), some tissue
    is near it: there all that differs is foreground.
    """
    low, high = _range(voxels)
    if high <= low:
        return np.zeros(voxels.shape, dtype=bool)
    (background, share), far = _background(voxels, low, high), AIR * (high - low)
    if low + far < background < high - far and share > 0.5:
        far *= NEARLY_EQUAL
    differs: np.ndarray = np.abs(voxels - background) > far
    return differs


def foreground_shares(voxels: np.ndarray, axis: str) -> np.ndarray:
    """For each slice, the share of its pixels that are foreground."""
    others = tuple(other for other in range(3) if other != AXES.index(axis))
    shares: np.ndarray = foreground(voxels).mean(axis=others)
    return shares


def _range(voxels: np.ndarray) -> tuple[float, float]:
    """Percentiles 1 and 99; the extremes where nearly all voxels are alike."""
    some = voxels.ravel()[:: 1 + voxels.size // MOST_COUNTED]
    low, high = (float(value) for value in np.percentile(some, (1, 99)))
    return (low, high) if high > low else (float(voxels.min()), float(voxels.max()))


def _background(voxels: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """The middle of the fullest hundredth of the range, on the faces; and the share of them that equals it."""
    faces = np.concatenate([_cut(voxels, axis, end).ravel() for axis in range(3) for end in (0, -1)])
    bins = np.clip((faces - low) / (high - low) * 100, 0, 99).astype(np.int64)
    background = np.median(faces[bins == np.bincount(bins).argmax()])
    return float(background), float((faces == background).mean())
