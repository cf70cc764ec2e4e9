"""What samples: healthy training slices with tumours put into them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
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

from .bank import Bank
from .batches import NOISE
from .blending import corners_of, cut, cut_masks, put_back, soften
from .networks import halvings
from .placing import NORMALS, Placer, Places

BATCH = 32  # sampling always runs batches of this shape: rounding in a convolution depends on the batch's size
MakePlacer = Callable[[Bank, float], Placer]


class Editor(ABC):
    """Puts tumours into the canvases of a bank; see `braingan.generation.samples.EditingGenerator`.

    Args:
        bank: canvases and tumours, which the stored generator keeps.
        spec: of the images.
        make_placer: bank, times the width of the training tumours -> who chooses canvases, outlines and places.
        tumor_size: times the width of the training tumours.
    """

    def __init__(self, bank: Bank, spec: ImageSpec, make_placer: MakePlacer, tumor_size: float = 1.0) -> None:
        self.bank, self.spec, self.tumor_size = bank, spec, tumor_size
        self._make_placer = make_placer

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

    @cached_property
    def placer(self) -> Placer:
        """Who chooses canvases, outlines and places; made at the first sample."""
        return self._make_placer(self.bank, self.tumor_size)

    def _draw(self, labels: Tensor, normals: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        places = self.placer.draw(labels, normals[:, :NORMALS])
        images, masks = self.edit(places, labels, normals[:, NORMALS:])
        return images, masks[:, 0] > 0, places.canvases, places.sources


class InsertGenerator(Editor):
    """A trained `Inserter` with the slices that it works on.

    Args:
        G: the network.
        bank: see `Editor`.
        spec: see `Editor`.
        make_placer: see `Editor`.
        latent_size: length of z.
        window: side of the windows that the network sees.
        precision: what the network computes in.
        tumor_size: see `Editor`.
    """

    def __init__(
        self,
        G: nn.Module,
        bank: Bank,
        spec: ImageSpec,
        make_placer: MakePlacer,
        *,
        latent_size: int,
        window: int,
        precision: str = "float32",
        tumor_size: float = 1.0,
    ) -> None:
        super().__init__(bank, spec, make_placer, tumor_size)
        self.G = G.eval().requires_grad_(False)
        self.latent_size, self.window, self.precision = latent_size, window, precision

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
        step = 2 ** halvings(self.spec.size)
        window = step * math.ceil(self.window * max(1.0, tumor_size) / step)
        return self._with(tumor_size=tumor_size, window=min(self.spec.size, window))

    def in_precision(self, precision: str) -> InsertGenerator:
        """The same, sampling in another precision."""
        return self._with(precision=precision)

    def state_dict(self) -> dict[str, Tensor]:
        """G's weights, the slices, and the side of the windows."""
        weights = {f"G.{name}": value.cpu().contiguous() for name, value in self.G.state_dict().items()}
        return weights | self.bank.tensors() | {"window": torch.tensor([self.window])}

    def _with(self, **changed: object) -> InsertGenerator:
        kept = {"tumor_size": self.tumor_size, "window": self.window, "precision": self.precision}
        options = {"latent_size": self.latent_size} | kept | changed
        return InsertGenerator(self.G, self.bank, self.spec, self._make_placer, **options)  # type: ignore[arg-type]

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
        return PasteGenerator(self.bank, self.spec, self._make_placer, tumor_size)

    def state_dict(self) -> dict[str, Tensor]:
        """The slices: there are no weights."""
        return self.bank.tensors()


def _brightness(images: Tensor, masks: Tensor) -> Tensor:
    """Of the tissue outside of the masks, above black: (N, C, 1, 1). Air is less than half of a cropped slice."""
    outside = (images + 1).flatten(2).masked_fill(masks.flatten(2) > 0, math.nan)
    brightness = torch.nanquantile(outside, 0.75, dim=2)  # nothing, where all is tumour
    return brightness.nan_to_num(nan=1.0).clamp_min(0.05)[..., None, None]
