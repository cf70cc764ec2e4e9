"""Where to compute."""

from __future__ import annotations

from typing import Literal

import torch

from braingan.errors import SettingsError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def resolve_device(name: str) -> torch.device:
    """The device of that name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        SettingsError: the name is unknown or the device is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if name not in available:
        raise SettingsError(f"device {name!r} was asked; auto, cpu, cuda or mps work")
    if not available[name]:
        raise SettingsError(f"device {name!r} was asked but torch finds none; --device auto takes what there is")
    return torch.device(name)
