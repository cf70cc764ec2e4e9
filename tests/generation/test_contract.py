"""Every registered backend keeps the contract; a broken one is told what it breaks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from braingan import (
    GAN,
    BackendError,
    Generator,
    GeneratorBackend,
    ImageSpec,
    TrainingData,
    TrainingRun,
    create_backend,
    list_backends,
)
from braingan.generation.generator import GANGenerator
from braingan.generation.registry import hyperparameters_of
from braingan.generation.samples import Samples
from braingan.testing import check_backend
from braingan_dcgan import DCGAN
from braingan_insert import Paste
from braingan_insert.generator import PasteGenerator

SMALL = {"base_channels": 4, "latent_size": 8}


def backends() -> list[str]:
    return [info.name for info in list_backends() if info.error is None]


def small(name: str) -> GeneratorBackend:
    """A backend with what it has of the small hyper-parameters."""
    known = hyperparameters_of(create_backend(name))
    return create_backend(name, **{key: value for key, value in SMALL.items() if key in known})


def from_noise() -> list[str]:
    """Those that make images of latents and labels alone."""
    return [name for name in backends() if not getattr(create_backend(name), "requires", ())]


def test_the_contract_is_asked_of_every_backend_that_braingan_brings() -> None:
    assert {"dcgan", "insert", "paste", "wgan", "wgan-gp"} <= set(backends())


@pytest.mark.parametrize("name", backends())
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_backend_keeps_the_contract(name: str, channels: int) -> None:
    check_backend(small(name), channels=channels)


@pytest.mark.parametrize("name", from_noise())
@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_every_backend_makes_every_size_that_it_promises(name: str, size: int) -> None:
    backend = small(name)
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


class GivesEmptyMasks(PasteGenerator):
    def draw(self, labels: Tensor, *, seed: int, first: int = 0) -> Samples:
        drawn = super().draw(labels, seed=seed, first=first)
        return replace(drawn, masks=torch.zeros_like(drawn.masks))  # type: ignore[arg-type]


class NamesOtherCanvases(PasteGenerator):
    def draw(self, labels: Tensor, *, seed: int, first: int = 0) -> Samples:
        drawn = super().draw(labels, seed=seed, first=first)
        return replace(drawn, canvases=drawn.mask_sources)


class NamesImagesThatThereAreNot(PasteGenerator):
    def draw(self, labels: Tensor, *, seed: int, first: int = 0) -> Samples:
        drawn = super().draw(labels, seed=seed, first=first)
        return replace(drawn, mask_sources=torch.full_like(drawn.canvases, 12))  # type: ignore[arg-type]


class MakesMoreThanWasSaid(PasteGenerator):
    @property
    def makes(self) -> tuple[int, ...]:
        return (0, 1)


@dataclass(frozen=True)
class SpoiledPaste(Paste):
    """Paste whose generator breaks a rule of those that edit real slices."""

    rule: str = "GivesEmptyMasks"

    def fit(self, data: TrainingData, run: TrainingRun) -> PasteGenerator:
        generator = super().fit(data, run)
        generator.__class__ = globals()[self.rule]
        return generator


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("GivesEmptyMasks", "gave an empty mask"),
        ("NamesOtherCanvases", "names canvases that its images were not made from"),
        ("NamesImagesThatThereAreNot", "names training images that there are not"),
        ("MakesMoreThanWasSaid", r"said that it makes labels \(1,\); its generator says otherwise"),
    ],
)
def test_a_generator_that_edits_and_breaks_a_rule_is_told_which(rule: str, words: str) -> None:
    with pytest.raises(BackendError, match=words):
        check_backend(SpoiledPaste(rule=rule))


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
