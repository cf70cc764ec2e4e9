"""The drawing tools: where each pixel lies, smooth noise over it, and soft-edged shapes.

Lengths are in head units: half the length of the head from forehead to nape, about 90 mm. `u` runs
from left to right, `v` from front to back, and `height` from 0 (thalamus) to 1 (top of the brain).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]

OVERSAMPLING = 2  # drawn at twice the size: sulci are thinner than a pixel


def stream(seed: int, *keys: int) -> np.random.Generator:
    """Random numbers that depend on nothing but the seed and the keys (patient, purpose, slice)."""
    return np.random.default_rng([seed, *keys])


def soft(distance: Field, width: float) -> Field:
    """Coverage in [0, 1] of a shape from the signed distance to its edge, positive inside."""
    cover: Field = np.clip(distance / np.float32(width) + np.float32(0.5), 0.0, 1.0)
    return cover


def ramp(low: float, high: float, value: float) -> float:
    """0 below low, 1 above high, smooth between."""
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)


def ellipse(u: Field, v: Field, centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0) -> Field:
    """Relative radius: 0 at the centre, 1 on the edge."""
    cos, sin = math.cos(angle), math.sin(angle)  # numpy's are of double precision, which spreads
    along = (cos * (u - centre[0]) + sin * (v - centre[1])) / radii[0]
    across = (cos * (v - centre[1]) - sin * (u - centre[0])) / radii[1]
    radius: Field = np.sqrt(along * along + across * across)
    return radius


def to_segment(u: Field, v: Field, start: tuple[float, float], end: tuple[float, float]) -> Field:
    """Distance to a line segment."""
    du, dv = end[0] - start[0], end[1] - start[1]
    along = np.clip(((u - start[0]) * du + (v - start[1]) * dv) / (du * du + dv * dv), 0.0, 1.0)
    return np.hypot(u - start[0] - along * du, v - start[1] - along * dv)


@dataclass(frozen=True)
class Pose:
    """How the head lies in the field of view: radians, head units, and half the view's width."""

    angle: float
    shift: tuple[float, float]
    view: float


@dataclass(frozen=True)
class Grid:
    """The drawing canvas.

    Attributes:
        u: Left to right in head units, (N, N).
        v: Front to back, the same.
        pixel: What one pixel of the canvas measures, in head units.
        size: Of the image to be made, in pixels; the canvas has OVERSAMPLING times as many.
    """

    u: Field
    v: Field
    pixel: float
    size: int

    @classmethod
    def of(cls, pose: Pose, size: int) -> Grid:
        """Lay a canvas for an image of size x size pixels, oversampled."""
        axis = frame_axis(size) * np.float32(pose.view)
        x = axis[None, :] - np.float32(pose.shift[0])
        y = axis[:, None] - np.float32(pose.shift[1])
        cos, sin = np.float32(np.cos(pose.angle)), np.float32(np.sin(pose.angle))
        return cls(cos * x + sin * y, cos * y - sin * x, 2 * pose.view / (size * OVERSAMPLING), size)


def frame_axis(size: int) -> Field:
    """Centres of the oversampled pixels along one side of the image, from -1 to 1."""
    count = size * OVERSAMPLING
    axis: Field = ((2 * np.arange(count) + 1) / count - 1).astype(np.float32)
    return axis


def shrink(image: Field) -> Field:
    """From the canvas to the image: the mean of each block of pixels."""
    size = image.shape[0] // OVERSAMPLING
    small: Field = image.reshape(size, OVERSAMPLING, size, OVERSAMPLING).mean(axis=(1, 3))
    return small


def _spline(offset: Field) -> Field:
    """Cubic B-spline."""
    far = np.abs(offset)
    near = 2 / 3 - far * far * (1 - far / 2)
    return np.where(far < 1, near, np.clip(2 - far, 0, None) ** 3 / 6)


@dataclass(frozen=True)
class Lattice:
    """Smooth noise of about unit variance in three dimensions: B-splines on random knots.

    Attributes:
        knots: (heights, rows, columns).
        wrap: The rows close into a ring.
    """

    knots: Field
    wrap: bool = False

    @classmethod
    def draw(cls, random: np.random.Generator, rows: int, columns: int, *, heights: int, wrap: bool = False) -> Lattice:
        """Draw the knots; more of them make finer noise."""
        # A B-spline averages its knots: 1.45 per axis makes up for the variance lost.
        return cls((1.45**3 * random.standard_normal((heights, rows, columns))).astype(np.float32), wrap)

    def over(self, height: float, rows: int, columns: int) -> Field:
        """Noise at one height on a grid of rows x columns."""
        share = _spline(height * (len(self.knots) - 3) + 1 - np.arange(len(self.knots), dtype=np.float32))
        plane = np.tensordot(share, self.knots, axes=1)
        noise: Field = _weights(rows, plane.shape[0], self.wrap) @ plane @ _weights(columns, plane.shape[1]).T
        return noise

    def on_frame(self, height: float, size: int) -> Field:
        """Noise at one height over the whole canvas: (N, N)."""
        return self.over(height, size * OVERSAMPLING, size * OVERSAMPLING)


@lru_cache(maxsize=32)
def _weights(points: int, knots: int, wrap: bool = False) -> Field:
    """Share of each knot at each of evenly spread points: (points, knots)."""
    if wrap:
        offset = np.arange(points, dtype=np.float32)[:, None] * (knots / points) - np.arange(knots, dtype=np.float32)
        return _spline((offset + knots / 2) % knots - knots / 2)
    places = (np.arange(points, dtype=np.float32)[:, None] + 0.5) / points
    return _spline(places * (knots - 3) + 1 - np.arange(knots, dtype=np.float32))
