"""One training by two real processes: gradients, averages, and who writes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import braingan
from braingan import ImageSpec, SettingsError, TrainingRun, register_backend
from braingan.engine.team import Team, launch
from braingan.generation import registry
from braingan.generation.settings import TrainingSettings
from braingan.generation.train import How, check_settings
from braingan_dcgan import DCGAN

# What each process runs: one step of a game without batch normalisation or dropout, then what it came to.
SCRIPT = """
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from braingan import ImageSpec, TrainingData, TrainingRun
from braingan.engine.team import launch
from braingan.generation.training import Training
from braingan_wgan import WGANGP

torch.set_num_threads(1)


class Plain(nn.Module):
    '''G without batch normalisation.'''

    def __init__(self):
        super().__init__()
        self.dense, self.out = nn.Linear(9, 64 * 8 * 8), nn.ConvTranspose2d(64, 1, 4, 4)

    def forward(self, z, y):
        hidden = self.dense(torch.cat([z, y[:, None].float()], 1)).view(-1, 64, 8, 8)
        return torch.tanh(self.out(torch.relu(hidden)))


class PlainGame(WGANGP):
    def networks(self, spec):
        return Plain(), super().networks(spec)[1]

    def discriminator_penalty(self, D, real, fake, y):
        # The penalty itself, at the fakes: a random place between real and fake would differ from process to process.
        at = fake.float().requires_grad_(True)
        (slope,) = torch.autograd.grad(D(at, y).sum(), at, create_graph=True)
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()


out, devices = Path(sys.argv[1]), int(sys.argv[2])
spec = ImageSpec(32, 1, ("a", "b"))
random = torch.Generator().manual_seed(0)
images = torch.randint(0, 256, (24, *spec.shape), dtype=torch.uint8, generator=random)
team = launch("cpu", devices=devices, num_nodes=1, strategy="auto")
run = TrainingRun(out, steps=3, batch_size=8, team=team)
game, data = PlainGame(latent_size=8, base_channels=8, n_critic=2), TrainingData(images, torch.arange(24) % 2, spec)
training = Training(game, data, run)
found = {}
for step in range(2):
    training.step(step)
    for name in ("G", "D"):
        for key, weight in getattr(training, name).named_parameters():
            found[f"{step}.{name}.{key}"] = weight.grad.clone().contiguous()
for key, value in training.ema.state_dict().items():
    found[f"ema.{key}"] = value.contiguous()
save_file(found, out / f"rank{team.rank}-of-{team.size}.safetensors")
team.wait()
"""


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., None]:
    """Run SCRIPT as a user would: `python script.py OUT DEVICES`."""
    script = tmp_path / "one_step.py"
    script.write_text(SCRIPT)

    def run(*before: str, devices: int) -> None:
        command = [*(before or (sys.executable,)), str(script), str(tmp_path), str(devices)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr

    return run


def check_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        scale = float(value.double().norm()) or 1.0
        assert float((value.double() - two[name].double()).norm()) / scale < 1e-5, name


def test_two_processes_have_the_gradients_of_one_on_the_joined_batch(
    run_script: Callable[..., None], tmp_path: Path
) -> None:
    run_script(devices=1)
    run_script(devices=2)
    one = load_file(tmp_path / "rank0-of-1.safetensors")
    ranks = [load_file(tmp_path / f"rank{rank}-of-2.safetensors") for rank in (0, 1)]
    check_equal({k: v for k, v in one.items() if k[0] == "0"}, {k: v for k, v in ranks[0].items() if k[0] == "0"})
    assert all(torch.equal(value, ranks[1][name]) for name, value in ranks[0].items())  # EMA and all


@pytest.mark.slow
def test_torchrun_starts_the_processes_as_well(run_script: Callable[..., None], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
    run_script(*torchrun, devices=2)
    assert (tmp_path / "rank1-of-2.safetensors").exists()


def test_the_command_trains_with_two_processes_of_which_one_writes_and_speaks(
    data: Path, tmp_path: Path, tiny_options: list[str]
) -> None:
    command = [Path(sys.executable).with_name("braingan"), "train", data, tmp_path / "run", *tiny_options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    more = ["--devices", "2", "--json", "--precision", "float32"]
    done = subprocess.run(list(map(str, [*command, *more])), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2
    assert done.stderr.count("training DCGAN on cpu by 2 processes") == 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "d_loss" in line] == [1, 2]
    assert braingan.load_generator(tmp_path / "run").sample(torch.tensor([0]), seed=0).isfinite().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "fsdp"}, "strategy 'fsdp' was asked; auto or ddp work"),
        ({"devices": 0}, "0 devices on 1 nodes"),
        ({"num_nodes": 0}, "1 devices on 0 nodes"),
    ],
)
def test_teams_that_cannot_be_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        launch("cpu", **({"devices": 1, "num_nodes": 1, "strategy": "auto"} | options))  # type: ignore[arg-type]


def test_a_batch_that_two_processes_cannot_share_is_refused(tmp_path: Path) -> None:
    team = Team(torch.device("cpu"))
    team.size = 2
    with pytest.raises(SettingsError, match="a batch of 5 cannot be shared by 2 processes; a multiple works"):
        TrainingRun(tmp_path, batch_size=5, team=team)


def test_processes_of_torchrun_that_were_not_asked_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="torchrun started 2 processes; give --devices and --num-nodes"):
        launch("cpu", devices=1, num_nodes=1, strategy="auto")


def test_a_backend_that_cannot_share_a_training_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Loner(DCGAN):
        """Has a loop of its own."""

        works_in_teams = False

    team = Team(torch.device("cpu"))
    team.size = 2
    register_backend("loner")(Loner)
    try:
        with pytest.raises(SettingsError, match="backend 'loner' cannot share a training between devices"):
            check_settings(TrainingSettings(backend="loner"), ImageSpec(32, 1, ("a", "b")), How(team))
    finally:
        registry.BACKENDS.registered.pop("loner")
