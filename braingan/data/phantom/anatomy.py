"""A patient's own head: the shapes of its tissues at every height, without any lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .fields import Field, Grid, Lattice, Pose, ellipse, ramp, soft, stream, to_segment

Layers = list[tuple[str, Field]]  # (tissue, coverage), painted one over the other

FOLD_DEPTHS = 0.4  # how far below the surface the noise of the folds is drawn
_AROUND, _INWARDS = 720, 48  # samples of that noise around a hemisphere and inwards

_VENTRICLE_PARTS = ((-0.29, 0.10), (0.02, 0.34), (0.40, 0.12))  # centre and reach of horn, body, atrium along v


@dataclass(frozen=True)
class Anatomy:
    """What makes one head differ from another, in head units unless said otherwise.

    Attributes:
        pose: How it lies in the field of view.
        aspect: Width by length.
        egg: How much wider it is behind than in front, as a share.
        outline: Low harmonics of the outline, as shares of the radius.
        scalp: Thickness.
        skull: Thickness.
        csf: Width of the space around the brain.
        cortex: Thickness.
        sulci: Half their width at the surface.
        ventricles: Width of the left and the right one about 1.
        roof: Height at which the ventricles end.
        bend: How far the midline bows to one side.
        folds: Noise whose zero lines are the sulci.
        depths: Noise of how deep they go.
        ripple: Noise that keeps the shells of the head from being smooth.
        spots: White-matter lesions of age, (N, 4): angle, share of the radius, height, radius.
        vessels: The same.
        heights: Of the lowest and the highest slice.
    """

    pose: Pose
    aspect: float
    egg: float
    outline: tuple[float, float, float]
    scalp: float
    skull: float
    csf: float
    cortex: float
    sulci: float
    ventricles: tuple[float, float]
    roof: float
    bend: float
    folds: Lattice
    depths: Lattice
    ripple: Lattice
    spots: Field
    vessels: Field
    heights: tuple[float, float]

    @classmethod
    def draw(cls, seed: int, patient: int) -> Anatomy:
        """Draw a patient's anatomy: the same for the same seed and patient."""
        random = stream(seed, patient, 0)
        even, age = random.uniform, random.uniform()
        width = even(0.75, 1.0) + 0.9 * age**2  # the old have wider ventricles and sulci, and more spots
        return cls(
            pose=Pose(even(-0.12, 0.12), (even(-0.05, 0.05), even(-0.05, 0.05)), even(1.12, 1.26)),
            aspect=even(0.76, 0.86),
            egg=even(0.02, 0.08),
            outline=(even(-0.012, 0.012), even(-0.012, 0.012), even(-0.008, 0.008)),
            scalp=even(0.05, 0.085),
            skull=even(0.034, 0.055),
            csf=0.006 + 0.022 * age,
            cortex=even(0.034, 0.042),
            sulci=even(0.006, 0.009) + 0.009 * age,
            ventricles=(width * even(0.8, 1.2), width * even(0.8, 1.2)),
            roof=even(0.42, 0.50),
            bend=even(-0.015, 0.015),
            folds=Lattice.draw(random, 46, 8, heights=24, wrap=True),
            depths=Lattice.draw(random, 14, 4, heights=18, wrap=True),
            ripple=Lattice.draw(random, 18, 18, heights=9),
            spots=_draw_spots(random, round(2 + 14 * age)),
            vessels=_draw_spots(random, 8),
            heights=(even(0.0, 0.06), even(0.80, 0.90)),
        )

    def levels(self, slices: int) -> list[float]:
        """Heights of the slices, from the bottom up."""
        return [float(level) for level in np.linspace(*self.heights, slices)]

    def scale(self, height: float) -> float:
        """Size of the head at a height, as a share of its largest."""
        return float((1 - (0.88 * height) ** 2.4) ** 0.5)

    def depth(self, grid: Grid, height: float) -> Field:
        """Distance inwards from the skin."""
        angle = np.linspace(-np.pi, np.pi, 721)
        radius = self.aspect / np.sqrt(np.cos(angle) ** 2 * self.aspect**2 + np.sin(angle) ** 2)
        radius *= 1 - self.egg * np.cos(angle) * np.sin(angle) ** 2
        for order, share in enumerate(self.outline, start=2):
            radius += share * np.cos(order * angle + 7 * share / 0.012)
        edge = np.interp(np.arctan2(grid.u, -grid.v), angle, self.scale(height) * radius).astype(np.float32)
        depth: Field = edge - np.hypot(grid.u, grid.v)
        return depth

    def slant(self, height: float) -> float:
        """How much thicker the shells of the head look where the slice cuts them at a slant."""
        return float(min(1.0 / np.sqrt(1 - min(0.80 * height, 0.95) ** 2), 1.8))


def _draw_spots(random: np.random.Generator, count: int) -> Field:
    """Draw small round things: (count, 4) of angle, share of the radius, height, radius."""
    low, high = (-np.pi, 0.25, 0.0, 0.012), (np.pi, 0.75, 0.9, 0.034)
    return random.uniform(low, high, (count, 4)).astype(np.float32)


@dataclass(frozen=True)
class Head:
    """One slice: coverages (N, N) of what lies in it, painted in the order of the layers."""

    layers: Layers
    brain: Field
    white: Field


def draw_head(anatomy: Anatomy, height: float, grid: Grid, inner: Grid) -> Head:
    """Draw the tissues of one slice.

    Args:
        anatomy: The patient.
        height: 0 to 1.
        grid: Where the pixels lie.
        inner: The same for what lies in the brain, which a tumour may have pushed aside.
    """
    slant, soften = anatomy.slant(height), 1.5 * grid.pixel
    ripple = anatomy.ripple.on_frame(height, grid.size)
    depth = anatomy.depth(grid, height)
    scalp = (anatomy.scalp + 0.012 * np.clip(grid.v, 0, None)) * slant + 0.004 * ripple
    bone = scalp + anatomy.skull * slant
    pushed = depth if inner is grid else anatomy.depth(inner, height)
    brain = soft(depth - bone, soften)
    sinus = soft(np.minimum(0.045 - (depth - bone), 0.03 - np.abs(grid.u)), soften) * brain * (grid.v > 0)
    layers = [
        ("skin", soft(depth, soften)),
        ("fat", soft(depth - 0.016, soften)),
        ("muscle", soft(depth - scalp + 0.012, soften)),
        ("bone", soft(depth - scalp, soften)),
        ("marrow", soft(0.22 * anatomy.skull * slant - np.abs(depth - (scalp + bone) / 2) + 0.004 * ripple, soften)),
        ("csf", brain),
        ("vessel", sinus),
    ]
    surface = bone + anatomy.csf * slant + 0.004 * ripple
    inside, white = _draw_brain(anatomy, height, inner, pushed - surface, ripple)
    return Head(layers + inside, brain, white)


def _draw_brain(anatomy: Anatomy, height: float, grid: Grid, depth: Field, ripple: Field) -> tuple[Layers, Field]:
    """Draw what lies within the brain's surface; also the coverage of its white matter."""
    soften = 1.5 * grid.pixel
    u = grid.u - anatomy.bend * np.cos(1.6 * grid.v)
    side = np.abs(u)
    wavy = 0.025 * ripple
    gap = np.maximum(_fissure(anatomy, height, side, grid.v), _insula(anatomy, height, side + wavy, grid.v - wavy))
    to_cleft = np.hypot(side, np.clip(_bridge(anatomy, height) - np.abs(grid.v + 0.02), 0, None))
    gap = np.maximum(gap, _sulci(anatomy, height, grid, u, np.minimum(depth, to_cleft)))
    gap = np.maximum(gap, -depth)
    below = ndimage.distance_transform_edt(gap < 0).astype(np.float32) * np.float32(grid.pixel)
    white = soft(below - anatomy.cortex, 2 * soften)
    grey = soft(-gap, soften)
    deep = _deep_grey(anatomy, height, side, grid, soften)
    water = _ventricles(anatomy, height, u, grid.v, soften)
    layers = [("grey", grey), ("white", white), ("deep", deep), ("csf", water)]
    layers += _small_things(anatomy, height, grid, u, white * (1 - water), grey)
    return layers, white * (1 - water)


def _bridge(anatomy: Anatomy, height: float) -> float:
    """Half the length along v over which the corpus callosum joins the hemispheres."""
    return float(0.46 * max(0.0, 1 - (height / (anatomy.roof + 0.06)) ** 3) ** 0.5)


def _fissure(anatomy: Anatomy, height: float, side: Field, v: Field) -> Field:
    """Signed distance into the cleft between the hemispheres."""
    bridge = _bridge(anatomy, height)
    width = 0.6 * anatomy.sulci + 0.3 * anatomy.csf * np.clip((np.abs(v) - bridge) / 0.5, 0, 1)
    cleft: Field = width - side
    return np.minimum(cleft, np.abs(v + 0.02) - bridge) if bridge else cleft


def _insula(anatomy: Anatomy, height: float, side: Field, v: Field) -> Field:
    """Signed distance into the Sylvian fissure, at the level of the basal ganglia."""
    share = 1 - ramp(0.10, 0.26, height)
    if share == 0:
        return np.full_like(side, -1.0)
    width = (0.9 * anatomy.sulci + 0.25 * anatomy.csf) * share - 0.02 * (1 - share)
    outer = to_segment(side, v, (0.80, -0.24), (0.48, -0.10))
    inner = np.minimum(
        to_segment(side, v, (0.44, -0.17 * share), (0.49, -0.02)),
        to_segment(side, v, (0.49, -0.02), (0.46, 0.15 * share)),
    )
    insula: Field = width - np.minimum(outer, inner)
    return insula


def _sulci(anatomy: Anatomy, height: float, grid: Grid, u: Field, depth: Field) -> Field:
    """Signed distance into the sulci: the zero lines of noise that is drawn out from the surface inwards."""
    scale = anatomy.scale(height)
    around = np.arctan2(grid.v, (np.abs(u) - 0.30 * scale) * 1.5) / (2 * np.pi) + 0.5
    ring = np.where(u > 0, np.float32(_AROUND + 1), np.float32(0))
    place = np.stack([around * _AROUND + ring, np.clip(depth / FOLD_DEPTHS, 0, 1) * (_INWARDS - 1)])
    fold = ndimage.map_coordinates(_both_sides(anatomy.folds, height), place, order=1)
    row, column = place.astype(np.intp)  # the depth limit changes slowly: the nearest sample will do
    reach = _both_sides(anatomy.depths, height)[row, column]
    slope = np.hypot(*np.gradient(fold, grid.pixel)) + np.float32(1e-3)
    limit = np.clip(0.17 + 0.08 * reach, 0.04, 0.36) * scale**1.5
    width = anatomy.sulci * (1.6 - 1.6 * np.clip(depth / limit, 0, 2))
    sulci: Field = width - np.abs(fold) / slope
    return sulci


def _both_sides(noise: Lattice, height: float) -> Field:
    """Noise around the left hemisphere, then around the right; both rings repeat their start at their end."""
    rings = (noise.over(level, _AROUND, _INWARDS) for level in (0.5 * height, 0.5 + 0.5 * height))
    return np.concatenate([row for ring in rings for row in (ring, ring[:1])])


def _deep_grey(anatomy: Anatomy, height: float, side: Field, grid: Grid, soften: float) -> Field:
    """Coverage of the caudate nuclei, the lentiform nuclei and the thalami."""
    spread = 0.03 * sum(anatomy.ventricles) / 2
    low, lower = 1 - ramp(0.10, 0.24, height), 1 - ramp(0.14, 0.34, height)
    shapes = [
        ((0.11 + spread, -0.20), (0.045, 0.11), -0.25, lower),
        ((0.30, -0.05), (0.075, 0.17), 0.12, low),
        ((0.09 + spread, 0.13), (0.085, 0.14), -0.35, low),
    ]
    cover: Field = np.zeros_like(side)
    for centre, radii, angle, share in shapes:
        if share > 0:
            away = np.float32(share) - ellipse(side, grid.v, centre, radii, angle)
            cover = np.maximum(cover, soft(away * radii[0], 0.05))
    return cover


def _ventricles(anatomy: Anatomy, height: float, u: Field, v: Field, soften: float) -> Field:
    """Coverage of the lateral ventricles and the third one: horns below, bodies above, nothing over the roof."""
    if height > anatomy.roof:
        return np.zeros_like(u)
    side = np.abs(u)
    body, top = ramp(0.06, 0.22, height), (1 - (height / anatomy.roof) ** 4) ** 0.5
    along = np.linspace(-0.8, 0.8, 161)
    front, middle, back = (np.exp(-(((along - at) / reach) ** 4)) for at, reach in _VENTRICLE_PARTS)
    half = np.maximum(np.maximum(front, body * middle), 0.95 * (1 - ramp(0.22, 0.40, height)) * back)
    half = np.interp(v, along, 0.046 * top * half).astype(np.float32)
    size = np.where(u < 0, *[np.float32(width) for width in anatomy.ventricles])
    half *= size
    line = np.interp(v, along, _ventricle_line(along, body)).astype(np.float32)
    line = np.maximum(line, half + 0.010)  # wide ones grow outwards: the septum stays between them
    lateral = soft(half - 0.004 - np.abs(side - line), soften) * np.clip(half / 0.012, 0, 1)
    slit = 0.018 * (1 - ramp(0.04, 0.14, height)) * np.exp(-(((along - 0.03) / 0.13) ** 4))
    third = np.interp(v, along, slit).astype(np.float32) * (0.5 + 0.5 * size)
    water: Field = np.maximum(lateral, soft(third - side, soften) * np.clip(third / 0.008, 0, 1))
    return water


def _ventricle_line(along: Field, body: float) -> Field:
    """Distance of a ventricle's middle line from the midline, going from front to back."""
    front, back = np.clip(-0.16 - along, 0, None), np.clip(along + 0.02, 0, None)
    line: Field = 0.045 + 0.9 * front**1.6 + (0.34 - 0.20 * body) * back
    return line


def _small_things(anatomy: Anatomy, height: float, grid: Grid, u: Field, white: Field, grey: Field) -> Layers:
    """Healthy bright and dark spots: ageing white matter, vessels, choroid plexus, the sagittal sinus."""
    spots = _dots(anatomy, anatomy.spots, height, grid) * white
    vessels = _dots(anatomy, anatomy.vessels, height, grid, 0.6) * (1 - white) * grey
    plexus = np.zeros_like(u)
    if height < 0.25:
        line = float(_ventricle_line(np.array([0.36]), ramp(0.06, 0.22, height))[0])
        for sign, share in zip((-1, 1), anatomy.ventricles, strict=True):
            away = 1 - ellipse(u, grid.v, (sign * line, 0.36), (0.022 * share, 0.045 * share))
            plexus = np.maximum(plexus, soft(0.03 * away, 2 * grid.pixel))
    return [("spot", spots), ("vessel", vessels), ("plexus", plexus)]


def _dots(anatomy: Anatomy, dots: Field, height: float, grid: Grid, share: float = 1.0) -> Field:
    """Coverage of little balls that this slice crosses."""
    cover = np.zeros_like(grid.u)
    for angle, radius, level, ball in dots:
        left = (share * ball) ** 2 - (0.4 * (level - height)) ** 2
        if left > 0:
            reach = anatomy.scale(height) * radius * 0.85
            centre = (float(reach * np.sin(angle) * anatomy.aspect), float(reach * np.cos(angle)))
            away = left**0.5 - np.hypot(grid.u - centre[0], grid.v - centre[1])
            cover = np.maximum(cover, soft(away, 3 * grid.pixel))
    return cover
