"""Networks and parts of networks that more than one backend uses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses

from braingan.data.records import ImageSpec
from braingan.engine.convolutions import Convolution, TransposedConvolution


class UpsamplingGenerator(nn.Module):
    """G(z, y): a dense layer, reshape to 4x4, transposed convolutions (kernel 4, stride 2), tanh.

    Batch normalisation and ReLU follow each layer but the last (Radford et al. 2016). The class enters
    as a one-hot vector beside z (Mirza and Osindero 2014).

    Args:
        spec: what to make; its size is a power of two, 8 or more.
        latent_size: length of z.
        base_channels: feature maps at 32x32; half as many at twice the resolution, and so on.
    """

    def __init__(self, spec: ImageSpec, latent_size: int, base_channels: int) -> None:
        super().__init__()
        self.classes = len(spec.classes)
        widths = [_width(base_channels, 4 * 2**level) for level in range(int(math.log2(spec.size // 4)))]
        self.start = widths[0]
        self.dense = nn.Linear(latent_size + self.classes, self.start * 4 * 4)
        # In place: the layer before needs no copy of what it made, and fresh memory is slow to write.
        layers: list[nn.Module] = [nn.BatchNorm2d(self.start), nn.ReLU(inplace=True)]
        for wide, narrow in pairwise(widths):
            layers += [
                TransposedConvolution(wide, narrow, 4, 2, 1, bias=False),
                nn.BatchNorm2d(narrow),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers, TransposedConvolution(widths[-1], spec.channels, 4, 2, 1), nn.Tanh())
        self.apply(init_weights)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """(N, latent_size), (N,) -> (N, C, H, W) in [-1, 1]."""
        hidden = self.dense(torch.cat([z, F.one_hot(y, self.classes).to(z.dtype)], dim=1))
        images: Tensor = self.layers(hidden.view(-1, self.start, 4, 4))
        return images


class ProjectionHead(nn.Module):
    """Features -> one logit; the class enters as a projection (Miyato and Koyama 2018).

    Args:
        features: length of the flattened features.
        classes: number of classes; with one, the head is a plain linear layer.
        dropout: share of the features dropped in training.
    """

    def __init__(self, features: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(features, 1)
        self.embedding = nn.Embedding(classes, features) if classes > 1 else None
        self.apply(init_weights)

    def forward(self, features: Tensor, y: Tensor) -> Tensor:
        """(N, ...), (N,) -> logits (N,)."""
        if features.requires_grad and features.ndim == 4:
            features.register_hook(partial(_in_layout_of, features.stride()))  # type: ignore[no-untyped-call]
        flat = self.dropout(features.flatten(1))
        logits: Tensor = self.linear(flat).squeeze(1)
        if self.embedding is not None:
            logits = logits + (self.embedding(y) * flat).sum(dim=1)
        return logits


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` with a quicker draw on a CPU, where drawing bits takes four times as long as numbers."""

    def forward(self, input: Tensor) -> Tensor:
        """Drops, and scales what is kept, in training; else gives what came."""
        if not self.training or not 0 < self.p < 1 or input.device.type != "cpu":
            return super().forward(input)
        kept = torch.rand(input.shape) >= self.p
        return input * kept.to(input.dtype).mul_(1 / (1 - self.p))


def strided_convolutions(channels: Sequence[int], *, batch_norm: bool) -> nn.Sequential:
    """Convolutions with kernel 3 and stride 2 through these widths, each followed by LeakyReLU(0.2).

    Args:
        channels: of the images, and of each convolution.
        batch_norm: whether all but the first convolution are batch-normalised (Radford et al. 2016).
    """
    layers: list[nn.Module] = []
    for number, (narrow, wide) in enumerate(pairwise(channels)):
        norm = [nn.BatchNorm2d(wide)] if batch_norm and number else []
        layers += [Convolution(narrow, wide, 3, 2, 1), *norm, nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers).apply(init_weights)


def init_weights(module: nn.Module) -> None:
    """Normal weights with a deviation of 0.02, biases of zero (Radford et al. 2016)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, 0.02)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _in_layout_of(strides: Sequence[int], gradient: Tensor) -> Tensor:
    """The gradient in the layout of its tensor: `flatten` gives another, with which the layers before are slow."""
    if gradient.stride() == strides:
        return gradient
    return torch.empty_strided(gradient.shape, strides, dtype=gradient.dtype, device=gradient.device).copy_(gradient)


def _width(base_channels: int, resolution: int) -> int:
    return max(8, base_channels * 32 // resolution)
