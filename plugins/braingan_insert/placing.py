"""Which healthy slice gets a tumour, of which outline, and where."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses

from braingan import SettingsError
from braingan.data.preprocessing import foreground_mask

from .bank import Bank

TRIES = 4  # places and outlines that are tried before the part that lies outside of the brain is cut off
KNOTS = 4  # of the elastic deformation, by side
PER_TRY = 5 + 2 * KNOTS**2
NORMALS = 1 + TRIES * PER_TRY  # random numbers for one image
INSIDE = 0.95  # of a tumour's area that lies inside the brain, or another place is tried
MOST = 100  # tumours that are looked at to learn how far from the edge they lie
FEWEST = 4  # pixels of a tumour
LOOKED_AT = 16  # pixels a side at which slices are compared: the level in the head, not the tumour
NEAR = 0.2  # share of the tumour slices, and their mirror images, whose tumours may go into a canvas
LEVELS = 0.9  # quantile of the distance from a tumour slice to the next one: canvases farther away show other levels
DARK = 0.1  # of a tumour slice's contrast; a canvas with less shows no head
CHUNK = 256  # images that are looked at together
EDGE = 0.25  # quantile of the training tumours' distances to the head's edge; skull and skin are closer to it

# Spread of outlines and places, at a variation of 1:
ANGLE = math.radians(12)
SCALE = 0.2  # of the logarithm of the width
SHIFT = 0.04  # of the image's side
ELASTIC = 0.12  # of the tumour's radius


class MaskSampler(Protocol):
    """What may choose outline and place instead: the function named by the hyper-parameter `mask_sampler`."""

    def __call__(
        self, canvas: np.ndarray, room: np.ndarray, label: int, masks: np.ndarray, random: np.random.Generator
    ) -> np.ndarray:
        """Choose a mask.

        Args:
            canvas: (C, H, W) uint8, the healthy slice.
            room: (H, W) bool, where in it tumours may lie.
            label: class of the tumour.
            masks: (M, H, W) bool, those of the training tumours of that class.
            random: the only source of randomness.

        Returns:
            (H, W) bool, not empty.
        """


@dataclass(frozen=True)
class Places:
    """Tumours to be.

    Attributes:
        canvases: (N,) int64, places in the bank.
        masks: (N, 1, H, W) float32, 0 or 1.
        sources: (N,) int64, the tumours of the bank whose outlines were used; -1 for none.
        grids: (N, H, W, 2), where in the source each pixel comes from, as `grid_sample` takes it.
    """

    canvases: Tensor
    masks: Tensor
    sources: Tensor
    grids: Tensor


class Placer:
    """Draws canvases, outlines and places.

    A canvas is a healthy slice at a level at which training tumours occur, and gets the outline of a tumour from a
    slice at about its own level, or from that slice's mirror image: turned, scaled, elastically deformed and moved a
    little, inside the brain and as far from the head's edge as training tumours are. So eyes, skull and skin are
    spared without being known.

    Args:
        bank: canvases and tumours.
        variation: of outlines and places; 0 takes them as they are.
        match_level: whether levels are heeded.
        mask_sampler: chooses outline and place instead.
    """

    def __init__(
        self,
        bank: Bank,
        *,
        variation: float = 1.0,
        match_level: bool = True,
        mask_sampler: MaskSampler | None = None,
    ) -> None:
        self.bank, self.variation, self.tumor_size = bank, variation, 1.0
        self.match_level, self.mask_sampler = match_level, mask_sampler
        self.size = int(bank.canvases.shape[-1])
        places = torch.arange(self.size) + 0.5
        y, x = torch.meshgrid(places, places, indexing="ij")
        self._pixels = torch.stack([x, y], dim=-1)
        masks = bank.masks.float()
        area = masks.sum((1, 2))
        self._centres = torch.stack([(masks * x).sum((1, 2)) / area, (masks * y).sum((1, 2)) / area], dim=1)
        self._radii = (area / math.pi).sqrt()
        self._rooms: dict[int, Tensor] = {}

    def draw(self, labels: Tensor, normals: Tensor) -> Places:
        """Places for tumours of these classes.

        Args:
            labels: (N,) int64, of `bank.makes`.
            normals: (N, NORMALS) standard-normal numbers; image i depends on row i and its label alone.
        """
        canvases = self._canvases(labels, normals[:, 0])
        rooms = self._rooms_of(canvases)
        if self.mask_sampler is not None:
            return self._theirs(self.mask_sampler, canvases, rooms, labels, normals)
        tries = normals[:, 1:].view(len(labels), TRIES, PER_TRY)
        count = len(labels)
        masks, grids = torch.zeros(count, 1, self.size, self.size), torch.zeros(count, self.size, self.size, 2)
        sources, inside = torch.zeros(count, dtype=torch.int64), torch.full((count,), -1.0)
        for number in range(TRIES):
            left = torch.nonzero(inside < INSIDE).flatten()
            if not len(left):
                break
            found = self._try(canvases[left], labels[left], tries[left, number])
            share = _share_inside(found.masks, rooms[left])
            better = share > inside[left]
            where = left[better]
            masks[where], grids[where] = found.masks[better], found.grids[better]
            sources[where], inside[where] = found.sources[better], share[better]
        return self._within(Places(canvases, masks, sources, grids), rooms)

    def sized(self, tumor_size: float) -> Placer:
        """The same for tumours of another size; what is known of the bank is shared."""
        other = copy.copy(self)
        other.tumor_size = tumor_size
        return other

    def room_of(self, canvas: int) -> Tensor:
        """(H, W) bool: where in a canvas tumours may lie."""
        if canvas not in self._rooms:
            depth = _depth(self.bank.canvases[canvas])
            # Never in the air, though training masks may reach into it; where no head is found, anywhere.
            least = max(1.0, min(self._edge, depth.max() / 2)) if depth.any() else 0.0
            self._rooms[canvas] = torch.from_numpy(depth >= least)
        return self._rooms[canvas]

    def _rooms_of(self, canvases: Tensor) -> Tensor:
        rooms = [self.room_of(canvas)[None] for canvas in canvases.tolist()]
        return torch.stack(rooms).float() if rooms else torch.zeros(0, 1, self.size, self.size)

    def _canvases(self, labels: Tensor, normals: Tensor) -> Tensor:
        chosen = torch.zeros(len(labels), dtype=torch.int64)
        for label in torch.unique(labels).tolist():
            own = labels == label
            chosen[own] = _pick(self._near[label][0], normals[own])
        return chosen

    def _try(self, canvases: Tensor, labels: Tensor, normals: Tensor) -> Places:
        """One outline and place for each canvas, wherever it comes to lie."""
        count, side = len(canvases), self.size
        mirrored = torch.zeros(count, dtype=torch.int64)
        for label in torch.unique(labels).tolist():
            own = labels == label
            near = self._near[label][1][canvases[own]]
            column = _index(normals[own, 0], near.shape[1])
            mirrored[own] = near.gather(1, column[:, None])[:, 0]
        sources, flip = mirrored % len(self.bank.masks), mirrored >= len(self.bank.masks)
        sign = torch.where(flip, -1.0, 1.0)
        own_centre = self._centres[sources]
        centre = torch.stack([torch.where(flip, side - own_centre[:, 0], own_centre[:, 0]), own_centre[:, 1]], dim=1)
        centre = centre + normals[:, 3:5] * self.variation * SHIFT * side
        angle = normals[:, 1] * self.variation * ANGLE
        # No wider than the widest that was seen: networks do not know what is in the middle of larger ones.
        most = self._radii.max() / self._radii[sources]
        scale = torch.exp(normals[:, 2] * self.variation * SCALE).minimum(most) * self.tumor_size
        knots = normals[:, 5:].view(count, 2, KNOTS, KNOTS)
        bent = F.interpolate(knots, size=(side, side), mode="bilinear", align_corners=True).permute(0, 2, 3, 1)
        bent = bent * (self.variation * ELASTIC * self._radii[sources])[:, None, None, None]
        away = self._pixels - centre[:, None, None, :]
        cos, sin = (angle.cos() / scale)[:, None, None], (angle.sin() / scale)[:, None, None]
        x = sign[:, None, None] * (cos * away[..., 0] + sin * away[..., 1])
        y = cos * away[..., 1] - sin * away[..., 0]
        grids = (torch.stack([x, y], dim=-1) + bent + own_centre[:, None, None, :]) / side * 2 - 1
        outlines = self.bank.masks[sources][:, None].float()
        masks = (F.grid_sample(outlines, grids, align_corners=False) >= 0.5).float()
        return Places(canvases, masks, sources, grids)

    def _within(self, places: Places, rooms: Tensor) -> Places:
        """Without what lies outside of the rooms; a tumour of which next to nothing is left moves to the next place."""
        masks, grids = places.masks * rooms, places.grids.clone()
        for lost in torch.nonzero(masks.sum((1, 2, 3)) < FEWEST).flatten().tolist():
            centre = self._centres[places.sources[lost]] / self.size * 2 - 1
            at = divmod(
                int((grids[lost] - centre).square().sum(-1).argmin()), self.size
            )  # where the source's middle is
            room = torch.nonzero(rooms[lost, 0])
            place = room[(room - torch.tensor(at)).square().sum(1).argmin()]
            area = max(FEWEST, int(places.masks[lost].sum()))
            near = room[(room - place).square().sum(1).argsort(stable=True)[:area]]
            masks[lost] = 0
            masks[lost, 0, near[:, 0], near[:, 1]] = 1
            grids[lost] = grids[lost].roll((place - torch.tensor(at)).tolist(), dims=(0, 1))
        return Places(places.canvases, masks, places.sources, grids)

    def _theirs(self, sampler: MaskSampler, canvases: Tensor, rooms: Tensor, labels: Tensor, normals: Tensor) -> Places:
        masks = []
        for canvas, room, label, row in zip(canvases.tolist(), rooms, labels.tolist(), normals, strict=True):
            known = self.bank.masks[self.bank.labels == label].numpy()
            random = np.random.default_rng(row.numpy().view(np.uint32).tolist())
            mask = sampler(self.bank.canvases[canvas].numpy(), room[0].numpy() > 0, label, known, random)
            _check_mask(mask, self.size)
            masks.append(torch.from_numpy(mask.astype(np.float32))[None])
        nowhere = torch.zeros(len(masks), self.size, self.size, 2)
        return Places(canvases, torch.stack(masks), torch.full((len(masks),), -1), nowhere)

    @cached_property
    def _edge(self) -> float:
        """The distance to the head's edge, in pixels, that tumours keep."""
        some = torch.linspace(0, len(self.bank.masks) - 1, min(len(self.bank.masks), MOST)).long().tolist()
        depths = [_depth(self.bank.tumors[number])[self.bank.masks[number].numpy()].min() for number in some]
        return float(np.quantile(depths, EDGE))

    @cached_property
    def _near(self) -> dict[int, tuple[Tensor, Tensor]]:
        """For each label the canvases that may be used and, for all, (N, K) tumours for it; mirrored ones come last."""
        canvases, near, count = _looks(self.bank.canvases), {}, len(self.bank.masks)
        usable = self._with_head()
        for label in self.bank.makes:
            own = torch.nonzero(self.bank.labels == label).flatten()
            looks, mirrored = _looks(self.bank.tumors[own]), _looks(self.bank.tumors[own].flip(-1))
            codes = torch.cat([own, own + count])
            if not self.match_level:
                near[label] = torch.nonzero(usable).flatten(), codes.expand(len(canvases), -1)
                continue
            distances = 1 - canvases @ torch.cat([looks, mirrored]).T
            nearest = max(1, math.ceil(NEAR * len(codes)))
            order = codes[distances.argsort(dim=1, stable=True)[:, :nearest]]
            near[label] = _at_levels_of(looks, distances.amin(1), usable), order
        return near

    def _with_head(self) -> Tensor:
        """(N,) bool: the canvases that show something, as slices at the ends of a volume may not."""
        tumors, canvases = _contrast(self.bank.tumors), _contrast(self.bank.canvases)
        usable = canvases > DARK * tumors.median()
        if not usable.any():
            raise SettingsError("tumours are inserted into healthy slices, and all of these are black")
        return usable


def _at_levels_of(looks: Tensor, distances: Tensor, usable: Tensor) -> Tensor:
    """The canvases that look as much like a tumour slice as tumour slices look like each other; at least ten."""
    distances = torch.where(usable, distances, math.inf)
    few = min(int(usable.sum()), 10)
    between = (1 - looks @ looks.T).fill_diagonal_(math.inf)
    limit = float(between.amin(1).quantile(LEVELS)) if len(looks) > 1 else 0.0
    limit = max(limit, float(distances.sort().values[few - 1]))
    return torch.nonzero(distances <= limit).flatten()


def _looks(images: Tensor) -> Tensor:
    """(N, LOOKED_AT^2) float32 of mean 0 and length 1."""
    small = _small(images)
    looks: Tensor = small / small.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return looks


def _contrast(images: Tensor) -> Tensor:
    """(N,): how much there is to be seen."""
    contrast: Tensor = _small(images).norm(dim=1)
    return contrast


def _small(images: Tensor) -> Tensor:
    """(N, LOOKED_AT^2) float32 of mean 0."""
    parts = [F.adaptive_avg_pool2d(part.float().mean(1, keepdim=True), LOOKED_AT).flatten(1)
             for part in torch.split(images, CHUNK)]  # fmt: skip
    small = torch.cat(parts)
    return small - small.mean(1, keepdim=True)


def _depth(image: Tensor) -> np.ndarray:
    """(H, W): distance of each pixel to the edge of the head, in pixels; 0 outside."""
    head = ndimage.binary_fill_holes(foreground_mask(image.numpy().transpose(1, 2, 0).astype(np.float32)))
    depth: np.ndarray = ndimage.distance_transform_edt(np.pad(head, 1))[1:-1, 1:-1]
    return depth


def _share_inside(masks: Tensor, rooms: Tensor) -> Tensor:
    """(N,) share of each mask that lies in its room; 0 for one of next to no pixels."""
    area = masks.sum((1, 2, 3))
    share = (masks * rooms).sum((1, 2, 3)) / area.clamp_min(1)
    return torch.where(area < FEWEST, torch.zeros_like(share), share)


def _check_mask(mask: object, size: int) -> None:
    """Raise `SettingsError` for what is no mask."""
    if isinstance(mask, np.ndarray) and mask.dtype == bool and mask.shape == (size, size) and mask.any():
        return
    found = type(mask).__name__
    if isinstance(mask, np.ndarray):
        found = f"{mask.dtype} {mask.shape} with {np.count_nonzero(mask)} pixels"
    raise SettingsError(f"the mask sampler gave {found}; a numpy array of bool {(size, size)}, not empty, works")


def _pick(values: Tensor, normals: Tensor) -> Tensor:
    return values[_index(normals, len(values))]


def _index(normals: Tensor, count: int) -> Tensor:
    """Standard-normal numbers as even choices among `count`."""
    chosen: Tensor = (torch.special.ndtr(normals.double()) * count).long()
    return chosen.clamp(0, count - 1)
