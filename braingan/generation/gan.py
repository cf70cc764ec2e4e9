"""The optional base of adversarial backends: networks and losses are theirs, the loop is shared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from braingan.data.records import ImageSpec
from braingan.errors import OutputError, SettingsError
from braingan.generation.batches import Batches, LatentBatches
from braingan.generation.generator import GANGenerator
from braingan.generation.loop import choose_gan_precision, train_gan
from braingan.generation.protocol import Generator, TrainingData, TrainingRun


@dataclass(frozen=True)
class GAN(ABC):
    """Base of adversarial backends. Subclasses are frozen dataclasses and give networks and losses.

    Attributes:
        latent_size: length of the latent vector z.
        learning_rate: of both optimisers.
        n_critic: updates of D for each update of G.
        ema_decay: of the running average of G's weights, which is what samples; it starts lower, so
            that short runs do not average over their first steps.
        sizes: image sizes that the networks can make.
        works_in_teams: whether several processes can share a training.
        keeps_best: whether the step with the best samples is what samples in the end, and patience can run out; else
            it is the last.
    """

    latent_size: int = 100
    learning_rate: float = 2e-4
    n_critic: int = 1
    ema_decay: float = 0.999

    works_in_teams: ClassVar[bool] = True
    keeps_best: ClassVar[bool] = True
    sizes: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)

    @abstractmethod
    def networks(self, spec: ImageSpec) -> tuple[nn.Module, nn.Module]:
        """Untrained G(z, y) -> (N, C, H, W) in [-1, 1] and D(x, y) -> logits (N,).

        z is (N, latent_size) float32, y (N,) int64, x (N, C, H, W) float32 in [-1, 1].
        """

    @abstractmethod
    def discriminator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """What D minimises: a scalar. `fake` carries no gradient to G."""

    @abstractmethod
    def generator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """What G minimises: a scalar."""

    def discriminator_penalty(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor | None:
        """What D is fined for besides, or None.

        A scalar, computed in every `penalty_every`-th update only, and then taken that many times as strong
        (Karras et al. 2020, "lazy regularization"). D is the network itself, so that it can be differentiated twice.
        """
        return None

    def generator_penalty(self, G: nn.Module, real: Tensor, y: Tensor) -> Tensor | None:
        """What G is fined for besides in each of its updates, or None: a scalar."""
        return None

    @property
    def penalty_every(self) -> int:
        """Updates of D for each in which the penalty is computed."""
        return 1

    def optimizers(self, G: nn.Module, D: nn.Module) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        """One optimiser for each network: Adam with betas (0.5, 0.999) (Radford et al. 2016)."""
        return adam(G, self.learning_rate, (0.5, 0.999)), adam(D, self.learning_rate, (0.5, 0.999))

    def after_discriminator_step(self, D: nn.Module) -> None:  # noqa: B027 - most losses need nothing here
        """Called after each update of D."""

    def makes(self, data: TrainingData) -> tuple[int, ...]:
        """The labels that it can make once it has learned from `data`; all of them, unless a backend says otherwise.

        Raises:
            SettingsError: it can learn nothing from these.
        """
        return tuple(range(len(data.spec.classes)))

    def batches(self, data: TrainingData, run: TrainingRun, device: torch.device) -> Batches:
        """What the networks are given: training images, and latents with labels, unless a backend says otherwise.

        A backend with other batches gives `networks`, `generator` and `load` that belong to them.
        """
        return LatentBatches(data, run, self.latent_size, device)

    def generator(self, G: nn.Module, data: TrainingData, precision: str, batches: Batches | None = None) -> Generator:
        """A trained G as what samples; `batches` are those of the training, while it goes on."""
        return GANGenerator(G, data.spec, self.latent_size, precision)

    def check(self, spec: ImageSpec) -> None:
        """Raise `SettingsError` for a size that the networks cannot make."""
        if spec.size not in self.sizes:
            works = ", ".join(map(str, self.sizes))
            raise SettingsError(f"{type(self).__name__} was asked for size {spec.size}; {works} work")
        if self.n_critic < 1 or self.latent_size < 1:
            raise SettingsError(f"n_critic {self.n_critic}, latent_size {self.latent_size}: 1 or more work")
        if not 0 < self.learning_rate < 1:
            raise SettingsError(f"learning_rate {self.learning_rate} was given; above 0 to below 1 works")
        if not 0 <= self.ema_decay < 1:
            raise SettingsError(f"ema_decay {self.ema_decay} was given; 0 to below 1 works")

    def choose_precision(self, data: TrainingData, run: TrainingRun) -> tuple[str, dict[str, float]]:
        """The precision in which steps are quickest, and what was timed; see `loop.choose_gan_precision`."""
        return choose_gan_precision(self, data, run)

    def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
        """Train G against D; see `loop.train_gan`."""
        self.check(data.spec)
        return self.generator(train_gan(self, data, run), data, run.precision)

    def load(self, spec: ImageSpec, state: Mapping[str, Tensor]) -> Generator:
        """G from its weights.

        Raises:
            OutputError: the weights are of another network.
        """
        self.check(spec)
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced at once
            G, _ = self.networks(spec)
        try:
            G.load_state_dict(dict(state))
        except RuntimeError as error:
            raise OutputError(f"the weights do not fit {type(self).__name__} at size {spec.size}") from error
        return GANGenerator(G, spec, self.latent_size)


def adam(network: nn.Module, learning_rate: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    """Adam as GANs use it, with all weights updated in one pass."""
    return torch.optim.Adam(network.parameters(), learning_rate, betas, fused=True)
