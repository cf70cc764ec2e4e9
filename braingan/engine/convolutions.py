"""Convolutions that take the quick way on a CPU where the library's own is slow.

Three kinds of work are slow there, whatever the type of numbers, and quick as one matrix product over patches (im2col;
Chellapilla et al. 2006): the gradient of the weights where the feature map is small, everything else of a plain
convolution where it is tiny, and everything that makes images of one or two channels. Which way is taken depends on
shapes alone, never on timing, so that a run that is taken up again computes the very same numbers. Both ways are equal
up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses

# Measured at batches of 16 and 64, in float32 and bfloat16:
SMALL = 16  # positions of a map: up to 4x4, a product needs 0.2 to 0.95 of the time; at 8x8 it gains or loses little
TINY = 4  # positions of a map: up to 2x2, a product needs 0.15 to 0.7 of the time, forward and back; at 4x4 it may lose
THIN = 2  # channels of an image: a product needs 0.25 to 0.9 of the time; with 4 it mostly needs more

Pair = tuple[int, int]


class Convolution(nn.Conv2d):
    """`torch.nn.Conv2d`, with the quick ways. Its state is the same."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not _plain(self, input):
            theirs: Tensor = super()._conv_forward(input, weight, bias)
            return theirs
        return _apply(input, weight, bias, self, transposed=False)


def take_quick_ways(network: nn.Module) -> nn.Module:
    """Let the plain convolutions of somebody else's network take the quick ways, in place.

    Only layers that are `torch.nn.Conv2d` itself are touched: a subclass computes something of its own. Weights, their
    names and the results stay the same, up to rounding.
    """
    for layer in network.modules():
        if type(layer) is nn.Conv2d:
            layer.__class__ = Convolution
    return network


class TransposedConvolution(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d`, with the quick ways. Its state is the same.

    Images of one or two channels are float32 under autocast, too: bfloat16 has steps of half a grey level.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        if output_size is not None or any(self.output_padding) or not _plain(self, input):
            return super().forward(input, output_size)
        return _apply(input, self.weight, self.bias, self, transposed=True)


def _plain(layer: nn.Conv2d | nn.ConvTranspose2d, images: Tensor) -> bool:
    """Whether the quick ways are known for this layer, and wanted: on a GPU the library's own are quick."""
    return (
        images.device.type == "cpu"
        and images.ndim == 4
        and images.numel() > 0
        and layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _apply(
    images: Tensor, weight: Tensor, bias: Tensor | None, layer: nn.Conv2d | nn.ConvTranspose2d, *, transposed: bool
) -> Tensor:
    if torch.is_autocast_enabled("cpu"):  # autocast does not look into functions of one's own
        dtype = torch.get_autocast_dtype("cpu")
        images, weight, bias = images.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    result: Tensor = _Convolve.apply(images, weight, bias, layer.stride, layer.padding, transposed)
    return result


class _Convolve(torch.autograd.Function):
    """A convolution or a transposed one. Its backward is made of differentiable operations: it can be derived again."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, transposed: bool
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.bias = None if bias is None else list(bias.shape)
        ctx.stride, ctx.padding, ctx.transposed = stride, padding, transposed
        if transposed and weight.shape[1] <= THIN:
            height, width = (
                (side - 1) * step - 2 * pad + kernel
                for side, step, pad, kernel in zip(images.shape[2:], stride, padding, weight.shape[2:], strict=True)
            )
            made = _spread(images, weight, (height, width), stride, padding)
            return made if bias is None else made.add_(bias.view(-1, 1, 1))  # float32: what looks at images wants it
        if not transposed and (size := _tiny(images, weight, stride, padding)):
            made = _multiply(images, weight, size, stride, padding)
            return made if bias is None else made.add_(bias.view(-1, 1, 1))
        convolve = F.conv_transpose2d if transposed else F.conv2d
        return convolve(images, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        gradient = gradient.to(images.dtype)
        of_images, of_weight, of_bias = ctx.needs_input_grad[:3]
        made: list[Tensor | None] = [None, None, None]
        if of_images and not ctx.transposed and images.shape[1] <= THIN:
            size = images.shape[2], images.shape[3]
            made[0], of_images = _spread(gradient, weight, size, ctx.stride, ctx.padding).to(images.dtype), False
        narrow, wide = (images, gradient) if ctx.transposed else (gradient, images)
        positions = narrow.shape[2] * narrow.shape[3]
        if of_images and not ctx.transposed and positions <= TINY:
            made[0], of_images = _scatter(gradient, images, weight, ctx.stride, ctx.padding), False
        if of_weight and positions <= SMALL:
            made[1], of_weight = _gather(narrow, wide, weight, ctx.stride, ctx.padding), False
        if of_bias and not of_weight:  # asked for the bias alone, the library would compute the weights' gradient, too
            made[2], of_bias = gradient.sum((0, 2, 3)), False
        wanted = [of_images, of_weight, of_bias]
        rest = torch.ops.aten.convolution_backward(
            gradient, images, weight, ctx.bias, ctx.stride, ctx.padding, (1, 1), ctx.transposed, (0, 0), 1, wanted
        )
        made = [theirs if want else own for own, theirs, want in zip(made, rest, wanted, strict=True)]
        if made[0] is not None and images.is_contiguous():  # what comes before is slow with two layouts at once
            made[0] = made[0].contiguous()
        return *made, None, None, None


def _spread(narrow: Tensor, weight: Tensor, size: Pair, stride: Pair, padding: Pair) -> Tensor:
    """Each position's values times the kernel, added up where they overlap: a transposed convolution.

    (N, K, h, w), (K, C, kh, kw) -> (N, C, *size), added up in float32 at least.
    """
    count, channels = narrow.shape[:2]
    patches = narrow.permute(0, 2, 3, 1).reshape(-1, channels) @ weight.reshape(channels, -1)
    patches = patches.view(count, -1, patches.shape[1]).transpose(1, 2)
    if patches.dtype != torch.float64:
        patches = patches.float()
    return F.fold(patches, size, weight.shape[2:], padding=padding, stride=stride)


def _tiny(images: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Pair | None:
    """Height and width of what a convolution makes, where that is tiny; None also for what torch has to refuse."""
    height, width = (
        (side + 2 * pad - kernel) // step + 1
        for side, pad, kernel, step in zip(images.shape[2:], padding, weight.shape[2:], stride, strict=True)
    )
    fits = min(height, width) >= 1 and images.shape[1] == weight.shape[1]
    return (height, width) if fits and height * width <= TINY else None


def _multiply(wide: Tensor, weight: Tensor, size: Pair, stride: Pair, padding: Pair) -> Tensor:
    """A convolution: patches times the kernel. (N, C, H, W), (K, C, kh, kw) -> (N, K, *size), laid out as torch's."""
    kernel = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
    shape = (len(wide), len(weight), *size)
    made = torch.empty(shape, dtype=wide.dtype, device=wide.device, memory_format=torch.channels_last)
    rows = made.permute(0, 2, 3, 1).view(-1, len(weight))  # autograd forbids what comes next to change a view in place
    torch.mm(_patches(wide, weight, size, stride, padding), kernel.t(), out=rows)
    return made.contiguous() if wide.is_contiguous() and weight.is_contiguous() else made


def _scatter(narrow: Tensor, wide: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """As `_spread`, for few positions of many channels: the gradient of `_multiply`'s images, which `wide` is like."""
    (count, channels, rows, columns), (kh, kw) = narrow.shape, weight.shape[2:]
    kernel = weight.permute(0, 2, 3, 1).reshape(channels, -1)
    patches = (narrow.permute(0, 2, 3, 1).reshape(-1, channels) @ kernel).view(count, rows, columns, kh, kw, -1)
    (height, width), (down, right) = wide.shape[2:], stride
    dtype = torch.promote_types(patches.dtype, torch.float32)
    shape = (count, height + 2 * padding[0], width + 2 * padding[1], patches.shape[-1])
    made = torch.zeros(shape, dtype=dtype, device=narrow.device)
    for row in range(kh):
        for column in range(kw):
            below, beside = row + down * (rows - 1) + 1, column + right * (columns - 1) + 1
            made[:, row:below:down, column:beside:right].add_(patches[:, :, :, row, column])
    inner = made[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
    return inner.permute(0, 3, 1, 2).to(wide.dtype).contiguous(memory_format=torch.channels_last)


def _gather(narrow: Tensor, wide: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The weights' gradient: the narrow map's values times the patches of the wide one that they belong to.

    (N, K, h, w), (N, C, H, W), (K, C, kh, kw) -> (K, C, kh, kw).
    """
    size, (kh, kw) = (narrow.shape[2], narrow.shape[3]), weight.shape[2:]
    values = narrow.permute(0, 2, 3, 1).reshape(-1, narrow.shape[1])
    made = values.t() @ _patches(wide, weight, size, stride, padding)
    return made.view(-1, kh, kw, wide.shape[1]).permute(0, 3, 1, 2)


def _patches(wide: Tensor, weight: Tensor, size: Pair, stride: Pair, padding: Pair) -> Tensor:
    """What the kernel sees at each position of the narrow map: (N h w, kh kw C)."""
    (rows, columns), (down, right), (kh, kw) = size, stride, weight.shape[2:]
    padded = F.pad(wide.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0]))
    patches = padded.unfold(1, kh, down)[:, :rows].unfold(2, kw, right)[:, :, :columns]  # (N, h, w, C, kh, kw)
    return patches.permute(0, 1, 2, 4, 5, 3).reshape(-1, kh * kw * wide.shape[1])  # channels last: whole runs
