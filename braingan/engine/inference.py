"""A copy of a trained network that gives the same and is quick about it."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from braingan.engine.convolutions import THIN, Convolution, TransposedConvolution
from braingan.engine.precision import TYPES

# Subclasses may compute something else.
FOLDABLE = {
    Convolution, TransposedConvolution, nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d,
}  # fmt: skip


def for_inference(network: nn.Module, precision: str = "float32") -> nn.Module:
    """A copy in evaluation mode, channels last, with its batch normalisation folded away.

    In evaluation mode, batch normalisation is a scale and a shift of each channel: what a convolution or a linear
    layer right before it in an `nn.Sequential` does as well, with other weights (Jacob et al. 2018).

    Args:
        network: stays as it is; called with tensors, gives one.
        precision: of convolutions and products, but for the last layer that has weights: rounding at the very end
            would show, as bfloat16 has steps of half a grey level next to black and white.
    """
    quick = copy.deepcopy(network).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    uses = Counter(child for module in quick.modules() for child in module._modules.values() if child is not None)
    for module in list(quick.modules()):
        if type(module) is nn.Sequential:
            _fold(module, uses)
    if precision == "float32":
        return quick
    return _Coarse(_with_exact_end(quick), TYPES[precision])


def _fold(sequence: nn.Sequential, uses: Counter[nn.Module]) -> None:
    for (place, layer), (name, norm) in pairwise(sequence._modules.items()):  # those that stand there twice, too
        if layer is None or norm is None or not (_plain(layer, uses) and _plain(norm, uses)):
            continue
        fused: nn.Module
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and type(norm) is nn.BatchNorm2d and _kept(norm):
            fused = fuse_conv_bn_eval(layer, norm, transpose=isinstance(layer, nn.ConvTranspose2d))
        elif isinstance(layer, nn.Linear) and type(norm) is nn.BatchNorm1d and _kept(norm):
            fused = fuse_linear_bn_eval(layer, norm)
        else:
            continue
        setattr(sequence, place, fused)
        setattr(sequence, name, nn.Identity())


def _plain(module: nn.Module, uses: Counter[nn.Module]) -> bool:
    """Whether a module is just what its type says, and is used in one place only."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, getattr(module, "parametrizations", ()))
    return type(module) in FOLDABLE and uses[module] == 1 and not any(hooks)


def _kept(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> bool:
    """Whether it normalises by what it has seen in training; without that, by the batch."""
    return norm.running_mean is not None


def _with_exact_end(network: nn.Module) -> nn.Module:
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    end = [name for name, module in network.named_modules() if isinstance(module, kinds)][-1:]
    if end and end[0]:  # a network may be a single layer itself
        parent, _, name = end[0].rpartition(".")
        holder = network.get_submodule(parent)
        layer = holder.get_submodule(name)
        if not (isinstance(layer, TransposedConvolution) and layer.out_channels <= THIN):  # exact enough by itself
            setattr(holder, name, _Exact(layer))
    return network


class _Exact(nn.Module):
    """A layer that computes in float32 within a network that does not."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, given: Tensor) -> Tensor:
        with torch.autocast(given.device.type, enabled=False):
            made: Tensor = self.layer(given.float())
        return made


class _Coarse(nn.Module):
    """Runs a network under autocast."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, *given: Tensor) -> Tensor:
        with torch.autocast(given[0].device.type, self.dtype):
            made: Tensor = self.network(*given)
        return made.float()
