"""Wasserstein GANs: weight clipping, and gradient penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from braingan import ImageSpec, SettingsError
from braingan.generation.gan import GAN, adam
from braingan.generation.layers import ProjectionHead, UpsamplingGenerator, strided_convolutions


@dataclass(frozen=True)
class Wasserstein(GAN):
    """What both have in common: a critic that estimates a distance, and a generator that shortens it.

    Attributes:
        base_channels: feature maps of G at 32x32 and of the critic's first convolution.
    """

    n_critic: int = 5
    base_channels: int = 32

    critic_batch_norm: ClassVar[bool] = False

    def check(self, spec: ImageSpec) -> None:
        """Raise `SettingsError` for what the networks cannot make or be."""
        super().check(spec)
        if self.base_channels < 1:
            raise SettingsError(f"base_channels {self.base_channels} was given; 1 or more work")

    def networks(self, spec: ImageSpec) -> tuple[nn.Module, nn.Module]:
        """G and the critic."""
        critic = Critic(spec, self.base_channels, batch_norm=self.critic_batch_norm)
        return UpsamplingGenerator(spec, self.latent_size, self.base_channels), critic

    def discriminator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """The critic's estimate of the distance, negative."""
        distance: Tensor = D(real, y).mean() - D(fake, y).mean()
        return -distance

    def generator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """What the critic thinks of fakes, negative."""
        score: Tensor = D(fake, y).mean()
        return -score


@dataclass(frozen=True)
class WGAN(Wasserstein):
    """Wasserstein GAN with weight clipping: stable losses, slow to sharpen (Arjovsky et al. 2017).

    Attributes:
        clip: the critic's weights stay in [-clip, clip].
    """

    learning_rate: float = 5e-5
    clip: float = 0.01

    critic_batch_norm: ClassVar[bool] = True

    def optimizers(self, G: nn.Module, D: nn.Module) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        """RMSprop: the paper found that momentum makes the clipped critic unstable."""
        rate = self.learning_rate
        return torch.optim.RMSprop(G.parameters(), rate), torch.optim.RMSprop(D.parameters(), rate)

    def after_discriminator_step(self, D: nn.Module) -> None:
        """Clip the critic's weights."""
        with torch.no_grad():
            for weight in D.parameters():
                weight.clamp_(-self.clip, self.clip)


@dataclass(frozen=True)
class WGANGP(Wasserstein):
    """Wasserstein GAN with gradient penalty: sharper than clipping, slower a step (Gulrajani et al. 2017).

    Attributes:
        gp_weight: of the penalty.
        gp_every: updates of the critic for each in which the penalty is computed, and taken that many times as
            strong. 1 is the paper's.
    """

    learning_rate: float = 1e-4
    gp_weight: float = 10.0
    gp_every: int = 1

    def check(self, spec: ImageSpec) -> None:
        """Raise `SettingsError` for what the networks cannot make or be."""
        super().check(spec)
        if self.gp_every < 1:
            raise SettingsError(f"gp_every {self.gp_every} was given; 1 or more work")

    @property
    def penalty_every(self) -> int:
        """See `GAN.penalty_every`."""
        return self.gp_every

    def discriminator_penalty(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor | None:
        """The gradient penalty."""
        return self.gp_weight * gradient_penalty(D, real, fake, y)

    def optimizers(self, G: nn.Module, D: nn.Module) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        """Adam with betas (0, 0.9), as in the paper."""
        return adam(G, self.learning_rate, (0.0, 0.9)), adam(D, self.learning_rate, (0.0, 0.9))


class Critic(nn.Module):
    """D(x, y): four convolutions (kernel 3, stride 2) and one number.

    Args:
        spec: what it is shown.
        base_channels: width of the first convolution; each further one doubles it.
        batch_norm: clipped weights need it, or signals fade on their way; the gradient penalty forbids
            it, being defined image by image.
    """

    def __init__(self, spec: ImageSpec, base_channels: int, *, batch_norm: bool) -> None:
        super().__init__()
        widths = [base_channels * 2**level for level in range(4)]
        self.features = strided_convolutions([spec.channels, *widths], batch_norm=batch_norm)
        self.head = ProjectionHead(widths[-1] * (spec.size // 16) ** 2, len(spec.classes))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(N, C, H, W), (N,) -> (N,)."""
        scores: Tensor = self.head(self.features(x), y)
        return scores


def gradient_penalty(D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
    """How far the critic's slope between real and fake images is from 1, squared, on average.

    Computed in float32 with autocast off: half precision loses the small differences that it is made of.

    Args:
        D: the critic itself, not a wrapper that shares gradients among processes.
        real: (N, C, H, W).
        fake: (N, C, H, W).
        y: (N,).

    Returns:
        A scalar that can be differentiated.
    """
    with torch.autocast(real.device.type, enabled=False):
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = torch.lerp(real.float(), fake.float(), share).requires_grad_(True)
        (slope,) = torch.autograd.grad(D(between, y).sum(), between, create_graph=True)
        penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return penalty
