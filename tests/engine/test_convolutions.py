"""The quick convolutions give what torch's own give, and so do their gradients, of the first and second order."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from braingan.engine import convolutions
from braingan.engine.convolutions import Convolution, TransposedConvolution, take_quick_ways
from braingan.generation.layers import Dropout, ProjectionHead

Layers = tuple[nn.Module, nn.Module]

# Channels in and out, kernel, stride, padding, side: some take the quick ways, others do not.
SHAPES: list[tuple[Any, ...]] = [
    (8, 6, 3, 2, 1, 8),
    (1, 8, 3, 2, 1, 16),
    (2, 8, 3, 2, 1, 6),
    (3, 8, 3, 2, 1, 16),
    (4, 4, 3, 1, 1, 3),
    (5, 7, 4, 3, 0, 9),
    (8, 2, 4, 2, 1, 4),
    (8, 1, 4, 2, 1, 8),
    (6, 4, 4, 2, 1, 2),
    (4, 3, 5, 3, 2, 6),
    (2, 6, (3, 5), (2, 1), (0, 2), 5),
    (6, 2, (3, 5), (2, 1), (0, 2), 5),
    (5, 7, 3, 1, 1, 2),
    (4, 6, 3, 2, 1, 4),
    (3, 5, (3, 2), (2, 3), (0, 1), 5),
    (6, 5, 1, 1, 0, 2),
    (3, 4, 3, 2, 0, 6),
]


def pair(shape: tuple[Any, ...], *, transposed: bool, bias: bool = True) -> Layers:
    """Torch's layer and ours, with the same weights."""
    kinds = (nn.ConvTranspose2d, TransposedConvolution) if transposed else (nn.Conv2d, Convolution)
    entering, leaving, kernel, stride, padding = shape[:5]
    theirs, own = (kind(entering, leaving, kernel, stride, padding, bias=bias) for kind in kinds)
    layers = theirs, own
    layers[1].load_state_dict(layers[0].state_dict())
    return layers


def gradients(layer: nn.Module, images: Tensor, target: Tensor) -> list[Tensor]:
    """The result, and the gradients of images, weights and bias."""
    images = images.clone().requires_grad_(True)
    made = layer(images)
    (made * target).sum().backward()
    assert images.grad is not None
    return [made, images.grad, *(weight.grad for weight in layer.parameters() if weight.grad is not None)]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_results_and_gradients_are_torchs(
    shape: tuple[Any, ...], *, transposed: bool, bias: bool, channels_last: bool
) -> None:
    layers = pair(shape, transposed=transposed, bias=bias)
    images = torch.randn(5, shape[0], shape[5], shape[5])
    if channels_last:
        layers = tuple(layer.to(memory_format=torch.channels_last) for layer in layers)  # type: ignore[assignment]
        images = images.to(memory_format=torch.channels_last)
    target = torch.randn_like(layers[0](images))
    for theirs, own in zip(*(gradients(layer, images, target) for layer in layers), strict=True):
        torch.testing.assert_close(own, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_of_gradients_are_right(shape: tuple[Any, ...], *, transposed: bool) -> None:
    layer = pair(shape, transposed=transposed)[1].double()
    images = torch.randn(2, shape[0], shape[5], shape[5], dtype=torch.float64, requires_grad=True)

    def made(images: Tensor, *weights: Tensor) -> Tensor:
        names = dict(zip(("weight", "bias"), weights, strict=True))
        result: Tensor = torch.func.functional_call(layer, names, images)
        return result

    inputs = (images, *layer.parameters())
    assert torch.autograd.gradcheck(made, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(made, inputs, fast_mode=True)


def noting(way: Callable[..., Tensor], taken: list[str]) -> Callable[..., Tensor]:
    def noted(*given: Any) -> Tensor:
        taken.append(way.__name__)
        return way(*given)

    return noted


def test_small_maps_and_thin_images_do_take_the_quick_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    for name in ("_spread", "_gather", "_multiply", "_scatter"):
        monkeypatch.setattr(convolutions, name, noting(getattr(convolutions, name), taken))
    for shape, transposed, expected in (
        ((1, 8, 3, 2, 1, 16), False, ["_spread"]),
        ((8, 8, 3, 2, 1, 8), False, ["_gather"]),
        ((8, 8, 3, 2, 1, 4), False, ["_multiply", "_scatter", "_gather"]),
        ((8, 8, 3, 1, 1, 3), False, ["_gather"]),
        ((8, 8, 3, 2, 1, 16), False, []),
        ((8, 8, 4, 2, 1, 4), True, ["_gather"]),
        ((8, 1, 4, 2, 1, 16), True, ["_spread"]),
        ((8, 8, 4, 2, 1, 16), True, []),
    ):
        taken.clear()
        layer = pair(shape, transposed=transposed)[1]
        images = torch.randn(2, shape[0], shape[5], shape[5], requires_grad=True)
        layer(images).sum().backward()
        assert taken == expected


def test_autocast_reaches_into_them() -> None:
    for shape, transposed in ((SHAPES[0], False), (SHAPES[1], False), (SHAPES[6], True), (SHAPES[12], False)):
        theirs, own = pair(shape, transposed=transposed)
        images = torch.randn(5, shape[0], shape[5], shape[5])
        with torch.autocast("cpu", torch.bfloat16):
            target = torch.randn_like(theirs(images))
            expected, found = gradients(theirs, images, target), gradients(own, images, target)
        assert [one.dtype for one in found[1:]] == [one.dtype for one in expected[1:]]
        assert found[0].dtype == (torch.float32 if transposed else torch.bfloat16)  # thin images stay exact
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.float(), other.float(), atol=0.05, rtol=0.05)


def test_layers_of_a_kind_that_is_not_known_are_torchs() -> None:
    images = torch.randn(2, 4, 6, 6)
    for kind in ({"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect", "padding": 1}, {"padding": "same"}):
        torch.manual_seed(0)
        own = Convolution(4, 4, 3, **kind)
        torch.manual_seed(0)
        theirs = nn.Conv2d(4, 4, 3, **kind)
        assert torch.equal(own(images), theirs(images))
    wider = TransposedConvolution(4, 2, 3, 2, 1, output_padding=1)
    torchs = nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1)
    torchs.load_state_dict(wider.state_dict())
    assert torch.equal(wider(images), torchs(images))
    assert wider(images[0]).shape == torchs(images[0]).shape
    assert TransposedConvolution(4, 1, 4, 2, 1)(images[:0]).shape == (0, 1, 12, 12)


def test_what_tiny_maps_are_made_of_lies_in_memory_as_torchs_does() -> None:
    theirs, own = pair((8, 8, 3, 2, 1, 4), transposed=False)
    for layout in (torch.contiguous_format, torch.channels_last):
        images = torch.randn(2, 8, 4, 4).to(memory_format=layout)
        layers = [layer.to(memory_format=layout) for layer in (theirs, own)]
        assert own(images).stride() == theirs(images).stride()
        entering = [images.clone().requires_grad_(True) for _ in layers]
        for layer, given in zip(layers, entering, strict=True):
            layer(given).sum().backward()
        assert entering[1].grad is not None
        assert entering[1].grad.stride() == images.stride()


def test_what_comes_next_may_work_in_place() -> None:
    for shape in ((8, 8, 3, 2, 1, 4), (8, 8, 3, 2, 1, 16), (8, 8, 1, 1, 0, 1)):
        for layer in pair(shape, transposed=False):
            images = torch.randn(2, 8, shape[5], shape[5], requires_grad=True)
            torch.relu_(layer(images)).sum().backward()
            assert images.grad is not None


def test_what_torch_refuses_is_refused_in_its_words() -> None:
    for shape, given in (((4, 4, 3, 1, 0, 2), 4), ((4, 4, 3, 1, 1, 2), 5)):
        messages = []
        for layer in pair(shape, transposed=False):
            with pytest.raises(RuntimeError) as refused:
                layer(torch.randn(1, given, 2, 2))
            messages.append(str(refused.value))
        assert messages[0] == messages[1]


def test_a_strangers_network_takes_them_and_computes_the_same() -> None:
    class Doubled(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), Doubled(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1))
    own = take_quick_ways(copy.deepcopy(theirs))
    assert [type(layer) for layer in own] == [Convolution, nn.ReLU, Doubled, Convolution]
    assert list(own.state_dict()) == list(theirs.state_dict())
    images, target = torch.randn(4, 3, 16, 16), torch.randn(4, 8, 2, 2)
    for one, other in zip(gradients(own, images, target), gradients(theirs, images, target), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_dropout_drops_its_share_keeps_the_mean_and_does_nothing_out_of_training() -> None:
    torch.manual_seed(0)
    dropout, images = Dropout(0.4), torch.ones(200, 500)
    made = dropout(images)
    assert float((made == 0).float().mean()) == pytest.approx(0.4, abs=0.01)
    assert float(made.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(made.max()) == pytest.approx(1 / 0.6)
    assert torch.equal(dropout.eval()(images), images)
    assert dropout(images.bfloat16()).dtype == torch.bfloat16


def test_gradients_come_in_the_layout_of_what_they_belong_to() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 6, 4, 4).to(memory_format=torch.channels_last).requires_grad_(True)
    images = torch.randn(2, 8, 4, 4, requires_grad=True)
    layer = TransposedConvolution(8, 6, 4, 2, 1).to(memory_format=torch.channels_last)
    head, classes = ProjectionHead(6 * 4 * 4, 2), torch.tensor([0, 1])
    results: list[tuple[Tensor, Callable[[Tensor], Tensor]]]
    results = [(features * 1, lambda given: head(given, classes)), (images * 1, lambda given: layer(given))]
    for entering, result in results:
        strides: list[tuple[int, ...]] = []
        made = result(entering)
        entering.register_hook(lambda gradient, strides=strides: strides.append(gradient.stride()))  # type: ignore[no-untyped-call]
        made.sum().backward()  # type: ignore[no-untyped-call]
        assert strides == [entering.stride()]
    plain = features.detach().contiguous().requires_grad_(True)
    head(plain, classes).sum().backward()
    assert plain.grad is not None
    assert features.grad is not None
    assert torch.equal(features.grad, plain.grad)
