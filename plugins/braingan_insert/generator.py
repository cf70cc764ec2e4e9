"""What samples: healthy training slices with tumours put into them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses

from braingan import ImageSpec
from braingan.data.pictures import to_float
from braingan.engine.inference import for_inference
from braingan.generation.latents import draw_latents
from braingan.generation.samples import Samples, check_labels

from .batches import NOISE
from .blending import corners_of, cut, cut_masks, put_back, soften
from .networks import halvings
from .placing import NORMALS, Placer, Places

BATCH = 32  # sampling always runs batches of this shape: rounding in a convolution depends on the batch's size


class Editor(ABC):
    """Puts tumours into the canvases of a bank; see `braingan.generation.samples.EditingGenerator`.

    Args:
        placer: chooses canvases, outlines and places; the stored generator keeps its bank.
        spec: of the images.
    """

    edits_real_slices = True

    def __init__(self, placer: Placer, spec: ImageSpec) -> None:
        self.placer, self.bank, self.spec = placer, placer.bank, spec

    @property
    def tumor_size(self) -> float:
        """Times the width of the training tumours."""
        return self.placer.tumor_size

    @property
    def makes(self) -> tuple[int, ...]:
        """The labels of the tumours."""
        return self.bank.makes

    def sample(self, labels: Tensor, *, seed: int, first: int = 0) -> Tensor:
        """See `protocol.Generator.sample`; labels of `makes`."""
        return self.draw(labels, seed=seed, first=first).images

    def draw(self, labels: Tensor, *, seed: int, first: int = 0) -> Samples:
        """As `sample`, with masks, and with the training images that canvases and outlines came from.

        Raises:
            SettingsError: a label that is no tumour's.
        """
        check_labels(self, labels)
        if not len(labels):
            none = torch.zeros(0, dtype=torch.int64)
            size = self.spec.size
            return Samples(torch.zeros(0, *self.spec.shape), torch.zeros(0, size, size, dtype=torch.bool), none, none)
        ahead = first % BATCH  # places in the batch, too, depend on the image's number alone
        behind = -(ahead + len(labels)) % BATCH
        padded = F.pad(labels.cpu(), (ahead, behind), value=self.makes[0])
        wanted = slice(ahead, ahead + len(labels))
        normals = torch.zeros(len(padded), NORMALS + self.latents)
        normals[wanted] = draw_latents(labels.tolist(), normals.shape[1], seed=seed, first=first)
        batches = zip(torch.split(padded, BATCH), torch.split(normals, BATCH), strict=True)
        with torch.inference_mode():
            parts = [self._draw(*batch) for batch in batches]
        images, masks, canvases, sources = (torch.cat(each)[wanted].clone() for each in zip(*parts, strict=True))
        numbers = torch.where(sources < 0, sources, self.bank.tumor_numbers[sources.clamp_min(0)])
        return Samples(images, masks, self.bank.canvas_numbers[canvases], numbers)

    @property
    @abstractmethod
    def latents(self) -> int:
        """Random numbers that an image needs besides those of its place."""

    @abstractmethod
    def edit(self, places: Places, labels: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) float32 in [-1, 1] and masks (n, 1, H, W), for canvases with places."""

    @abstractmethod
    def sized(self, tumor_size: float) -> Self:
        """The same with tumours of another size."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """All that `load` needs."""

    def _draw(self, labels: Tensor, normals: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        places = self.placer.draw(labels, normals[:, :NORMALS])
        images, masks = self.edit(places, labels, normals[:, NORMALS:])
        return images, masks[:, 0] > 0, places.canvases, places.sources


class InsertGenerator(Editor):
    """A trained `Inserter` with the slices that it works on.

    Args:
        G: the network.
        placer: see `Editor`.
        spec: see `Editor`.
        latent_size: length of z.
        window: side of the windows that the network saw in training.
        precision: what the network computes in.
    """

    def __init__(
        self, G: nn.Module, placer: Placer, spec: ImageSpec, *, latent_size: int, window: int,
        precision: str = "float32",
    ) -> None:  # fmt: skip
        super().__init__(placer, spec)
        self.G = G.eval().requires_grad_(False)
        self.latent_size, self.trained_window, self.precision = latent_size, window, precision

    @property
    def window(self) -> int:
        """Side of the windows that the network sees: larger tumours need larger ones."""
        step = int(2 ** halvings(self.spec.size))
        return min(self.spec.size, step * math.ceil(self.trained_window * max(1.0, self.tumor_size) / step))

    @property
    def latents(self) -> int:
        """Z, and the noise of the window."""
        return self.latent_size + self.spec.channels * self.window**2

    def edit(self, places: Places, labels: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
        """See `Editor.edit`."""
        device = next(self.G.parameters()).device
        canvases = to_float(self.bank.canvases[places.canvases])
        corners = corners_of(places.masks, self.window)
        masks = cut_masks(places.masks, corners, self.window)
        opacity = soften(masks, self.spec.size)
        z, noise = normals[:, : self.latent_size], NOISE * normals[:, self.latent_size :]
        noise = noise.reshape(len(labels), self.spec.channels, self.window, self.window)
        given = (cut(canvases, corners, self.window), masks, opacity, noise, z, labels)
        windows = self._quick(*(each.to(device) for each in given)).float().cpu()[:, : self.spec.channels]
        return put_back(canvases, windows, corners), put_back(torch.zeros_like(places.masks), masks, corners)

    def sized(self, tumor_size: float) -> InsertGenerator:
        """The same with tumours of another size, and windows that hold them."""
        return self._with(self.placer.sized(tumor_size), self.precision)

    def in_precision(self, precision: str) -> InsertGenerator:
        """The same, sampling in another precision."""
        return self._with(self.placer, precision)

    def state_dict(self) -> dict[str, Tensor]:
        """G's weights, the slices, and the side of the windows."""
        weights = {f"G.{name}": value.cpu().contiguous() for name, value in self.G.state_dict().items()}
        return weights | self.bank.tensors() | {"window": torch.tensor([self.trained_window])}

    def _with(self, placer: Placer, precision: str) -> InsertGenerator:
        return InsertGenerator(
            self.G, placer, self.spec, latent_size=self.latent_size, window=self.trained_window, precision=precision
        )

    @cached_property
    def _quick(self) -> nn.Module:
        return for_inference(self.G, self.precision)


class PasteGenerator(Editor):
    """Training tumours, moved into other slices: nothing is learnt."""

    @property
    def latents(self) -> int:
        """None: a place says all."""
        return 0

    def edit(self, places: Places, labels: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
        """The source slice is moved as its outline was, matched to the canvas' brightness and blended in."""
        canvases = to_float(self.bank.canvases[places.canvases])
        tumors = to_float(self.bank.tumors[places.sources])
        gain = _brightness(canvases, torch.zeros_like(places.masks)) / _brightness(
            tumors, self.bank.masks[places.sources][:, None].float()
        )
        moved = F.grid_sample(tumors, places.grids, padding_mode="border", align_corners=False)
        matched = ((moved + 1) * gain - 1).clamp(-1, 1)
        opacity = soften(places.masks, self.spec.size)
        return canvases * (1 - opacity) + matched * opacity, places.masks

    def sized(self, tumor_size: float) -> PasteGenerator:
        """The same with tumours of another size."""
        return PasteGenerator(self.placer.sized(tumor_size), self.spec)

    def state_dict(self) -> dict[str, Tensor]:
        """The slices: there are no weights."""
        return self.bank.tensors()


def _brightness(images: Tensor, masks: Tensor) -> Tensor:
    """Of the tissue outside of the masks, above black: (N, C, 1, 1). Air is less than half of a cropped slice."""
    outside = (images + 1).flatten(2).masked_fill(masks.flatten(2) > 0, math.nan)
    brightness = torch.nanquantile(outside, 0.75, dim=2)  # nothing, where all is tumour
    return brightness.nan_to_num(nan=1.0).clamp_min(0.05)[..., None, None]
