"""Sampling from a trained network: quick, and the same images."""

from __future__ import annotations

import pytest
import torch

from braingan import ImageSpec
from braingan.data.pictures import to_uint8
from braingan.generation.generator import GANGenerator
from braingan.generation.latents import draw_latents
from braingan_dcgan import DCGAN

SPEC = ImageSpec(32, 1, ("a", "b"))
GAME = DCGAN(latent_size=8, base_channels=8)


def used_network() -> torch.nn.Module:
    """A generator with batch statistics that are not those of a new one, and with strong contrasts."""
    torch.manual_seed(0)
    G, _ = GAME.networks(SPEC)
    for _ in range(5):
        G(torch.randn(16, 8) * 2 + 1, torch.arange(16) % 2)
    for weight in G.parameters():
        weight.data *= 2
    return G


def test_what_is_sampled_is_what_the_network_makes() -> None:
    G = used_network()
    labels = torch.arange(40) % 2
    expected = G.eval()(draw_latents(labels.tolist(), 8, seed=3), labels)
    torch.testing.assert_close(GANGenerator(G, SPEC, 8).sample(labels, seed=3), expected, atol=1e-5, rtol=0)
    coarse = GANGenerator(G, SPEC, 8, "bfloat16").sample(labels, seed=3)
    assert int((to_uint8(coarse).int() - to_uint8(expected).int()).abs().max()) <= 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_image_i_is_bit_equal_in_every_precision_whatever_is_sampled_with_it(precision: str) -> None:
    generator = GANGenerator(used_network(), SPEC, 8, precision)
    labels = torch.arange(70) % 2
    every = generator.sample(labels, seed=5)
    for start, count in ((0, 1), (1, 1), (31, 2), (33, 37), (69, 1)):
        part = generator.sample(labels[start : start + count], seed=5, first=start)
        assert torch.equal(part, every[start : start + count])


def test_the_weights_that_are_kept_are_those_of_the_network_before_and_after_sampling() -> None:
    G = used_network()
    weights = {name: value.clone() for name, value in G.state_dict().items()}
    generator = GANGenerator(G, SPEC, 8, "bfloat16")
    images = generator.sample(torch.tensor([0, 1]), seed=1)
    kept = generator.state_dict()
    assert kept.keys() == weights.keys()
    assert all(torch.equal(kept[name], weights[name]) for name in weights)
    loaded = GAME.load(SPEC, kept)
    torch.testing.assert_close(loaded.sample(torch.tensor([0, 1]), seed=1), images, atol=2 * 2 / 255, rtol=0)
