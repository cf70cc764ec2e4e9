"""A backend that is no GAN: it learns the mean image of each class and adds noise to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from braingan import Generator, ImageSpec, TrainingData, TrainingRun
from braingan.generation.latents import draw_latents


@dataclass(frozen=True)
class Constant:
    """The mean of each class and a little noise.

    Attributes:
        noise: standard deviation in [-1, 1].
    """

    noise: float = 0.1

    def check(self, spec: ImageSpec) -> None:
        """Every size works."""

    def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
        """Average the images of each class."""
        floats = data.images.float() / 127.5 - 1
        rows = [floats[data.labels == label] for label in range(len(data.spec.classes))]
        means = [row.mean(dim=0) if len(row) else floats.mean(dim=0) for row in rows]
        return Means(data.spec, torch.stack(means), self.noise)

    def load(self, spec: ImageSpec, state: Mapping[str, Tensor]) -> Generator:
        """From the stored means."""
        return Means(spec, state["means"], self.noise)


class Means:
    """What `Constant` has learned."""

    def __init__(self, spec: ImageSpec, means: Tensor, noise: float) -> None:
        self.spec, self.means, self.noise = spec, means, noise

    def sample(self, labels: Tensor, *, seed: int, first: int = 0) -> Tensor:
        """The mean of the class, and noise of the image's own."""
        pixels = self.spec.channels * self.spec.size**2
        noise = draw_latents(labels.tolist(), pixels, seed=seed, first=first).view(-1, *self.spec.shape)
        return (self.means[labels] + self.noise * noise).clamp(-1, 1)

    def state_dict(self) -> dict[str, Tensor]:
        """The means."""
        return {"means": self.means}
