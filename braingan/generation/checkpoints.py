"""What a later run needs to go on: weights and optimisers, in a format that executes nothing."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from braingan.data.files import replacing
from braingan.errors import OutputError

log = logging.getLogger("braingan")

KEPT = 2  # the latest, besides the best
Optimizers = Mapping[str, torch.optim.Optimizer]
Networks = Mapping[str, nn.Module]


@dataclass(frozen=True)
class Checkpoint:
    """A training at one step.

    Attributes:
        step: updates of G so far.
        tensors: `name.key` of networks, `name.parameter.key` of optimisers.
        facts: the rest, JSON-able: `param_groups` of the optimisers, and what the loop adds.
    """

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def network(self, name: str) -> dict[str, Tensor]:
        """State dictionary of a network."""
        return {
            key.removeprefix(f"{name}."): value for key, value in self.tensors.items() if key.startswith(f"{name}.")
        }

    def restore(self, networks: Networks, optimizers: Optimizers) -> None:
        """Put everything back, with memory laid out as it is there."""
        for name, network in networks.items():
            network.load_state_dict(self.network(name))
        for name, optimizer in optimizers.items():
            _restore_optimizer(optimizer, self.network(name), self.facts["param_groups"][name])


def save_checkpoint(
    folder: Path, step: int, networks: Networks, optimizers: Optimizers, facts: Mapping[str, Any], *, best_step: int
) -> Path:
    """Write `folder/step_000123.safetensors`, and remove all but the latest two and the best.

    The file is whole and on the disk before it gets its name. It holds a hash of its content.

    Args:
        folder: is made where it does not exist.
        step: updates of G so far.
        networks: by name.
        optimizers: by name.
        facts: what else to keep, JSON-able.
        best_step: whose checkpoint is kept whatever its age.

    Raises:
        OutputError: it cannot be written; those before it are untouched.
    """
    tensors = {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
    groups = {}
    for name, optimizer in optimizers.items():
        state = optimizer.state_dict()
        groups[name] = state["param_groups"]
        tensors |= {f"{name}.{i}.{key}": value for i, values in state["state"].items() for key, value in values.items()}
    plain = {key: _plain(value) for key, value in tensors.items()}
    text = json.dumps({**facts, "param_groups": groups, "step": step})
    path = checkpoint_path(folder, step)
    with replacing(path, durable=True) as beside:
        # `save_file` would write beside under a name of its own, which nobody clears away after a kill.
        beside.write_bytes(save(plain, {"facts": text, "sha256": _digest(plain, text)}))
    earlier = [old for old in checkpoints_in(folder) if _step_of(old) <= step]  # later: damaged, or of a longer run
    for old in earlier[:-KEPT]:
        if _step_of(old) != best_step:
            old.unlink(missing_ok=True)
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises:
        OutputError: it is cut short, or was changed since.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        text = metadata["facts"]
        if _digest(tensors, text) != metadata["sha256"]:
            raise OutputError(f"{path} is damaged: its content was changed after it was written")
        facts = json.loads(text)
        return Checkpoint(facts["step"], tensors, facts)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise OutputError(f"{path} is damaged: {' '.join(str(error).split())}") from error


def latest_checkpoint(folder: Path, *, at_most: int) -> Checkpoint | None:
    """The newest whole checkpoint, or None where there is none.

    Args:
        folder: of checkpoints.
        at_most: the step beyond which none is wanted.

    Raises:
        OutputError: there are checkpoints, and all are damaged.
    """
    for part in folder.glob(".*.part"):  # what a killed process was writing
        with suppress(OSError):
            part.unlink()
    wanted = [path for path in checkpoints_in(folder) if _step_of(path) <= at_most]
    for path in reversed(wanted):
        try:
            return load_checkpoint(path)
        except OutputError as error:
            log.warning("%s; taking the one before", error)
    if not wanted and (later := checkpoints_in(folder)):
        step = _step_of(later[0])
        raise OutputError(f"{folder} begins at step {step}, {at_most} steps were asked; give {step} or more")
    if wanted:
        raise OutputError(f"all checkpoints in {folder} are damaged; remove the folder to start anew")
    return None


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step_{step:06d}.safetensors"


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, by step."""
    return sorted(folder.glob("step_*.safetensors"), key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))


def _plain(value: Tensor | float) -> Tensor:
    return torch.as_tensor(value).detach().cpu().contiguous()


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    content = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        content.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        content.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        weight = weights[int(number)]
        # Fused optimisers walk through memory: moments have to lie in it as their weights do (channels last).
        laid_out = torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value
        state.setdefault(int(number), {})[key] = laid_out.detach()
    plain = [{key: tuple(value) if key == "betas" else value for key, value in group.items()} for group in groups]
    optimizer.load_state_dict({"state": state, "param_groups": plain})
