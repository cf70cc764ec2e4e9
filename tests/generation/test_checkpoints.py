"""Checkpoints are whole or are not there, and damage is noticed."""

from __future__ import annotations

import json
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from braingan import OutputError
from braingan.generation import checkpoints
from braingan.generation.checkpoints import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint


class Pair:
    """Two networks and their optimisers, with a past."""

    def __init__(self, seed: int = 0, *, steps: int = 3) -> None:
        torch.manual_seed(seed)
        self.networks = {"G": self._network(), "D": self._network()}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "optimizer_G": torch.optim.Adam(self.networks["G"].parameters(), 0.01, (0.5, 0.9), fused=True),
            "optimizer_D": torch.optim.RMSprop(self.networks["D"].parameters(), 0.01),
        }
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        """One update of both."""
        for network, optimizer in zip(self.networks.values(), self.optimizers.values(), strict=True):
            optimizer.zero_grad()
            network(torch.ones(2, 3, 8, 8)).square().mean().backward()
            optimizer.step()

    def save(self, folder: Path, step: int, *, best_step: int = 0) -> Path:
        """A checkpoint of this."""
        facts = {"note": "as it is", "seconds": 1.5}
        return save_checkpoint(folder, step, self.networks, self.optimizers, facts, best_step=best_step)

    def _network(self) -> nn.Module:
        layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3))
        return layers.to(memory_format=torch.channels_last)


def weights_of(pair: Pair) -> list[torch.Tensor]:
    """Everything that a network holds."""
    return [value for network in pair.networks.values() for value in network.state_dict().values()]


def moments_of(pair: Pair) -> list[torch.Tensor]:
    """Everything that an optimiser holds."""
    states = [state for optimizer in pair.optimizers.values() for state in optimizer.state.values()]
    return [state[name] for state in states for name in sorted(state)]


def steps_in(folder: Path) -> list[int]:
    """Of which steps there are checkpoints."""
    return [int(path.stem[5:]) for path in checkpoints.checkpoints_in(folder)]


def flip(path: Path, position: int) -> None:
    """Change one bit of a file; a negative position counts from its end."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_what_was_put_back_goes_on_as_what_was_kept(tmp_path: Path) -> None:
    kept, other = Pair(seed=1), Pair(seed=2, steps=0)
    found = load_checkpoint(kept.save(tmp_path, 7))
    assert (found.step, found.facts["note"], found.facts["seconds"]) == (7, "as it is", 1.5)
    found.restore(other.networks, other.optimizers)
    for _ in range(2):
        kept.step()
        other.step()
    pairs = zip(weights_of(kept) + moments_of(kept), weights_of(other) + moments_of(other), strict=True)
    assert all(torch.equal(one, another) for one, another in pairs)


def test_settings_of_an_optimiser_are_put_back_as_they_were(tmp_path: Path) -> None:
    kept, other = Pair(), Pair()
    load_checkpoint(kept.save(tmp_path, 1)).restore(other.networks, other.optimizers)
    for name, optimizer in other.optimizers.items():
        one, another = (dict(each.param_groups[0], params=None) for each in (optimizer, kept.optimizers[name]))
        assert one == another
    assert isinstance(other.optimizers["optimizer_G"].param_groups[0]["betas"], tuple)


def test_moments_lie_in_memory_as_their_weights_do(tmp_path: Path) -> None:
    kept, other = Pair(seed=1), Pair(seed=2, steps=0)
    load_checkpoint(kept.save(tmp_path, 1)).restore(other.networks, other.optimizers)
    weight = next(other.networks["G"].parameters())
    moments = other.optimizers["optimizer_G"].state[weight]
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    assert moments["exp_avg"].stride() == moments["exp_avg_sq"].stride() == weight.stride()


def test_a_checkpoint_is_safetensors_and_json_which_execute_nothing(tmp_path: Path) -> None:
    path = Pair().save(tmp_path, 1)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    assert json.loads(header.pop("__metadata__")["facts"])["step"] == 1
    assert {value["dtype"] for value in header.values()} == {"F32", "I64"}
    with safe_open(path, framework="pt") as file:
        assert {name.partition(".")[0] for name in file.keys()} == {"G", "D", "optimizer_G", "optimizer_D"}  # noqa: SIM118


def test_the_latest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    pair = Pair(steps=0)
    for step in (1, 2, 3, 9, 10):
        pair.save(tmp_path, step, best_step=2)
    assert steps_in(tmp_path) == [2, 9, 10]
    pair.save(tmp_path, 1_000_000, best_step=10)
    assert steps_in(tmp_path) == [10, 1_000_000]


def test_a_damaged_later_checkpoint_pushes_out_no_whole_one(tmp_path: Path) -> None:
    pair = Pair(steps=0)
    flip(pair.save(tmp_path, 99), -1)
    for step in (10, 20):
        pair.save(tmp_path, step)
    assert steps_in(tmp_path) == [10, 20, 99]


@pytest.mark.parametrize("damage", ["a bit of a weight", "a fact", "the hash", "cut short", "empty", "no safetensors"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    pair = Pair()
    whole, path = pair.save(tmp_path, 1), pair.save(tmp_path, 2)
    before, content = whole.read_bytes(), path.read_bytes()
    if damage == "a bit of a weight":
        flip(path, -5)
    elif damage == "a fact":
        path.write_bytes(content.replace(b"as it is", b"as I say"))
    elif damage == "the hash":
        flip(path, content.index(b'"sha256":"') + 12)
    else:
        path.write_bytes({"cut short": content[:-100], "empty": b"", "no safetensors": b"\xff" * 64}[damage])
    assert path.read_bytes() != content
    found = latest_checkpoint(tmp_path, at_most=10)
    assert found is not None
    assert found.step == 1
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert warning.getMessage().startswith(f"{path} is damaged: ")
    assert warning.getMessage().endswith("; taking the one before")
    assert whole.read_bytes() == before


def test_where_all_are_damaged_nothing_is_begun_anew_silently(tmp_path: Path) -> None:
    flip(Pair().save(tmp_path, 1), -1)
    with pytest.raises(OutputError, match=r"all checkpoints in .* are damaged; remove the folder to start anew"):
        latest_checkpoint(tmp_path, at_most=10)


def test_without_checkpoints_there_is_no_latest_and_leftovers_of_a_killed_write_are_removed(tmp_path: Path) -> None:
    part = tmp_path / ".step_000001.safetensors.123.part"
    part.write_bytes(b"half")
    assert latest_checkpoint(tmp_path, at_most=10) is None
    assert not part.exists()
    assert latest_checkpoint(tmp_path / "nowhere", at_most=10) is None


def test_checkpoints_beyond_the_wanted_step_are_passed_over(tmp_path: Path) -> None:
    pair = Pair(steps=0)
    for step in (5, 10):
        pair.save(tmp_path, step)
    found = latest_checkpoint(tmp_path, at_most=9)
    assert found is not None
    assert found.step == 5


def test_what_does_not_fit_the_networks_is_refused(tmp_path: Path) -> None:
    found = load_checkpoint(Pair().save(tmp_path, 1))
    with pytest.raises(RuntimeError, match=r"size mismatch|Missing key"):
        found.restore({"G": nn.Conv2d(3, 7, 3)}, {})
    assert isinstance(found, Checkpoint)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a full disk: nothing longer can be written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_leaves_the_checkpoints_before_untouched(tmp_path: Path) -> None:
    pair = Pair()
    whole = [pair.save(tmp_path, step) for step in (1, 2)]
    before = [path.read_bytes() for path in whole]
    with files_of_at_most(2000), pytest.raises(OutputError, match=r"cannot write .*step_000003\.safetensors: .+"):
        pair.save(tmp_path, 3)
    assert sorted(tmp_path.iterdir()) == whole
    assert [path.read_bytes() for path in whole] == before
    pair.save(tmp_path, 3)
    assert steps_in(tmp_path) == [2, 3]


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("mine")
    with pytest.raises(
        OutputError, match=r"cannot write .*checkpoints.step_000001\.safetensors: (File exists|Not a dir)"
    ):
        Pair().save(tmp_path / "checkpoints", 1)
    assert (tmp_path / "checkpoints").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    pair = Pair()
    whole = pair.save(tmp_path, 1)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OutputError, match=r"cannot write .*step_000002\.safetensors: .*[Pp]ermission denied"):
            pair.save(tmp_path, 2)
    finally:
        tmp_path.chmod(0o755)
    assert load_checkpoint(whole).step == 1
