"""Random convolutions tell images apart, and the kernel distance says how far apart two sets are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from braingan.generation.features import LOOKED_AT, diversity, kernel_distance, random_features


def noise(count: int, *, seed: int = 0, size: int = 16, channels: int = 1) -> Tensor:
    """(count, channels, size, size) uint8."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=random)


def draw(count: int, *, seed: int, mean: float = 0.0) -> Tensor:
    """(count, 20) features."""
    return torch.randn(count, 20, generator=torch.Generator().manual_seed(seed)) + mean


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 3), (LOOKED_AT * 2, 1)])
def test_features_are_as_many_for_every_size_and_number_of_channels(size: int, channels: int) -> None:
    features = random_features(noise(3, size=size, channels=channels))
    assert features.shape == (3, 1792)
    assert features.dtype == torch.float32
    assert bool(features.isfinite().all())


def test_features_are_the_same_each_time_and_draw_nothing() -> None:
    before = torch.random.get_rng_state()
    first = random_features(noise(4))
    torch.rand(5)
    assert torch.equal(random_features(noise(4)), first)
    torch.manual_seed(1)
    after = torch.random.get_rng_state()
    random_features(noise(4))
    assert torch.equal(torch.random.get_rng_state(), after)
    assert len(before) == len(after)


def test_features_of_an_image_do_not_depend_on_the_others() -> None:
    images = noise(6)
    torch.testing.assert_close(random_features(images)[2:4], random_features(images[2:4]), rtol=1e-4, atol=1e-5)


def test_it_matters_where_something_is() -> None:
    left = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    left[..., 8:16, 4:12] = 200
    here, there = random_features(torch.cat([left, left.roll(16, dims=3)]))
    assert float((here - there).norm()) > 0.1 * float(here.norm())


def test_large_images_are_averaged_down_first() -> None:
    small = noise(2, size=LOOKED_AT)
    large = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(random_features(large), random_features(small), rtol=1e-4, atol=1e-4)


def test_the_distance_is_that_of_the_formula() -> None:
    real, fake = draw(4, seed=0), draw(3, seed=1)

    def kernel(a: Tensor, b: Tensor) -> float:
        return float((a @ b / 20 + 1) ** 3)

    within = [
        sum(kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / (len(x) * (len(x) - 1))
        for x in (real, fake)
    ]
    between = sum(kernel(a, b) for a in real for b in fake) / 12
    assert kernel_distance(real, fake) == pytest.approx(sum(within) - 2 * between, abs=1e-4)


def test_the_distance_is_around_zero_for_equal_distributions_and_grows_with_the_difference() -> None:
    real = draw(400, seed=0)
    equal = [kernel_distance(real, draw(400, seed=seed)) for seed in range(1, 9)]
    assert min(equal) < 0 < max(equal)
    distances = [kernel_distance(real, draw(400, seed=9, mean=mean)) for mean in (0.1, 0.2, 0.4, 0.8)]
    assert max(map(abs, equal)) < distances[0]
    assert distances == sorted(distances)


def test_the_distance_does_not_depend_on_how_many_images_there_are() -> None:
    few = [kernel_distance(draw(10, seed=seed), draw(10, seed=1000 + seed, mean=0.5)) for seed in range(1000)]
    many = kernel_distance(draw(2000, seed=0), draw(2000, seed=1, mean=0.5))
    assert sum(few) / len(few) == pytest.approx(many, rel=0.1)


def test_diversity_is_the_mean_distance_within_classes() -> None:
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [100.0, 0.0], [100.0, 1.0], [7.0, 7.0]])
    assert diversity(features, torch.tensor([0, 0, 1, 1, 2])) == pytest.approx((5 + 1) / 2)
    assert diversity(features, torch.arange(5)) == 0
