"""The quick copy of a network makes the same images, and leaves the network alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from braingan.engine.inference import for_inference

GREY_LEVEL = 2 / 255


def network(channels: int = 1) -> nn.Sequential:
    """A made-up generator whose batch normalisation has seen something."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Unflatten(1, (16, 2, 2))),
        nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(inplace=True)),
        nn.Sequential(nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8, affine=False), nn.ReLU()),
        nn.Sequential(nn.ConvTranspose2d(8, channels, 4, 2, 1), nn.Tanh()),
    )
    for norm in made.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -1, 1)  # type: ignore[arg-type]
            nn.init.uniform_(norm.running_var, 0.5, 2)  # type: ignore[arg-type]
            if norm.affine:
                nn.init.uniform_(norm.weight, 0.5, 2)
                nn.init.uniform_(norm.bias, -1, 1)
    return made.eval()


def normed(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 2 * GREY_LEVEL)])
def test_the_quick_copy_makes_the_same_images(channels: int, precision: str, tolerance: float) -> None:
    plain, z = network(channels), torch.randn(6, 8)
    images = for_inference(plain, precision)(z)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images, plain(z), atol=tolerance, rtol=0)


def test_batch_normalisation_is_folded_away_in_the_copy_alone() -> None:
    plain = network()
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    assert normed(for_inference(plain)) == 0
    assert normed(plain) == 3
    assert before.keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in before.items())


def test_what_cannot_be_folded_stays_and_still_gives_the_same() -> None:
    class Backwards(nn.Sequential):
        """Runs its layers in an order of its own."""

        def forward(self, x: Tensor) -> Tensor:
            for layer in reversed(self):
                x = layer(x)
            return x

    torch.manual_seed(0)
    by_batch = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    alone = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3)).eval()
    backwards = Backwards(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)).eval()
    for plain in (by_batch, alone, backwards):
        nn.init.constant_(next(part for part in plain.modules() if isinstance(part, nn.BatchNorm2d)).weight, 3.0)
        images = torch.randn(3, 2, 5, 5)
        quick = for_inference(plain)
        assert normed(quick) == 1
        torch.testing.assert_close(quick(images), plain(images))


def test_the_end_is_exact_in_bfloat16() -> None:
    plain, z = network(4), torch.randn(64, 8)
    values = for_inference(plain, "bfloat16")(z).unique()
    assert not torch.equal(values, values.bfloat16().float())  # finer than bfloat16 can be
    single = nn.Linear(8, 2)
    torch.testing.assert_close(for_inference(single, "bfloat16")(z), single(z), atol=0.05, rtol=0)


class Standardised(nn.Conv2d):
    """A convolution of somebody's own, which does more than its base."""

    def forward(self, given: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(given, weight / weight.std(), self.bias)


def used_twice() -> nn.Sequential:
    act = nn.LeakyReLU(0.2)
    return nn.Sequential(nn.Conv2d(3, 8, 3), act, nn.Conv2d(8, 8, 3), act, nn.BatchNorm2d(8))


def hooked() -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    network[0].register_forward_hook(lambda module, given, made: made * 3 + 1)
    return network


OF_OTHERS = {
    "an activation that stands there twice": used_twice,
    "a convolution with standardised weights": lambda: nn.Sequential(Standardised(3, 8, 3), nn.BatchNorm2d(8)),
    "spectral normalisation": lambda: nn.Sequential(spectral_norm(nn.Conv2d(3, 8, 3)), nn.BatchNorm2d(8)),
    "a hook": hooked,
}


@pytest.mark.parametrize("name", OF_OTHERS)
def test_networks_that_do_something_of_their_own_are_left_as_they_are(name: str) -> None:
    torch.manual_seed(0)
    network = OF_OTHERS[name]()
    for _ in range(3):
        network(torch.randn(16, 3, 9, 9) * 2 + 1)
    given = torch.randn(4, 3, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(for_inference(network)(given), network.eval()(given), atol=1e-5, rtol=1e-5)
