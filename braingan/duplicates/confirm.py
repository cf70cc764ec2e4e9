"""Candidates -> twins, judged on pixels: is one view the other, moved, turned, stretched and brightened?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy import fft
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

SMALL, FULL = 32, 64  # pixels a side of the first look and of the second
KEPT = 16  # cosine frequencies in each direction that the first look sees
CHUNK = 512  # pairs at a time

# Chosen on planted faults against the nearest images of other patients: `benchmarks/planted_twins.py` measures them.
TANGENT = 0.93  # of the first look
HALFWAY = 0.90  # correlation of detail after alignment at 32 pixels
FINE = 0.965  # correlation of detail finer than 2 pixels of the view
COARSE = 0.97  # of detail finer than 4 pixels
OVERALL = 0.93  # of the views as they are
OVERLAP = 0.55  # share of the view that both show
SMALL_STEPS, FULL_STEPS = ((2.0, 4), (1.0, 3)), ((1.5, 3), (0.8, 5))  # blur in pixels, steps
SHOWN = 0.03  # of full brightness: what is darker is air, or lies outside of a cropped picture
LARGEST_STEP = 0.15  # of half a view's side, or of its scale


@dataclass(frozen=True)
class Alignment:
    """How well pairs of views fit on each other.

    Attributes:
        score: (P,) correlation of the finest detail after alignment, -1 where an earlier look said no.
        twin: (P,) bool.
        turned: (P,) how far the fit turns or shears (norm of what it adds of one coordinate to the other; a turn by
            an angle has about 1.4 times that angle). What it shifts and stretches is the standard view's doing, too.
    """

    score: np.ndarray
    twin: np.ndarray
    turned: np.ndarray


class Tangents:
    """What small movements and a change of contrast could make of each view, to first order.

    The distance of a view to another's tangent space (Simard et al. 1993, "Efficient pattern recognition using a
    new transformation distance") sends most strangers away at the price of a small product.

    Args:
        views: (N, 64, 64) uint8.
    """

    def __init__(self, views: np.ndarray) -> None:
        parts = [_tangents(views[first : first + CHUNK]) for first in range(0, len(views), CHUNK)]
        self.basis = torch.cat([basis for basis, _ in parts])  # (N, 7, D) float16: half the memory, ample here
        self.plain = torch.cat([plain for _, plain in parts])  # (N, D) float16

    def likeness(self, ours: np.ndarray, others: Tangents, theirs: np.ndarray) -> np.ndarray:
        """(P,) the larger correlation of each view's detail with the tangent space of its partner."""
        found = [np.zeros(0, np.float32)]
        for first in range(0, len(ours), CHUNK):
            one, two = torch.from_numpy(ours[first : first + CHUNK]), torch.from_numpy(theirs[first : first + CHUNK])
            there = torch.einsum("psd,pd->ps", self.basis[one].float(), others.plain[two].float()).norm(dim=1)
            back = torch.einsum("psd,pd->ps", others.basis[two].float(), self.plain[one].float()).norm(dim=1)
            found.append(torch.maximum(there, back).numpy())
        return np.concatenate(found)


def align_pairs(ours: np.ndarray, others: np.ndarray) -> Alignment:
    """Fit each of `others` on its partner by an affine map with gain and offset, and compare in detail.

    Gauss-Newton (Lucas and Kanade 1981) at 32 pixels, and for those that come near there at 64.

    Args:
        ours: (P, 64, 64) uint8 views.
        others: (P, 64, 64) uint8 views.
    """
    score, twin, turned = np.full(len(ours), -1.0), np.zeros(len(ours), bool), np.zeros(len(ours))
    for first in range(0, len(ours), CHUNK):
        a, b = _floats(ours[first : first + CHUNK]), _floats(others[first : first + CHUNK])
        small_a, small_b = _halved(a), _halved(b)
        fit = _fitted(small_a, small_b, torch.eye(2, 3).repeat(len(a), 1, 1), SMALL_STEPS)
        near = torch.nonzero(_detail_correlation(small_a, small_b, fit, 2.0) >= HALFWAY)[:, 0]
        if len(near):
            a, b = a[near], b[near]
            fit = _fitted(a, b, fit[near], FULL_STEPS)
            at = first + near.numpy()
            score[at], twin[at] = _judged(a, b, fit)
            turned[at] = fit[:, [0, 1], [1, 0]].norm(dim=1).numpy()
    return Alignment(score, twin, turned)


def _floats(views: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(views)).float() / 255


def _tangents(views: np.ndarray) -> tuple[Tensor, Tensor]:
    """(P, 7, D) orthonormal: movements of each view's detail and itself; (P, D) the detail, of length 1."""
    small = _halved(_floats(views))
    detail = _blurred(small, 1.5) - _blurred(small, 4.0)
    spread = torch.cat([_movements(detail), detail.flatten(1)[:, None]], dim=1).reshape(len(views), -1, SMALL, SMALL)
    spectrum = torch.from_numpy(fft.dctn(spread.numpy(), axes=(2, 3), norm="ortho")[:, :, :KEPT, :KEPT]).flatten(2)
    spectrum[:, :, 0] = 0
    plain = spectrum[:, -1] / spectrum[:, -1].norm(dim=1, keepdim=True).clamp_min(1e-6)
    basis = torch.linalg.qr(spectrum.transpose(1, 2)).Q.transpose(1, 2)
    return basis.half(), plain.half()


def _fitted(ours: Tensor, others: Tensor, fit: Tensor, stages: Sequence[tuple[float, int]]) -> Tensor:
    for blur, steps in stages:
        a, b = _blurred(ours, blur), _blurred(others, blur)
        for _ in range(steps):
            fit = _improved(a, b, fit)
    return fit


def _improved(ours: Tensor, others: Tensor, fit: Tensor) -> Tensor:
    """One Gauss-Newton step of ours ~ gain * others(fit) + offset."""
    warped, inside = _warped(others, fit)
    columns = torch.cat(
        [_movements(warped), warped.flatten(1)[:, None], torch.ones_like(warped).flatten(1)[:, None]], 1
    )
    columns = columns * inside.flatten(1)[:, None]
    wanted = (ours * inside).flatten(1)
    normal = columns @ columns.transpose(1, 2) + 1e-3 * torch.eye(8)
    solved = torch.linalg.solve(normal, columns @ wanted[:, :, None])[:, :, 0]
    step = (solved[:, :6] / solved[:, 6:7].clamp_min(0.2)).clamp(-LARGEST_STEP, LARGEST_STEP)
    change = torch.eye(3).repeat(len(fit), 1, 1)
    change[:, :2, 2], change[:, :2, :2] = step[:, [0, 3]], torch.eye(2) + step[:, [1, 2, 4, 5]].reshape(-1, 2, 2)
    whole = torch.cat([fit, torch.tensor([[[0.0, 0.0, 1.0]]]).expand(len(fit), 1, 3)], dim=1)
    return (whole @ change)[:, :2]


def _judged(ours: Tensor, others: Tensor, fit: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Score of each pair, and whether it is one of twins."""
    warped, inside = _warped(others, fit)
    fine = _detail_correlation(ours, others, fit, 2.0)
    coarse = _detail_correlation(ours, others, fit, 4.0)
    overall = _correlation(ours, warped, inside)
    twin = (fine >= FINE) & (coarse >= COARSE) & (overall >= OVERALL) & (inside.mean(dim=(1, 2)) >= OVERLAP)
    return fine.numpy(), twin.numpy()


def _detail_correlation(ours: Tensor, others: Tensor, fit: Tensor, size: float) -> Tensor:
    """Correlation of what is finer than `size` pixels, where both views show something: a crop takes nothing away."""
    detail = _blurred(ours - _blurred(ours, size), 0.7)
    warped, inside = _warped(others, fit)
    other_detail, _ = _warped(_blurred(others - _blurred(others, size), 0.7), fit)
    return _correlation(detail, other_detail, inside * (ours > SHOWN) * (warped > SHOWN))


def _movements(views: Tensor) -> Tensor:
    """(P, 6, D) change of each pixel under shifts, stretches and shears, in units of half a side."""
    side = views.shape[-1]
    x, y = _places(side)[:, :2].T.reshape(2, side, side)
    across, down = torch.zeros_like(views), torch.zeros_like(views)
    across[:, :, 1:-1] = (views[:, :, 2:] - views[:, :, :-2]) * side / 4
    down[:, 1:-1] = (views[:, 2:] - views[:, :-2]) * side / 4
    return torch.stack([across, across * x, across * y, down, down * x, down * y], 1).flatten(2)


@cache
def _places(side: int) -> Tensor:
    """(side * side, 3) the centres of pixels as (x, y, 1), from -1 to 1."""
    line = (torch.arange(side) + 0.5) * 2 / side - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], dim=2).flatten(0, 1)


def _warped(views: Tensor, fit: Tensor) -> tuple[Tensor, Tensor]:
    """Views seen through an affine map, and where the map stays inside them (1 or 0)."""
    places = (_places(views.shape[-1]) @ fit.transpose(1, 2)).reshape(len(fit), *views.shape[1:], 2)
    warped = grid_sample(views[:, None], places, align_corners=False, padding_mode="zeros")[:, 0]
    return warped, (places.abs() <= 1).all(dim=3).float()


def _correlation(ours: Tensor, others: Tensor, weights: Tensor) -> Tensor:
    parts = []
    for values in (ours, others):
        mean = (values * weights).sum((1, 2), keepdim=True) / weights.sum((1, 2), keepdim=True).clamp_min(1)
        centred = (values - mean) * weights
        parts.append(centred / centred.pow(2).sum((1, 2), keepdim=True).sqrt().clamp_min(1e-6))
    return (parts[0] * parts[1]).sum((1, 2))


def _halved(views: Tensor) -> Tensor:
    return avg_pool2d(views[:, None], 2)[:, 0]


def _blurred(views: Tensor, deviation: float) -> Tensor:
    matrix = _gaussian(views.shape[-1], deviation)
    return matrix @ views @ matrix.T


@cache
def _gaussian(side: int, deviation: float) -> Tensor:
    """The matrix that smooths a line; what lies outside is taken to be like its end."""
    places = torch.arange(side)
    reach = int(3 * deviation + 0.5)
    matrix = torch.zeros(side, side)
    for shift in range(-reach, reach + 1):
        matrix[places, (places + shift).clamp(0, side - 1)] += math.exp(-0.5 * (shift / deviation) ** 2)
    return matrix / matrix.sum(dim=1, keepdim=True)
