"""Every registered backend keeps the contract; a broken one is told what it breaks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from braingan import GAN, BackendError, Generator, ImageSpec, TrainingData, TrainingRun, create_backend, list_backends
from braingan.generation.generator import GANGenerator
from braingan.testing import check_backend
from braingan_dcgan import DCGAN

SMALL = {"base_channels": 4, "latent_size": 8}


def backends() -> list[str]:
    return [info.name for info in list_backends() if info.error is None]


@pytest.mark.parametrize("name", backends())
@pytest.mark.parametrize("channels", [1, 4])
def test_every_backend_keeps_the_contract(name: str, channels: int) -> None:
    check_backend(create_backend(name, **SMALL), channels=channels)


@pytest.mark.parametrize("name", backends())
@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_every_backend_makes_every_size_that_it_promises(name: str, size: int) -> None:
    backend = create_backend(name, **SMALL)
    assert isinstance(backend, GAN)
    spec = ImageSpec(size, 2, ("a", "b", "c"))
    G, D = backend.networks(spec)
    images = G(torch.randn(2, 8), torch.tensor([0, 2]))
    assert images.shape == (2, 2, size, size)
    assert D(images, torch.tensor([0, 2])).shape == (2,)


class Broken:
    """Wraps a trained generator; each subclass breaks one rule."""

    def __init__(self, inner: Generator) -> None:
        self.inner, self.spec = inner, inner.spec

    def sample(self, labels: Tensor, *, seed: int, first: int = 0) -> Tensor:
        return self.inner.sample(labels, seed=seed, first=first)

    def state_dict(self) -> dict[str, Tensor]:
        return self.inner.state_dict()


class DependsOnTheBatch(Broken):
    def sample(self, labels: Tensor, *, seed: int, first: int = 0) -> Tensor:
        images = self.inner.sample(labels, seed=seed)
        return (images + 0.1 * len(labels)).clamp(-1, 1)


class OutOfRange(Broken):
    def sample(self, labels: Tensor, *, seed: int, first: int = 0) -> Tensor:
        return self.inner.sample(labels, seed=seed, first=first) * 0 + 200.0


class IgnoresTheSeed(Broken):
    def sample(self, labels: Tensor, *, seed: int, first: int = 0) -> Tensor:
        return self.inner.sample(labels, seed=0, first=first)


@dataclass(frozen=True)
class Spoiled(DCGAN):
    """DCGAN whose generator breaks a rule."""

    rule: str = "OutOfRange"

    def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
        broken: Generator = globals()[self.rule](super().fit(data, run))
        return broken


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("DependsOnTheBatch", "one by one"),
        ("OutOfRange", "pixels from 200.00 to 200.00"),
        ("IgnoresTheSeed", "same images for another seed"),
    ],
)
def test_a_generator_that_breaks_a_rule_is_told_which(rule: str, words: str) -> None:
    with pytest.raises(BackendError, match=words):
        check_backend(Spoiled(latent_size=8, base_channels=4, rule=rule))


@dataclass(frozen=True)
class MovesTheRandomState(DCGAN):
    def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
        torch.rand(1)
        return super().fit(data, run)


@dataclass(frozen=True)
class LearnsByChance(DCGAN):
    def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
        return super().fit(data, replace(run, seed=int(torch.seed()) % 2**31))


@dataclass(frozen=True)
class ScribblesOnTheData(DCGAN):
    def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
        generator = super().fit(data, run)
        data.images.zero_()
        return generator


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (MovesTheRandomState, "random state"),
        (ScribblesOnTheData, "changed the training images"),
    ],
)
def test_a_backend_that_breaks_a_rule_is_told_which(backend: type[DCGAN], words: str) -> None:
    with pytest.raises(BackendError, match=words):
        check_backend(backend(latent_size=8, base_channels=4))


def test_image_i_is_bit_equal_whatever_the_count_and_the_start() -> None:
    spec = ImageSpec(32, 1, ("a", "b"))
    G, _ = DCGAN(latent_size=8, base_channels=8).networks(spec)
    generator = GANGenerator(G, spec, 8)
    labels = torch.arange(70) % 2
    every = generator.sample(labels, seed=5)
    for start, count in ((0, 1), (1, 1), (31, 2), (33, 37), (69, 1)):
        part = generator.sample(labels[start : start + count], seed=5, first=start)
        assert torch.equal(part, every[start : start + count])


def test_wgan_clips_its_critic_and_wgan_gp_penalises_slopes() -> None:
    spec = ImageSpec(32, 1, ("a", "b"))
    clipping = create_backend("wgan", **SMALL)
    assert isinstance(clipping, GAN)
    _, D = clipping.networks(spec)
    clipping.after_discriminator_step(D)
    assert max(float(weight.detach().abs().max()) for weight in D.parameters()) <= 0.01
    from braingan_wgan import gradient_penalty

    class Steep(torch.nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return 3 * x.flatten(1)[:, 0]

    real = torch.randn(4, 1, 8, 8)
    assert float(gradient_penalty(Steep(), real, -real, torch.zeros(4, dtype=torch.int64))) == pytest.approx(4.0)
