"""Tumours in healthy slices: learnt (`insert`), or moved from other slices (`paste`).

After TumorGAN (Li et al. 2020) and Shin et al. 2018: the anatomy is real, only the tumour is made.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from braingan import Generator, ImageSpec, OutputError, SettingsError, TrainingData, TrainingRun
from braingan.entry_points import import_function
from braingan.generation.batches import Batches
from braingan.generation.gan import GAN

from .bank import Bank
from .batches import NOISE, InsertBatches
from .blending import window_side
from .generator import InsertGenerator, PasteGenerator
from .networks import Inserter, PatchCritic, halvings
from .placing import NORMALS, Placer

log = logging.getLogger("braingan")

SIZES = (32, 64, 128, 256)
MOST_VARIATION = 10  # at which outlines are any shape at all


@dataclass(frozen=True)
class Insert(GAN):
    """Learns tumours, and puts them into healthy training slices; needs tumour masks and a healthy class.

    A critic is shown real tumour slices as real, and both healthy slices with an inserted tumour and untouched healthy
    slices as fake, each with a mask that says where the tumour should be.

    Attributes:
        latent_size: length of z.
        learning_rate: of both optimisers.
        base_channels: feature maps at 64x64 pixels.
        refill_weight: of the mean absolute error in a real tumour slice whose tumour was taken out and is filled in.
        healthy: class of the healthy slices; empty for the one class without any mask.
        blanks: whether G is not shown what lies under the tumour.
        healthy_as_fake: whether untouched healthy slices are shown to the critic.
        variation: of outlines and places; 0 takes the training masks as they are, where they are.
        match_level: whether a tumour goes only into slices at about the level of its own.
        mask_sampler: `package.module:function` that chooses outline and place instead; see `placing.MaskSampler`.
    """

    latent_size: int = 64
    base_channels: int = 32
    refill_weight: float = 5.0
    healthy: str = ""
    blanks: bool = True
    healthy_as_fake: bool = True
    variation: float = 1.0
    match_level: bool = True
    mask_sampler: str = ""

    requires: ClassVar[frozenset[str]] = frozenset({"masks"})
    places_tumors: ClassVar[bool] = True
    keeps_best: ClassVar[bool] = False  # the distance of whole slices says more of the canvases than of the tumours
    sizes: ClassVar[tuple[int, ...]] = SIZES

    def check(self, spec: ImageSpec) -> None:
        """Raise `SettingsError` for what the networks cannot make or be."""
        super().check(spec)
        if self.base_channels < 1 or not 0 <= self.refill_weight < math.inf:
            raise SettingsError(
                f"base_channels {self.base_channels}, refill_weight {self.refill_weight}: 1 or more and 0 or more work"
            )
        _check_variation(self.variation)
        if self.mask_sampler:
            import_function(self.mask_sampler, "mask_sampler")

    def makes(self, data: TrainingData) -> tuple[int, ...]:
        """The classes that have tumour masks."""
        bank = Bank.of(data, self.healthy)
        if self.mask_sampler:  # a function that gives no masks is refused here, before training
            try:
                self._placer(bank).draw(torch.tensor(bank.makes), torch.zeros(len(bank.makes), NORMALS))
            except TypeError as error:
                raise SettingsError(
                    f"mask_sampler {self.mask_sampler} cannot be called: {error}; it is given canvas, room, label, "
                    "masks and random"
                ) from error
        return bank.makes

    def networks(self, spec: ImageSpec) -> tuple[nn.Module, nn.Module]:
        """G and the critic."""
        G = Inserter(spec, self.latent_size, self.base_channels, blanks=self.blanks)
        return G, PatchCritic(spec, self.base_channels)

    def batches(self, data: TrainingData, run: TrainingRun, device: torch.device) -> Batches:
        """Windows around tumours, real ones and places for new ones."""
        bank = Bank.of(data, self.healthy)
        return InsertBatches(bank, self._placer(bank), run, self.latent_size, _window(bank, data.spec), device)

    def discriminator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """Hinge loss (Lim and Ye 2017); `real` holds image, mask and opacity, `fake` image, mask and canvas."""
        inserted, labels = fake[:, : real.shape[1] - 1], y
        if self.healthy_as_fake:
            mask, canvas = fake[:, real.shape[1] - 2 : real.shape[1] - 1], fake[:, real.shape[1] - 1 :]
            inserted, labels = torch.cat([inserted, torch.cat([canvas, mask], dim=1)]), torch.cat([y, y])
        return torch.relu(1 - D(real[:, :-1], y)).mean() + torch.relu(1 + D(inserted, labels)).mean()

    def generator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """What the critic thinks of inserted tumours, negative."""
        score: Tensor = D(fake[:, : real.shape[1] - 1], y).mean()
        return -score

    def generator_penalty(self, G: nn.Module, real: Tensor, y: Tensor) -> Tensor | None:
        """Refill real tumours: the mean absolute error where they were."""
        if not self.refill_weight:
            return None
        images, masks, opacity = real[:, :-2], real[:, -2:-1], real[:, -1:]
        z = torch.randn(len(y), self.latent_size, device=real.device)
        refilled = G(images, masks, opacity, NOISE * torch.randn_like(images), z, y)[:, : images.shape[1]]
        error = (refilled - images).abs() * opacity
        penalty: Tensor = self.refill_weight * error.sum() / (opacity.sum() * images.shape[1]).clamp_min(1)
        return penalty

    def generator(
        self, G: nn.Module, data: TrainingData, precision: str, batches: Batches | None = None
    ) -> InsertGenerator:
        """A trained G with the slices that it works on."""
        if not isinstance(batches, InsertBatches):
            placer = self._placer(Bank.of(data, self.healthy))
            return self._generator(G, placer, data.spec, _window(placer.bank, data.spec), precision)
        return self._generator(G, batches.placer, data.spec, batches.window, precision)

    def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
        """Train G against the critic; see `GAN.fit`."""
        _announce(Bank.of(data, self.healthy), data)
        return super().fit(data, run)

    def load(self, spec: ImageSpec, state: Mapping[str, Tensor]) -> InsertGenerator:
        """From a `state_dict`.

        Raises:
            OutputError: it is of another network.
        """
        self.check(spec)
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced at once
            G, _ = self.networks(spec)
        try:
            G.load_state_dict({name[2:]: value for name, value in state.items() if name.startswith("G.")})
            bank, window = Bank.from_tensors(state), int(state["window"][0])
        except (RuntimeError, KeyError) as error:
            raise OutputError(f"the weights do not fit {type(self).__name__} at size {spec.size}") from error
        return self._generator(G, self._placer(bank), spec, window, "float32")

    def _generator(self, G: nn.Module, placer: Placer, spec: ImageSpec, window: int, precision: str) -> InsertGenerator:
        return InsertGenerator(G, placer, spec, latent_size=self.latent_size, window=window, precision=precision)

    def _placer(self, bank: Bank) -> Placer:
        sampler = import_function(self.mask_sampler, "mask_sampler") if self.mask_sampler else None
        return Placer(bank, variation=self.variation, match_level=self.match_level, mask_sampler=sampler)


@dataclass(frozen=True)
class Paste:
    """Moves training tumours into healthy training slices: nothing is learnt, it takes no time; a baseline.

    Brightness is matched to the slice, and the edge is soft.

    Attributes:
        healthy: class of the healthy slices; empty for the one class without any mask.
        variation: of outlines and places; see `Insert`.
        match_level: see `Insert`.
    """

    healthy: str = ""
    variation: float = 1.0
    match_level: bool = True

    requires: ClassVar[frozenset[str]] = frozenset({"masks"})
    places_tumors: ClassVar[bool] = True
    keeps_best: ClassVar[bool] = False
    sizes: ClassVar[tuple[int, ...]] = SIZES

    def check(self, spec: ImageSpec) -> None:
        """Raise `SettingsError` for what cannot be."""
        if spec.size not in SIZES:
            raise SettingsError(f"Paste was asked for size {spec.size}; {', '.join(map(str, SIZES))} work")
        _check_variation(self.variation)

    def makes(self, data: TrainingData) -> tuple[int, ...]:
        """The classes that have tumour masks."""
        return Bank.of(data, self.healthy).makes

    def fit(self, data: TrainingData, run: TrainingRun) -> PasteGenerator:
        """Keep the slices."""
        self.check(data.spec)
        bank = Bank.of(data, self.healthy)
        _announce(bank, data)
        return self._generator(bank, data.spec)

    def load(self, spec: ImageSpec, state: Mapping[str, Tensor]) -> PasteGenerator:
        """From a `state_dict`.

        Raises:
            OutputError: it is another generator's.
        """
        self.check(spec)
        try:
            return self._generator(Bank.from_tensors(state), spec)
        except KeyError as error:
            raise OutputError(f"the stored generator is no Paste: {error} is missing") from error

    def _generator(self, bank: Bank, spec: ImageSpec) -> PasteGenerator:
        return PasteGenerator(Placer(bank, variation=self.variation, match_level=self.match_level), spec)


def _announce(bank: Bank, data: TrainingData) -> None:
    """Say which class was taken for the healthy one: where tumours were not outlined, it may be the wrong one."""
    healthy = data.spec.classes[int(data.labels[bank.canvas_numbers[0]])]
    log.info("%d tumours go into %d images of class %r", len(bank.masks), len(bank.canvases), healthy)


def _check_variation(variation: float) -> None:
    if not 0 <= variation <= MOST_VARIATION:
        raise SettingsError(f"variation {variation} was given; 0 to {MOST_VARIATION} work")


def _window(bank: Bank, spec: ImageSpec) -> int:
    return window_side(bank.masks, 2 ** halvings(spec.size))
