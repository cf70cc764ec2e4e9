"""The precision is chosen by time and by finite losses, on a clock that the trials turn themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from braingan import ImageSpec, SettingsError, TrainingData, TrainingRun
from braingan.engine import precision
from braingan.engine.precision import Arithmetic, candidates, check_precision, choose_precision
from braingan_dcgan import DCGAN

CPU = torch.device("cpu")
Trial = Callable[[str], Callable[[], Tensor]]


@pytest.fixture
def trial_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trial]:
    """Trials whose steps take the milliseconds given, and give the losses given."""
    now = [0.0]
    monkeypatch.setattr(precision, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def make(milliseconds: dict[str, list[float]], losses: dict[str, list[float]] | None = None) -> Trial:
        def trial(name: str) -> Callable[[], Tensor]:
            took, gave = iter([0.0, 0.0, *milliseconds[name]]), iter((losses or {}).get(name, [1.0] * 9))

            def step() -> Tensor:
                now[0] += next(took) / 1000
                return torch.tensor(next(gave))

            return step

        return trial

    return make


def test_the_fastest_precision_is_taken_and_a_step_takes_what_the_quickest_took(
    trial_of: Callable[..., Trial],
) -> None:
    chosen = choose_precision(CPU, trial_of({"float32": [80, 20, 60, 30, 90], "bfloat16": [90, 10, 70, 20, 80]}))
    assert chosen == ("bfloat16", {"float32": 20, "bfloat16": 10})


def test_coarser_numbers_are_not_taken_for_a_gain_that_may_be_chance(trial_of: Callable[..., Trial]) -> None:
    assert choose_precision(CPU, trial_of({"float32": [20] * 5, "bfloat16": [19] * 5}))[0] == "float32"
    assert choose_precision(CPU, trial_of({"float32": [20] * 5, "bfloat16": [17] * 5}))[0] == "bfloat16"
    assert choose_precision(CPU, trial_of({"float32": [20] * 5, "bfloat16": [40] * 5}))[0] == "float32"


def test_a_hopelessly_slow_precision_is_not_tried_again(trial_of: Callable[..., Trial]) -> None:
    """Where bfloat16 is emulated a step takes seconds."""
    trial = trial_of({"float32": [30, 20, 30, 30, 30], "bfloat16": [9000, 8000]})  # a third step would fail
    assert choose_precision(CPU, trial) == ("float32", {"float32": 20, "bfloat16": 8000})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_precision_whose_losses_are_no_numbers_is_not_taken(trial_of: Callable[..., Trial], bad: float) -> None:
    trial = trial_of({"float32": [20] * 5, "bfloat16": [5] * 5}, {"bfloat16": [1.0, bad, *[1.0] * 7]})
    assert choose_precision(CPU, trial) == ("float32", {"float32": 20})


def test_float32_is_kept_where_no_precision_gives_numbers(trial_of: Callable[..., Trial]) -> None:
    nothing = [float("nan")] * 9
    trial = trial_of({"float32": [20] * 5, "bfloat16": [5] * 5}, {"bfloat16": nothing, "float32": nothing})
    assert choose_precision(CPU, trial) == ("float32", {})


def test_each_kind_of_device_has_a_coarse_precision_worth_a_trial() -> None:
    assert candidates(CPU) == ("float32", "bfloat16")
    assert candidates(torch.device("mps")) == ("float32",)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(SettingsError, match="precision 'float64' was asked; auto, float32, bfloat16, float16 work"):
        check_precision("float64")


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_convolutions_run_in_the_precision_and_weights_stay_float32(name: str) -> None:
    layer, arithmetic = nn.Conv2d(1, 2, 3), Arithmetic(name, CPU)
    with arithmetic.autocast():
        made = layer(torch.ones(1, 1, 4, 4))
    assert made.dtype == arithmetic.dtype == getattr(torch, name)
    assert layer.weight.dtype == torch.float32


def test_only_float16_scales_losses_and_its_scale_goes_on_where_it_was() -> None:
    assert Arithmetic("float32", CPU).state() == Arithmetic("bfloat16", CPU).state() == {}
    weight = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], 0.0)

    def overflow(arithmetic: Arithmetic) -> None:
        scaled = arithmetic.scaler.scale(weight * float("inf"))
        scaled.backward()  # type: ignore[no-untyped-call]
        arithmetic.scaler.step(optimizer)
        arithmetic.scaler.update()

    first, later = Arithmetic("float16", CPU), Arithmetic("float16", CPU)
    overflow(first)
    assert first.state()["scale"] == later.state()["scale"] / 2
    later.load(first.state())
    overflow(first)
    overflow(later)
    assert later.state() == first.state()


@pytest.fixture
def data() -> TrainingData:
    """Eight images of two classes."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 1, 32, 32), dtype=torch.uint8, generator=random)
    return TrainingData(images, torch.arange(8) % 2, ImageSpec(32, 1, ("a", "b")))


def test_real_steps_are_timed_and_leave_the_callers_random_state_alone(data: TrainingData, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    chosen, milliseconds = DCGAN(base_channels=4).choose_precision(data, TrainingRun(tmp_path, 50, batch_size=4))
    assert chosen in milliseconds
    assert set(milliseconds) == {"float32", "bfloat16"}
    assert all(value > 0 for value in milliseconds.values())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not list(tmp_path.iterdir())


def test_in_a_short_run_nothing_is_tried(data: TrainingData, tmp_path: Path) -> None:
    assert DCGAN().choose_precision(data, TrainingRun(tmp_path, steps=49)) == ("float32", {})
