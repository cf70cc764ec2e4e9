"""Trainings that are stopped: small ones in this process, and real processes that can be killed."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch

import braingan
from braingan import ImageSpec, TrainingData
from braingan.generation.callbacks import Callback

StartTraining = Callable[..., ForkServerProcess]


class StopAt(Callback):
    """Sends this process a real signal when a figure of a step (1 to 9, 10, 20, ...) comes."""

    def __init__(
        self, step: int, number: signal.Signals = signal.SIGTERM, *, times: int = 1, figure: str = "d_loss"
    ) -> None:
        self.step, self.number, self.times, self.figure = step, number, times, figure

    def on_figures(self, step: int, figures: Mapping[str, float]) -> None:
        """At the step, the signal comes."""
        if step == self.step and self.figure in figures:
            for _ in range(self.times):
                signal.raise_signal(self.number)


@pytest.fixture
def stop_at() -> type[StopAt]:
    """Makes a callback that stops a training at a step."""
    return StopAt


@pytest.fixture(scope="session")
def little() -> TrainingData:
    """Twelve small images of two classes: bright discs, and dark ones."""
    random = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    labels = torch.arange(12) % 2
    disc = (x.square() + y.square() < 0.6) * (80 + 90 * labels.view(-1, 1, 1, 1))
    images = disc + torch.randint(0, 40, (12, 1, 32, 32), generator=random)
    return TrainingData(images.to(torch.uint8), labels, ImageSpec(32, 1, ("dark", "bright")))


@pytest.fixture(scope="session")
def start_training() -> StartTraining:
    """Starts `braingan.train` in a process of its own, forked from one that has imported everything already.

    So it starts within a fraction of the seconds that importing takes; it is killed like any other.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["braingan.generation.train", "braingan_dcgan", "braingan_wgan"])

    def start(data: Path, run: Path, **options: Any) -> ForkServerProcess:
        process = processes.Process(target=braingan.train, args=(data, run), kwargs=options)
        process.start()
        return process

    return start
