"""A trained network as a `protocol.Generator`."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor, nn

from braingan.data.records import ImageSpec
from braingan.engine.inference import for_inference
from braingan.generation.latents import draw_latents

BATCH = 32  # sampling always runs batches of this shape: rounding in a convolution depends on the batch's size


class GANGenerator:
    """A trained G.

    Args:
        G: the network, called as G(z, y). What samples is a quicker copy of it, made at the first call of `sample`.
        spec: what it makes.
        latent_size: length of z.
        precision: what the copy computes in; "float32", "bfloat16" or "float16".
    """

    def __init__(self, G: nn.Module, spec: ImageSpec, latent_size: int, precision: str = "float32") -> None:
        self.G = G.eval().requires_grad_(False)
        self.spec = spec
        self.latent_size = latent_size
        self.precision = precision

    def sample(self, labels: Tensor, *, seed: int, first: int = 0) -> Tensor:
        """See `protocol.Generator.sample`."""
        device = next(self.G.parameters()).device
        ahead = first % BATCH  # places in the batch, too, depend on the image's number alone
        behind = -(ahead + len(labels)) % BATCH
        padded = torch.nn.functional.pad(labels.cpu(), (ahead, behind))
        latents = torch.zeros(len(padded), self.latent_size)
        latents[ahead : ahead + len(labels)] = draw_latents(labels.tolist(), self.latent_size, seed=seed, first=first)
        quick = self._quick
        with torch.inference_mode():
            batches = [
                quick(z.to(device), y.to(device)).float()
                for z, y in zip(torch.split(latents, BATCH), torch.split(padded, BATCH), strict=True)
            ]
        images = torch.cat(batches).cpu() if batches else torch.zeros(0, *self.spec.shape)
        return images[ahead : ahead + len(labels)].clone(memory_format=torch.contiguous_format)

    def in_precision(self, precision: str) -> GANGenerator:
        """The same generator, sampling in another precision: bfloat16 is up to one grey level off float32."""
        return GANGenerator(self.G, self.spec, self.latent_size, precision)

    def state_dict(self) -> dict[str, Tensor]:
        """G's weights, on the CPU."""
        return {name: value.cpu().contiguous() for name, value in self.G.state_dict().items()}

    @cached_property
    def _quick(self) -> nn.Module:
        return for_inference(self.G, self.precision)
