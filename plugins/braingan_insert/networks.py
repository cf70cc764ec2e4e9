"""A small U-Net that fills in a tumour, and a critic that looks at patches of slice and mask."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses
from torch.nn.utils.parametrizations import spectral_norm

from braingan import ImageSpec
from braingan.engine.convolutions import Convolution

from .blending import HIDDEN

COARSEST = 8  # side of the smallest map, for a whole image
WIDEST = 4  # times the base channels, at most


def halvings(size: int) -> int:
    """How often the networks halve an image of this size: a window's side is a multiple of 2 to this."""
    return int(math.log2(size // COARSEST))


class Inserter(nn.Module):
    """G(canvas, mask, opacity, noise, z, y): the canvas with a tumour of class y in the mask's region.

    A U-Net (Ronneberger et al. 2015) sees the canvas with the region blanked out and filled with noise, and the mask; z
    and y scale and shift its feature maps (Perez et al. 2018, "FiLM"). Instance normalisation (Ulyanov et al. 2016)
    everywhere but at full resolution, where the slice's own brightness has to get through. What leaves is blended: the
    image is the canvas' own wherever the opacity is 0.

    Args:
        spec: of the images.
        latent_size: length of z.
        base_channels: feature maps at 64x64; twice as many at half the resolution, and so on.
        blanks: whether the region is hidden from the network.
    """

    def __init__(self, spec: ImageSpec, latent_size: int, base_channels: int, *, blanks: bool = True) -> None:
        super().__init__()
        self.classes, self.blanks = len(spec.classes), blanks
        condition = latent_size + self.classes
        widths = _widths(spec.size, base_channels)
        self.first = Convolution(spec.channels + 1, widths[0], 3, 1, 1)
        self.down = nn.ModuleList(Block(wide, narrow, condition, stride=2) for wide, narrow in pairwise(widths))
        self.middle = Block(widths[-1], widths[-1], condition)
        self.coarse = nn.ModuleList(Block(narrow, wide, condition) for wide, narrow in pairwise(widths))
        self.fine = nn.ModuleList(
            Block(width, width, condition, normalises=level > 0) for level, width in enumerate(widths[:-1])
        )
        self.last = Convolution(widths[0], spec.channels, 3, 1, 1)

    def forward(self, canvas: Tensor, mask: Tensor, opacity: Tensor, noise: Tensor, z: Tensor, y: Tensor) -> Tensor:
        """Insert tumours.

        Args:
            canvas: (N, C, H, W) in [-1, 1].
            mask: (N, 1, H, W), 0 or 1.
            opacity: (N, 1, H, W) in [0, 1].
            noise: (N, C, H, W), what the network sees in the region.
            z: (N, latent_size).
            y: (N,).

        Returns:
            (N, 2 C + 1, H, W): image, mask and canvas, one upon the other.
        """
        hidden = (opacity > HIDDEN).to(canvas.dtype)
        seen = canvas * (1 - hidden) + noise * hidden if self.blanks else canvas
        condition = torch.cat([z, F.one_hot(y, self.classes).to(z.dtype)], dim=1)
        maps, kept = F.leaky_relu(self.first(torch.cat([seen, mask], dim=1)), 0.2), []
        for block in self.down:
            kept.append(maps)
            maps = block(maps, condition)
        maps = self.middle(maps, condition)
        for coarse, fine, skipped in zip(reversed(self.coarse), reversed(self.fine), reversed(kept), strict=True):
            maps = fine(F.interpolate(coarse(maps, condition), scale_factor=2.0, mode="nearest") + skipped, condition)
        tumor = torch.tanh(self.last(maps).float())
        return torch.cat([canvas * (1 - opacity) + tumor * opacity, mask, canvas], dim=1)


class Block(nn.Module):
    """Convolution, instance normalisation, scale and shift by the condition, LeakyReLU.

    Args:
        given: feature maps that come in.
        made: feature maps that leave.
        condition: length of the condition.
        stride: of the convolution.
        normalises: whether maps are normalised.
    """

    def __init__(self, given: int, made: int, condition: int, *, stride: int = 1, normalises: bool = True) -> None:
        super().__init__()
        self.normalises = normalises
        self.convolution = Convolution(given, made, 3, stride, 1, bias=not normalises)
        self.film = nn.Linear(condition, 2 * made)
        nn.init.normal_(self.film.weight, 0.0, 0.02)
        nn.init.zeros_(self.film.bias)

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """(N, given, H, W), (N, condition) -> (N, made, H / stride, W / stride)."""
        made: Tensor = self.convolution(maps)
        if self.normalises:
            made = F.instance_norm(made)
        gain, shift = self.film(condition)[:, :, None, None].to(made.dtype).chunk(2, dim=1)
        return F.leaky_relu(torch.addcmul(shift, made, 1 + gain), 0.2)


class PatchCritic(nn.Module):
    """D(x, y): one number for each patch of image and mask (Isola et al. 2017).

    Spectrally normalised (Miyato et al. 2018). It sees where a tumour should be, and so can tell a slice without one
    from a slice with one.

    Args:
        spec: of the images.
        base_channels: as in `Inserter`.
    """

    def __init__(self, spec: ImageSpec, base_channels: int) -> None:
        super().__init__()
        self.classes = len(spec.classes)
        widths = _widths(spec.size, base_channels)
        layers: list[nn.Module] = []
        for given, made in pairwise([spec.channels + self.classes, *widths[:-1]]):
            layers += [spectral_norm(Convolution(given, made, 4, 2, 1)), nn.LeakyReLU(0.2)]
        layers += [spectral_norm(Convolution(widths[-2], widths[-1], 3, 1, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, spectral_norm(Convolution(widths[-1], 1, 3, 1, 1)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(N, C + 1, H, W) image and mask, (N,) -> (N, h, w)."""
        # The mask enters in the plane of its class: a tumour of another class in the same place is wrong.
        planes = x[:, -1:] * F.one_hot(y, self.classes).to(x.dtype)[:, :, None, None]
        scores: Tensor = self.layers(torch.cat([x[:, :-1], planes], dim=1))
        return scores[:, 0]


def _widths(size: int, base_channels: int) -> list[int]:
    """Feature maps at full resolution, at half of it, and so on."""
    at = [base_channels * 64 // (size >> level) for level in range(halvings(size) + 1)]
    return [max(8, min(width, WIDEST * base_channels)) for width in at]
