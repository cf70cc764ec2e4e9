"""A training that was stopped, killed, or hindered ends with the very weights that it would have had."""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import braingan
from braingan import ImageSpec, OutputError, TrainingData, TrainingDivergedError, TrainingRun
from braingan.errors import StoppedError
from braingan.generation.callbacks import Callback, Callbacks
from braingan.generation.checkpoints import checkpoint_path, checkpoints_in, load_checkpoint
from braingan.generation.gan import GAN
from braingan.generation.training import Training
from braingan_dcgan import DCGAN
from braingan_wgan import WGAN, WGANGP

Options = dict[str, Any]
StopAt = Callable[..., Callback]
State = dict[str, Tensor]
StartTraining = Callable[..., ForkServerProcess]

SMALL: Options = {"latent_size": 8, "base_channels": 4}
GAMES = {
    "dcgan": (DCGAN(**SMALL), {}),
    "dcgan in bfloat16": (DCGAN(**SMALL), {"precision": "bfloat16"}),
    "dcgan in float16": (DCGAN(**SMALL), {"precision": "float16"}),
    "wgan": (WGAN(**SMALL, n_critic=2), {}),
    "wgan in float16": (WGAN(**SMALL, n_critic=2), {"precision": "float16"}),
    "wgan-gp": (WGANGP(**SMALL, n_critic=3), {"class_sampling": "natural"}),
    "wgan-gp with a penalty every other time": (WGANGP(**SMALL, n_critic=3, gp_every=2), {}),
}


def fit(game: GAN, data: TrainingData, folder: Path, steps: int, *callbacks: Callback, **options: Any) -> State:
    """Train in this process, or go on with what is in the folder; give the generator's weights."""
    folder.mkdir(exist_ok=True)
    run = TrainingRun(folder, steps, batch_size=4, callbacks=Callbacks(callbacks), **options)
    return game.fit(data, run).state_dict()


def assert_equal(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


def latest_in(folder: Path) -> Path:
    return checkpoints_in(folder / "checkpoints")[-1]


def assert_equal_runs(one: Path, other: Path) -> None:
    """Weights, averages, optimisers, scaler, watch and statistics are the same, bit by bit."""
    first, second = load_checkpoint(latest_in(one)), load_checkpoint(latest_in(other))
    assert first.step == second.step
    assert_equal(first.tensors, second.tensors)
    assert {**first.facts, "seconds": 0} == {**second.facts, "seconds": 0}
    assert statistics_of(one) == statistics_of(other)


def statistics_of(run: Path) -> list[dict[str, float]]:
    """All but how quick it was."""
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "steps_per_second"} for line in lines]


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flip_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", GAMES)
def test_a_training_that_was_stopped_ends_as_an_unbroken_one(
    name: str, little: TrainingData, tmp_path: Path, stop_at: StopAt
) -> None:
    game, options = GAMES[name]
    unbroken = fit(game, little, tmp_path / "unbroken", 12, **options)
    for step in (5, 7):
        with pytest.raises(StoppedError, match=f"stopped at step {step} of 12; the same command goes on"):
            fit(game, little, tmp_path / "stopped", 12, stop_at(step), **options)
        torch.rand(step)  # the caller's random state decides nothing
    assert_equal(fit(game, little, tmp_path / "stopped", 12, **options), unbroken)
    assert_equal_runs(tmp_path / "stopped", tmp_path / "unbroken")
    assert [line["step"] for line in statistics_of(tmp_path / "stopped")] == [*range(1, 11), 12, 12]


def test_a_penalty_every_other_time_is_computed_in_even_turns_and_twice_as_strong(
    little: TrainingData, tmp_path: Path
) -> None:
    @dataclass(frozen=True)
    class Constant(WGANGP):
        """Whose penalty is known."""

        turns: list[float] = field(default_factory=list)

        def discriminator_penalty(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor | None:
            self.turns.append(0.0)
            return torch.tensor(10.0)

    always, every_other = (Constant(**SMALL, n_critic=1, gp_every=every) for every in (1, 2))
    fit(always, little, tmp_path / "always", 4)
    fit(every_other, little, tmp_path / "every_other", 4)
    assert (len(always.turns), len(every_other.turns)) == (4, 2)
    losses = [
        torch.tensor([line["d_loss"] for line in statistics_of(tmp_path / name) if "d_loss" in line])
        for name in ("always", "every_other")
    ]
    assert torch.allclose(losses[1] - losses[0], torch.tensor([10.0, -10.0, 10.0, -10.0]))


def test_a_run_that_is_extended_equals_the_longer_run(little: TrainingData, tmp_path: Path) -> None:
    game = DCGAN(**SMALL, learning_rate=0.01)
    longer = fit(game, little, tmp_path / "longer", 107)
    for steps in (30, 100, 103, 107):  # also from measurements at an end that the longer run does not make
        extended = fit(game, little, tmp_path / "extended", steps)
    assert_equal(extended, longer)
    watched = [load_checkpoint(latest_in(tmp_path / name)).facts["watch"] for name in ("extended", "longer")]
    assert watched[0] == watched[1]
    assert watched[0]["best_step"] == 100  # the only measurement of both
    measured = [[line["step"] for line in statistics_of(tmp_path / name) if "distance" in line]
                for name in ("extended", "longer")]  # fmt: skip
    assert measured[0] == measured[1] == [100, 107]


class Dropping(nn.Module):
    """A generator that draws at random, besides its latents."""

    def __init__(self, G: nn.Module) -> None:
        super().__init__()
        self.G, self.dropout = G, nn.Dropout(0.3)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """(N, latent size), (N,) -> (N, C, H, W)."""
        made: Tensor = self.G(self.dropout(z), y)
        return made


@dataclass(frozen=True)
class Drawing(DCGAN):
    """With that generator."""

    def networks(self, spec: ImageSpec) -> tuple[nn.Module, nn.Module]:
        """Its generator drops out."""
        G, D = super().networks(spec)
        return Dropping(G), D


@pytest.mark.parametrize("figure", ["d_loss", "distance"])
def test_a_stop_after_the_last_step_counts_and_measures_once(
    figure: str, little: TrainingData, tmp_path: Path, stop_at: StopAt
) -> None:
    unbroken = fit(Drawing(**SMALL), little, tmp_path / "unbroken", 10)
    with pytest.raises(StoppedError, match="stopped at step 10 of 10"):
        fit(Drawing(**SMALL), little, tmp_path / "stopped", 10, stop_at(10, figure=figure))
    assert json.loads((tmp_path / "stopped" / "run.json").read_text())["state"] == "stopped"
    assert_equal(fit(Drawing(**SMALL), little, tmp_path / "stopped", 10), unbroken)
    assert_equal_runs(tmp_path / "stopped", tmp_path / "unbroken")


def test_the_second_ctrl_c_acts_at_once(little: TrainingData, tmp_path: Path, stop_at: StopAt) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(DCGAN(**SMALL), little, tmp_path / "run", 12, stop_at(5, signal.SIGINT, times=2), checkpoint_every=2)
    assert latest_in(tmp_path / "run").name == "step_000004.safetensors"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "stopped"
    unbroken = fit(DCGAN(**SMALL), little, tmp_path / "unbroken", 12)
    assert_equal(fit(DCGAN(**SMALL), little, tmp_path / "run", 12), unbroken)


def test_a_damaged_checkpoint_is_told_and_the_one_before_leads_to_the_same_end(
    little: TrainingData, tmp_path: Path, stop_at: StopAt, caplog: pytest.LogCaptureFixture
) -> None:
    unbroken = fit(DCGAN(**SMALL), little, tmp_path / "unbroken", 12)
    with pytest.raises(StoppedError):
        fit(DCGAN(**SMALL), little, tmp_path / "run", 12, stop_at(7), checkpoint_every=2)
    flip_last_bit(latest_in(tmp_path / "run"))
    caplog.set_level(logging.INFO)
    assert_equal(fit(DCGAN(**SMALL), little, tmp_path / "run", 12), unbroken)
    assert_equal_runs(tmp_path / "run", tmp_path / "unbroken")
    told = [record.getMessage() for record in caplog.records]
    assert any("step_000007.safetensors is damaged" in line and "taking the one before" in line for line in told)
    assert "going on from step 6" in told


def test_a_checkpoint_of_other_networks_is_refused(little: TrainingData, tmp_path: Path) -> None:
    fit(DCGAN(**SMALL), little, tmp_path / "run", 2)
    with pytest.raises(OutputError, match="the checkpoint of step 2 is of other networks"):
        fit(DCGAN(latent_size=8, base_channels=8), little, tmp_path / "run", 3)


class HinderAt(Callback):
    """Does something bad to the disk at a step."""

    def __init__(self, step: int, hinder: Callable[[], None]) -> None:
        self.step, self.hinder = step, hinder

    def on_figures(self, step: int, figures: Mapping[str, float]) -> None:
        """At the step."""
        if step == self.step:
            self.hinder()


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """Lets no file become longer than 50 kB until the test ends."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_is_told_and_training_goes_on_when_there_is_room(
    little: TrainingData, tmp_path: Path, full_disk: Callable[[], None]
) -> None:
    unbroken, run = fit(DCGAN(**SMALL), little, tmp_path / "unbroken", 8), tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OutputError, match=r"cannot write .*step_000005\.safetensors: .*[Ff]ile too large"):
            fit(DCGAN(**SMALL), little, run, 8, HinderAt(5, full_disk), checkpoint_every=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    journal = json.loads((run / "run.json").read_text())
    assert (journal["state"], journal["step"]) == ("failed", 5)
    assert [path.name for path in (run / "checkpoints").iterdir()] == [
        "step_000003.safetensors",
        "step_000004.safetensors",
    ]
    assert_equal(fit(DCGAN(**SMALL), little, run, 8), unbroken)


def test_a_checkpoint_folder_that_cannot_be_written_is_told_and_its_checkpoints_are_used_later(
    little: TrainingData, tmp_path: Path
) -> None:
    """As a read-only folder, but root may write into those."""
    unbroken, run = fit(DCGAN(**SMALL), little, tmp_path / "unbroken", 8), tmp_path / "run"

    def take_away() -> None:
        (run / "checkpoints").rename(run / "away")
        (run / "checkpoints").touch()

    with pytest.raises(OutputError, match=r"cannot write .*checkpoints.step_000005\.safetensors"):
        fit(DCGAN(**SMALL), little, run, 8, HinderAt(5, take_away), checkpoint_every=1)
    (run / "checkpoints").unlink()
    (run / "away").rename(run / "checkpoints")
    assert latest_in(run).name == "step_000004.safetensors"
    assert_equal(fit(DCGAN(**SMALL), little, run, 8), unbroken)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_checkpoint_folder_is_told_and_its_checkpoints_are_used_later(
    little: TrainingData, tmp_path: Path
) -> None:
    unbroken, run = fit(DCGAN(**SMALL), little, tmp_path / "unbroken", 8), tmp_path / "run"
    protect = HinderAt(5, lambda: (run / "checkpoints").chmod(0o555))
    with pytest.raises(OutputError, match=r"cannot write .*step_000005\.safetensors: .*[Pp]ermission denied"):
        fit(DCGAN(**SMALL), little, run, 8, protect, checkpoint_every=1)
    (run / "checkpoints").chmod(0o755)
    assert_equal(fit(DCGAN(**SMALL), little, run, 8), unbroken)


@dataclass(frozen=True)
class Diverging(DCGAN):
    """Loses its numbers in the fifth step that it makes."""

    made: list[int] = field(default_factory=list)

    def generator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """As it was, or NaN."""
        self.made.append(1)
        return super().generator_loss(D, real, fake, y) * (float("nan") if len(self.made) == 5 else 1)


def test_after_a_divergence_the_checkpoint_that_was_kept_is_taken_as_the_message_says(
    little: TrainingData, tmp_path: Path
) -> None:
    game = Diverging(**SMALL)
    with pytest.raises(TrainingDivergedError, match=r"of step 4, is kept .*--resume --steps 4 takes"):
        fit(game, little, tmp_path / "run", 8, checkpoint_every=2)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "failed"
    assert_equal(fit(game, little, tmp_path / "run", 4), fit(DCGAN(**SMALL), little, tmp_path / "unbroken", 4))


@dataclass(frozen=True)
class BreakingAtTheEnd(DCGAN):
    """Its tenth loss is a number, but has a slope that is none."""

    made: list[int] = field(default_factory=list)

    def generator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """As it was; in the end with a slope of 0 times infinity."""
        self.made.append(1)
        loss = super().generator_loss(D, real, fake, y)
        return loss + 0 * (0 * fake.sum()).sqrt() if len(self.made) == 10 else loss


def test_weights_that_are_no_numbers_are_never_measured_as_the_best(little: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match=r"diverged at step 10 .*last checkpoint, of step 8, is kept"):
        fit(BreakingAtTheEnd(**SMALL), little, tmp_path / "run", 10, checkpoint_every=4)
    assert not any("distance" in line for line in statistics_of(tmp_path / "run"))


def test_patience_ends_a_run_and_the_model_is_that_of_the_best_step(
    data: Path, tmp_path: Path, tiny: Options, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    worsening = tiny["hyperparameters"] | {"learning_rate": 0.05}
    options = tiny | {"steps": 1000, "patience": 1, "precision": "float32", "hyperparameters": worsening}
    run = tmp_path / "run"
    generator = braingan.train(data, run, **options)
    config = json.loads((run / "config.json").read_text())
    assert config["step"] == config["best_step"] + 100 < 1000
    told = f"step {config['step']}: no better samples for 1 measurements: training ends; "
    assert f"{told}step {config['best_step']} was best" in caplog.messages
    best = load_checkpoint(checkpoint_path(run / "checkpoints", config["best_step"])).network("ema")
    learned = [name for name in generator.state_dict() if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(generator.state_dict()[name], best[f"module.{name}"]) for name in learned)
    last = load_checkpoint(checkpoint_path(run / "checkpoints", config["step"])).network("ema")
    assert not any(torch.equal(last[f"module.{name}"], best[f"module.{name}"]) for name in learned)
    before = content_of(run)
    again = braingan.train(data, run, **options, resume=True)
    assert_equal(again.state_dict(), generator.state_dict())
    assert content_of(run) == before
    more = options | {"patience": 0, "steps": config["step"] + 5}
    braingan.train(data, run, **more, resume=True)  # somebody has more patience
    assert json.loads((run / "config.json").read_text())["step"] == config["step"] + 5


def test_fewer_steps_than_a_stopped_run_has_done_are_refused_and_nothing_is_lost(
    little: TrainingData, tmp_path: Path, stop_at: StopAt
) -> None:
    with pytest.raises(StoppedError):
        fit(DCGAN(**SMALL), little, tmp_path / "run", 12, stop_at(7))
    before = content_of(tmp_path / "run")
    with pytest.raises(OutputError, match="begins at step 7, 3 steps were asked; give 7 or more"):
        fit(DCGAN(**SMALL), little, tmp_path / "run", 3)
    assert content_of(tmp_path / "run") == before


def test_what_a_backend_has_frozen_stays_frozen(little: TrainingData, tmp_path: Path) -> None:
    frozen = []

    @dataclass(frozen=True)
    class Frozen(DCGAN):
        """With a first layer of D that does not learn."""

        def networks(self, spec: ImageSpec) -> tuple[nn.Module, nn.Module]:
            G, D = super().networks(spec)
            frozen.append(next(D.parameters()).requires_grad_(False))
            return G, D

    torch.manual_seed(0)
    training = Training(Frozen(**SMALL), little, TrainingRun(tmp_path, 4, batch_size=4))
    before = frozen[0].clone()
    for step in range(3):
        training.step(step)
    assert torch.equal(frozen[0], before)
    assert not frozen[0].requires_grad


def test_a_finished_run_is_returned_extended_or_refused(data: Path, tmp_path: Path, tiny: Options) -> None:
    run, longer, repeated = tmp_path / "run", tmp_path / "longer", tmp_path / "repeated"
    braingan.train(data, run, **tiny, resume=True)  # starts where there is nothing
    before = content_of(run)
    with pytest.raises(OutputError, match="holds a trained generator already; give another folder, or --resume"):
        braingan.train(data, run, **tiny)
    braingan.train(data, run, **tiny, resume=True)
    with pytest.raises(OutputError, match="holds a generator of 2 steps, 1 were asked"):
        braingan.train(data, run, **tiny | {"steps": 1}, resume=True)
    asked = r"is for other work \(base_channels 4 there, 8 asked; seed 0 there, 7 asked\); give another folder"
    other = {"seed": 7, "hyperparameters": {"base_channels": 8, "latent_size": 8}}
    with pytest.raises(OutputError, match=asked):
        braingan.train(data, run, **tiny | other, resume=True)
    assert {**content_of(run), "asked.json": b""} == {**before, "asked.json": b""}
    braingan.train(data, run, **tiny | {"steps": 5}, resume=True)
    for folder in (longer, repeated):
        braingan.train(data, folder, **tiny | {"steps": 5})
    assert_equal_runs(run, longer)
    made = [(folder / "model.safetensors").read_bytes() for folder in (run, longer, repeated)]
    assert made[0] == made[1] == made[2]


def test_the_precision_is_settled_once_and_kept(data: Path, tmp_path: Path, tiny: Options) -> None:
    run = tmp_path / "run"
    braingan.train(data, run, **tiny)
    assert json.loads((run / "resolved.json").read_text())["precision"] == "float32"  # too short for trials
    (run / "resolved.json").write_text('{"precision": "bfloat16"}')  # what they came to on another day
    braingan.train(data, run, **tiny | {"steps": 4}, resume=True)
    assert json.loads((run / "config.json").read_text())["settings"]["precision"] == "bfloat16"
    with pytest.raises(OutputError, match=r"other work \(precision auto there, float32 asked\)"):
        braingan.train(data, run, **tiny | {"steps": 6, "precision": "float32"}, resume=True)


COMMAND = [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
           "from braingan.cli import main; main()", "train"]  # fmt: skip
LONG = ["--steps", "100000", "--checkpoint-every", "20", "--precision", "float32", "--patience", "0"]


def wait_for(what: Callable[[], Any], process: subprocess.Popen[str] | ForkServerProcess) -> None:
    """Until it is so, or the process has ended."""
    while not what() and _lives(process):
        time.sleep(0.002)


def _lives(process: subprocess.Popen[str] | ForkServerProcess) -> bool:
    return process.poll() is None if isinstance(process, subprocess.Popen) else process.is_alive()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_stops_at_a_signal_and_goes_on_later(
    number: signal.Signals, data: Path, tmp_path: Path, tiny: Options, tiny_options: list[str]
) -> None:
    run, unbroken = tmp_path / "run", tmp_path / "unbroken"
    command = [*COMMAND, str(data), str(run), *tiny_options, *LONG]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for((run / "stats.jsonl").exists, process)
    process.send_signal(number)
    out, errors = process.communicate(timeout=120)
    stopped = int(latest_in(run).stem[5:])
    assert (process.returncode, out) == (128 + number, "")
    assert errors.splitlines()[-1].startswith(f"stopped at step {stopped} of 100000; the same command goes on")
    assert "Traceback" not in errors
    options = tiny | {"precision": "float32", "patience": 0, "steps": stopped + 5}
    with pytest.raises(OutputError, match="holds an unfinished training; --resume goes on with it"):
        braingan.train(data, run, **options)
    assert int(latest_in(run).stem[5:]) == stopped
    braingan.train(data, run, **options, resume=True)
    braingan.train(data, unbroken, **options)
    assert_equal_runs(run, unbroken)
    assert json.loads((run / "config.json").read_text())["resumed"] == 1


def test_a_start_that_was_killed_can_be_repeated(
    data: Path, tmp_path: Path, tiny: Options, start_training: StartTraining
) -> None:
    run, draw = tmp_path / "run", random.Random(time.time_ns())
    options = tiny | {"steps": 20, "precision": "float32"}
    for _ in range(3):
        process = start_training(data, run, **options, resume=True)
        wait_for(run.exists, process)
        time.sleep(delay := draw.uniform(0, 0.5))
        process.kill()
        process.join()
        print(f"killed after {delay:.3f} s, leaving {sorted(path.name for path in run.glob('*'))}")  # noqa: T201
    if not (run / "asked.json").exists():
        run.mkdir(exist_ok=True)
        (run / ".asked.json.12345.part").write_text("{")  # what a kill leaves at the worst moment
    braingan.train(data, run, **options, resume=True)
    braingan.train(data, tmp_path / "unbroken", **options)
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "unbroken" / "model.safetensors").read_bytes()
    assert statistics_of(run) == statistics_of(tmp_path / "unbroken")


def test_a_folder_in_which_another_process_trains_is_left_alone(
    data: Path, tmp_path: Path, tiny: Options, start_training: StartTraining
) -> None:
    run, options = tmp_path / "run", tiny | {"steps": 50_000, "precision": "float32", "resume": True}
    process = start_training(data, run, **options)
    wait_for((run / "stats.jsonl").exists, process)
    with pytest.raises(OutputError, match=r"another process trains in .*run; wait for it, or give another folder"):
        braingan.train(data, run, **options)
    process.kill()
    process.join()
    braingan.train(data, run, **(options | {"steps": 1}))  # the lock is gone with its process


@pytest.mark.parametrize(
    ("kills", "steps"), [(3, 60), pytest.param(20, 300, marks=pytest.mark.slow)], ids=["3 kills", "20 kills"]
)
def test_a_training_that_is_killed_at_random_moments_ends_as_an_unbroken_one(
    kills: int, steps: int, data: Path, tmp_path: Path, tiny: Options, start_training: StartTraining
) -> None:
    """Half of them while a checkpoint is being written. The seed is printed where the test fails."""
    seed = time.time_ns() % 10**6
    draw, run, unbroken = random.Random(seed), tmp_path / "run", tmp_path / "unbroken"
    network = {"base_channels": 16, "latent_size": 64}
    options = tiny | {"steps": steps, "precision": "float32", "patience": 0, "hyperparameters": network}
    moments = sorted(draw.sample(range(2, steps * 3 // 4), kills))
    print(f"seed {seed}: kills from steps {moments}")  # noqa: T201
    inside = [kill(start_training(data, run, **options, resume=True, checkpoint_every=1), run, moment, draw,
                   writing=number % 2 == 0) for number, moment in enumerate(moments)]  # fmt: skip
    print(f"in the middle of a checkpoint: {inside}")  # noqa: T201
    assert any(inside)
    braingan.train(data, run, **options, resume=True)
    braingan.train(data, unbroken, **options)
    assert json.loads((run / "config.json").read_text())["resumed"] == kills  # none began at step 0 again
    assert (run / "model.safetensors").read_bytes() == (unbroken / "model.safetensors").read_bytes()
    assert_equal_runs(run, unbroken)
    assert not list((run / "checkpoints").glob(".*"))


def _is_writing(folder: Path, least: int) -> bool:
    """Whether there is a checkpoint in the making of so many bytes."""
    try:
        return any(path.stat().st_size >= least for path in folder.glob(".*.part"))
    except FileNotFoundError:  # finished in between
        return False


def kill(process: ForkServerProcess, run: Path, step: int, draw: random.Random, *, writing: bool) -> bool:
    """Kill a training some time after a step: at a random moment, or when it is writing the next checkpoint.

    Returns:
        Whether it left half a checkpoint.
    """
    folder = run / "checkpoints"
    start = max((int(path.stem[5:]) for path in checkpoints_in(folder)), default=0)
    wait_for(lambda: any(int(path.stem[5:]) > max(step, start) for path in checkpoints_in(folder)), process)
    if writing:
        least = draw.choice([0, 1])  # while the content is made, or while it goes to the disk
        while not _is_writing(folder, least) and process.is_alive():
            pass
    else:
        time.sleep(draw.uniform(0, 0.1))
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended before it was killed"
    return bool(list(folder.glob(".*.part")))
