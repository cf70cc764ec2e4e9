"""What a later run needs to go on: weights and optimisers, in a format that executes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from braingan.data.files import replacing

KEPT = 2


def save_checkpoint(
    folder: Path, step: int, networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> Path:
    """Write `folder/step_000123.safetensors` and remove all but the latest two.

    Args:
        folder: is made where it does not exist.
        step: updates of G so far.
        networks: by name; tensors are stored as `name.key`.
        optimizers: by name; tensors are stored as `name.parameter.key`, the rest as JSON metadata.
    """
    tensors = {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
    groups = {}
    for name, optimizer in optimizers.items():
        state = optimizer.state_dict()
        groups[name] = state["param_groups"]
        tensors |= {f"{name}.{i}.{key}": value for i, values in state["state"].items() for key, value in values.items()}
    path = folder / f"step_{step:06d}.safetensors"
    metadata = {"step": str(step), "param_groups": json.dumps(groups)}
    with replacing(path) as beside:
        save_file({key: _plain(value) for key, value in tensors.items()}, beside, metadata)
    for old in checkpoints_in(folder)[:-KEPT]:
        old.unlink()
    return path


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, by step."""
    return sorted(folder.glob("step_*.safetensors"), key=lambda path: int(path.stem.removeprefix("step_")))


def _plain(value: Tensor | float) -> Tensor:
    return torch.as_tensor(value).detach().cpu().contiguous()
