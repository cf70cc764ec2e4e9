"""What an image looks like, in numbers that need no download: convolutions with fixed random weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses

from braingan.data.pictures import to_float

SEED = 0  # of the weights: distances of two runs compare
WIDTHS = (32, 64, 128)
LOOKED_AT = 64  # pixels: larger images are averaged down, as coarse structure is what is judged
PLACES = 2  # regions by side in which responses are pooled, so that it matters where something is


def random_features(images: Tensor) -> Tensor:
    """Mean and spread of the responses of three layers of random convolutions, region by region.

    Untrained convolutional features tell textures and shapes apart well enough to rank corruptions, and are the same
    everywhere (Saxe et al. 2011, "On random weights and unsupervised feature learning").

    Args:
        images: (N, C, H, W) uint8.

    Returns:
        (N, 1792) float32 on the CPU.
    """
    random = torch.Generator().manual_seed(SEED)
    x = to_float(images.cpu())
    if x.shape[-1] > LOOKED_AT:
        x = F.adaptive_avg_pool2d(x, LOOKED_AT)
    pooled, channels = [], x.shape[1]
    for width in WIDTHS:
        weight = torch.randn(width, channels, 3, 3, generator=random) * (2 / (9 * channels)) ** 0.5
        x = F.leaky_relu(F.conv2d(x, weight - weight.mean((1, 2, 3), keepdim=True), stride=2, padding=1), 0.2)
        mean = F.adaptive_avg_pool2d(x, PLACES)
        spread = (F.adaptive_avg_pool2d(x.square(), PLACES) - mean.square()).clamp_min(0).sqrt()
        pooled += [mean.flatten(1), spread.flatten(1)]
        channels = width
    return torch.cat(pooled, dim=1)


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    """Squared maximum mean discrepancy with a cubic kernel: 0 for equal distributions, larger for others.

    The unbiased estimate (Gretton et al. 2012) with the kernel of Binkowski et al. 2018, which holds for few images,
    other than the Frechet distance; it may fall a little below 0.

    Args:
        real: (N, D) features, N at least 2.
        fake: (M, D) features, M at least 2.
    """
    size = real.shape[1]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / size + 1) ** 3

    def within(a: Tensor) -> Tensor:
        products = kernel(a, a)
        return (products.sum() - products.diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(within(real) + within(fake) - 2 * kernel(real, fake).mean())


def diversity(features: Tensor, labels: Tensor) -> float:
    """Mean distance of two images of one class, over all classes with two images or more; 0 where there is none."""
    of_class = []
    for label in torch.unique(labels):
        own = features[labels == label]
        if len(own) > 1:
            of_class.append(float(torch.pdist(own).mean()))
    return sum(of_class) / len(of_class) if of_class else 0.0
