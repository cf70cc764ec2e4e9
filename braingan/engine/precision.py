"""In what numbers to compute: chosen by timing, because no rule holds on every machine.

bfloat16 makes plain convolutions two to five times as fast on recent CPUs and GPUs, and depthwise ones slower.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor

from braingan.errors import SettingsError

log = logging.getLogger("braingan")

Precision = Literal["auto", "float32", "bfloat16", "float16"]

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WORTH_IT = 0.9  # of the time that float32 takes: coarser numbers are not for a gain that may be chance
TRIAL_STEPS = 5
HOPELESS = 4  # times what float32 takes: emulated bfloat16 takes 15, and seconds a step
WARM_UP = 2


def check_precision(name: str) -> None:
    """Raise `SettingsError` for what is no precision."""
    if name != "auto" and name not in TYPES:
        raise SettingsError(f"precision {name!r} was asked; auto, {', '.join(TYPES)} work")


def candidates(device: torch.device) -> tuple[str, ...]:
    """What is worth a trial on a device, float32 first.

    float16 has no fast path on CPUs, and on Apple's GPUs its scaler fails, or is passed over by fused AdamW, in many
    releases of torch.
    """
    if device.type == "cuda":
        coarse = ("bfloat16",) if torch.cuda.is_bf16_supported(including_emulation=False) else ("float16",)
        return ("float32", *coarse)
    return ("float32",) if device.type == "mps" else ("float32", "bfloat16")


def choose_precision(
    device: torch.device, trial: Callable[[str], Callable[[], Tensor]]
) -> tuple[str, dict[str, float]]:
    """Time a few steps in each precision and take the fastest whose losses are finite.

    Args:
        device: where the steps are computed.
        trial: for a precision, a function that makes one step on networks of its own and gives its loss.

    Returns:
        The precision, and the milliseconds of a step in each that was finite (the quickest of five, or of fewer where
        it is hopelessly slow).
        float32 is kept unless another one needs less than nine tenths of its time.
    """
    steps = {name: trial(name) for name in candidates(device)}
    finite = {name: all(bool(step().isfinite().all()) for _ in range(WARM_UP)) for name, step in steps.items()}
    timed: dict[str, list[float]] = {name: [] for name in steps if finite[name]}
    hopeful = list(timed)
    for number in range(TRIAL_STEPS):
        for name in hopeful:  # in turn: what else the machine does then hits all alike
            started = time.perf_counter()
            float(steps[name]())  # reading the loss waits for the device
            timed[name].append((time.perf_counter() - started) * 1000)
        if number and "float32" in timed:  # a single step may have met a hiccup
            limit = HOPELESS * min(timed["float32"])
            hopeful = [name for name in hopeful if min(timed[name]) <= limit]
    quickest = {name: round(min(times), 2) for name, times in timed.items()}
    best = min(quickest, key=lambda name: quickest[name], default="float32")
    if quickest.get(best, 0) > WORTH_IT * quickest.get("float32", float("inf")):
        best = "float32"
    return best, quickest


class Arithmetic:
    """Computing in a precision: weights stay float32, convolutions and products run in the coarser type.

    Args:
        precision: "float32", "bfloat16" or "float16".
        device: where to compute.

    Attributes:
        dtype: of convolutions and products.
        scaler: keeps small float16 gradients from vanishing (Micikevicius et al. 2018); does nothing in the other
            precisions, whose exponents reach as far as float32's.
    """

    def __init__(self, precision: str, device: torch.device) -> None:
        check_precision(precision)
        self.precision, self.device = precision, device
        self.dtype = TYPES[precision]
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32, where the device has it
            torch.backends.cudnn.allow_tf32 = True

    def autocast(self) -> AbstractContextManager[Any]:
        """A context in which forward passes run in the precision."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.precision != "float32")

    def state(self) -> dict[str, Any]:
        """Of the scaler, JSON-able; empty where it does nothing."""
        return self.scaler.state_dict()

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave."""
        if state:
            self.scaler.load_state_dict(dict(state))
