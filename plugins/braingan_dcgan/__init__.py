"""DCGAN: a deep convolutional GAN, conditional on the class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from braingan import ImageSpec, SettingsError
from braingan.generation.gan import GAN
from braingan.generation.layers import ProjectionHead, UpsamplingGenerator, strided_convolutions


@dataclass(frozen=True)
class DCGAN(GAN):
    """Deep convolutional GAN with a class label: quick, robust, coarse (Radford et al. 2016).

    Attributes:
        base_channels: feature maps of G at 32x32 and of D's first convolution. 64 is the paper's;
            32 takes a quarter of the time on a CPU and is plenty for a few hundred images.
        dropout: before D's output.
    """

    base_channels: int = 32
    dropout: float = 0.4

    def check(self, spec: ImageSpec) -> None:
        """Raise `SettingsError` for what the networks cannot make or be."""
        super().check(spec)
        if self.base_channels < 1 or not 0 <= self.dropout < 1:
            raise SettingsError(
                f"base_channels {self.base_channels}, dropout {self.dropout}: 1 or more, and 0 to below 1, work"
            )

    def networks(self, spec: ImageSpec) -> tuple[nn.Module, nn.Module]:
        """G and D."""
        G = UpsamplingGenerator(spec, self.latent_size, self.base_channels)
        return G, Discriminator(spec, self.base_channels, self.dropout)

    def discriminator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """Binary cross-entropy: real is 1, fake is 0."""
        return _cross_entropy(D(real, y), 1.0) + _cross_entropy(D(fake, y), 0.0)

    def generator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """The non-saturating loss (Goodfellow et al. 2014): D shall take fake for real."""
        return _cross_entropy(D(fake, y), 1.0)


class Discriminator(nn.Module):
    """D(x, y): four convolutions (kernel 3, stride 2), flatten, dropout, one logit.

    Args:
        spec: what it is shown.
        base_channels: width of the first convolution; each further one doubles it.
        dropout: before the output.
    """

    def __init__(self, spec: ImageSpec, base_channels: int, dropout: float) -> None:
        super().__init__()
        widths = [base_channels * 2**level for level in range(4)]
        # Without batch normalisation the generator finds one head that passes and makes nothing else.
        self.features = strided_convolutions([spec.channels, *widths], batch_norm=True)
        self.head = ProjectionHead(widths[-1] * (spec.size // 16) ** 2, len(spec.classes), dropout)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(N, C, H, W), (N,) -> logits (N,)."""
        logits: Tensor = self.head(self.features(x), y)
        return logits


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
