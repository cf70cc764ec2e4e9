"""A lesion: where it lies, how it is shaped in three dimensions, and what it does to the brain around it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from .anatomy import Head
from .fields import Field, Grid, Lattice, ellipse, soft, stream

Kind = Literal["solid", "ring", "diffuse"]

HEIGHT_UNIT = 0.85  # head units from the thalamus to the top of the brain


@dataclass(frozen=True)
class Tumor:
    """One lesion.

    Attributes:
        kind: What it looks like; see `acquisition.LESIONS`.
        place: Of its axis, u and v as shares of the head's size at each height.
        radii: Of its widest section along and across, in head units.
        angle: Of that section, in radians.
        level: Height of its middle.
        reach: From there to its tips, as a difference of heights.
        edema: Reach of the oedema by that of the core.
        conspicuity: 1 shows the signals of the table, 0 would show nothing.
        push: How strongly it pushes the brain aside, from 0.
        ragged: How irregular its edge is, as a share of the radius.
        rough: Noise of its edge and inside.
    """

    kind: Kind
    place: tuple[float, float]
    radii: tuple[float, float]
    angle: float
    level: float
    reach: float
    edema: float
    conspicuity: float
    push: float
    ragged: float
    rough: Lattice

    @classmethod
    def draw(cls, seed: int, patient: int, levels: list[float]) -> Tumor:
        """Draw a patient's tumour, which crosses at least one of the levels but not all of them."""
        random = stream(seed, patient, 1)
        even = random.uniform
        kind: Kind = random.choice(np.array(get_args(Kind)))
        radius, side = even(0.15, 0.30), float(random.choice([-1.0, 1.0]))
        reach = min(even(1.1, 1.8) * radius / HEIGHT_UNIT, 0.44 * (levels[-1] - levels[0]))
        return cls(
            kind=kind,
            place=(side * even(0.20, 0.42), even(-0.48, 0.48)),
            radii=(radius * even(0.75, 1.0), radius * even(1.0, 1.25)),
            angle=even(-1.5, 1.5),
            level=float(random.choice(np.array(levels))),
            reach=reach,
            edema=even(1.2, 2.0),
            conspicuity=even(0.8, 1.0),
            push=even(0.0, 0.35),
            ragged=even(0.10, 0.28),
            rough=Lattice.draw(random, 20, 20, heights=9),
        )

    def section(self, height: float) -> float:
        """Size of the tumour at a height as a share of its largest; 0 where the slice misses it.

        The shape is blunt and its tips are cut off: a slice either shows a clear section or nothing.
        """
        away = abs(height - self.level) / self.reach
        return float((1 - away**4) ** 0.25) if away < 0.93 else 0.0

    def away(self, grid: Grid, scale: float) -> Field:
        """Relative distance from the tumour's axis, 1 on the edge of its widest section."""
        centre = (self.place[0] * scale, self.place[1] * scale)
        return ellipse(grid.u, grid.v, centre, self.radii, self.angle)

    def push_aside(self, grid: Grid, depth: Field, height: float, scale: float) -> Grid:
        """Where the tissue at each pixel would lie without the tumour: the brain gives way, the skull does not."""
        share = self.section(height)
        if share == 0:
            return grid
        away = self.away(grid, scale) / share
        loss = self.push * np.exp(-((away / 1.6) ** 2)) * np.clip((depth - 0.10) / 0.25, 0, 1)
        u = grid.u - loss * (grid.u - self.place[0] * scale)
        v = grid.v - loss * (grid.v - self.place[1] * scale)
        return replace(grid, u=u, v=v)


@dataclass(frozen=True)
class Lesion:
    """A tumour in one slice: coverages (N, N) of its mask, and of what is seen of its parts."""

    kind: Kind
    mask: Field
    core: Field
    rim: Field
    edema: Field


def draw_lesion(tumor: Tumor, height: float, scale: float, inner: Grid, head: Head) -> Lesion:
    """Draw a tumour's core, its rim and the oedema around it in the white matter.

    `inner` is the grid as the tumour has bent it, which carries the midline: a tumour stays on its side.
    """
    share, radius, size = tumor.section(height), min(tumor.radii), inner.size
    rough = np.clip(tumor.rough.on_frame(height, size), -2, 2)
    patches = np.clip(tumor.rough.on_frame(1 - height, size), -2, 2)
    within = head.brain * soft(math.copysign(1, tumor.place[0]) * inner.u, 0.03)
    away = tumor.away(inner, scale) * (1 + tumor.ragged * rough)
    core = soft((share - away) * radius, 2 * inner.pixel if tumor.kind != "diffuse" else 0.07) * within
    rim = soft((0.14 - np.abs(share - 0.14 - away)) * radius, 2 * inner.pixel) * within
    wide = share * tumor.edema * (1 + 0.25 * np.minimum(patches, 0.6))
    edema = soft((wide - away) * radius, 0.10) * within * (0.15 + 0.85 * head.white)
    patchy = 1 - 0.2 * np.clip(patches + 0.5, 0, 1.5)
    seen = tumor.conspicuity
    return Lesion(tumor.kind, core, seen * core * patchy, seen * rim * patchy, seen * edema)
