"""How long a benchmark will take: from a few measured steps before it starts, and from what is done while it runs."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from braingan.data.workplace import CACHE
from braingan.engine.devices import resolve_device
from braingan.evaluation.classifier import train_classifier
from braingan.experiment.cells import Bench, Cell, GeneratorCell
from braingan.experiment.engines import Engine
from braingan.experiment.inputs import FoldInputs
from braingan.generation.gan import GAN
from braingan.generation.protocol import TrainingData, TrainingRun
from braingan.generation.registry import create_backend
from braingan.progress import overview, readable_seconds, without_bars
from braingan.threads import limited

log = logging.getLogger("braingan")

TRIAL_STEPS = 3
WORTH_TRYING = 50  # steps: of fewer, a trial would take about as long


class Clock:
    """Tells the time that is left.

    Args:
        cells: what is to be done.
        seconds: expected for a generator and for a classifier, each alone on its share of the cores.
        at_once: cells at the same time.

    Attributes:
        show: called with the time that is left when one more is done.
    """

    def __init__(self, cells: Sequence[Cell], seconds: tuple[float, float], at_once: int) -> None:
        self.generator, self.classifier = seconds
        self.show: Callable[[str], None] = lambda _: None
        self.at_once = max(1, at_once)
        self.total, self.finished = len(cells), 0
        self.left = sum(map(self._expected, cells))
        self._spent, self._started = 0.0, time.monotonic()

    def __str__(self) -> str:
        return ", ".join(filter(None, [f"{self.finished} of {self.total} trainings done", self.time_left]))

    @property
    def time_left(self) -> str:
        """In words; empty where it is not known."""
        known = self.classifier > 0  # short ones are not worth a trial, and other machines cannot be tried from here
        return f"about {readable_seconds(self.seconds_left)} left" if known else ""

    @property
    def seconds_left(self) -> float:
        """Expected seconds, corrected by how long what is done has taken."""
        slower = (time.monotonic() - self._started) * self.at_once / self._spent if self._spent else 1.0
        return max(0.0, self.left) * slower / self.at_once

    def tick(self, cell: Cell) -> None:
        """One more is done."""
        self.finished += 1
        self.left -= self._expected(cell)
        self._spent += self._expected(cell)
        self.show(self.time_left)

    def _expected(self, cell: Cell) -> float:
        return self.generator if isinstance(cell, GeneratorCell) else self.classifier


@contextmanager
def running_clock(bench: Bench, inputs: FoldInputs, engine: Engine, cells: Sequence[Cell]) -> Iterator[Clock]:
    """Say how long the cells will take, and on a terminal show a bar over those of this process.

    Args:
        bench: of the cells.
        inputs: images to try with.
        engine: what runs the cells; other machines cannot be measured from here.
        cells: what is to be done.
    """
    clock = _clock_of(bench, inputs, engine, cells)
    if not engine.in_process:  # the lines of several processes would run into the bar
        yield clock
        return
    with overview("benchmark", len(cells), "trainings") as clock.show:
        yield clock


def _clock_of(bench: Bench, inputs: FoldInputs, engine: Engine, cells: Sequence[Cell]) -> Clock:
    if not cells or engine.name != "local":
        return Clock(cells, (0.0, 0.0), 1)
    trains = any(isinstance(cell, GeneratorCell) for cell in cells)
    with limited(engine.threads()), without_bars(), _quietly():
        seconds = (_of_generator(bench, inputs) if trains else 0.0, _of_classifier(bench, inputs))
    clock = Clock(cells, seconds, min(len(cells), engine.at_once))
    generators = sum(isinstance(cell, GeneratorCell) for cell in cells)
    log.info(
        "%d generator%s of %d steps and %d classifiers of %d%s", generators, "" if generators == 1 else "s",
        bench.settings.steps, len(cells) - generators, bench.settings.classifier_steps,
        f" will take about {readable_seconds(clock.seconds_left)}" if seconds[1] else "",
    )  # fmt: skip
    return clock


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the lines that a training writes: this one is a trial."""
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _of_classifier(bench: Bench, inputs: FoldInputs) -> float:
    settings, real = bench.settings, inputs.real

    def train(steps: int) -> None:
        train_classifier(
            real.images, real.labels, inputs.train.spec, replace(settings.classifier, steps=steps), seed=0,
            device=resolve_device(settings.device), title="trial", precision=settings.classifier_precision,
        )  # fmt: skip

    return _extrapolated(train, settings.classifier_steps)


def _of_generator(bench: Bench, inputs: FoldInputs) -> float:
    settings, train = bench.settings.training(0), inputs.train
    backend = create_backend(settings.backend, **settings.hyperparameters)
    if not isinstance(backend, GAN):  # it need not count in steps
        return 0.0
    data = TrainingData(train.images, train.labels, train.spec, masks=train.masks)

    def fit(steps: int) -> None:
        with tempfile.TemporaryDirectory(dir=bench.out / CACHE) as folder:  # it may hold pictures of patients
            run = TrainingRun(
                Path(folder), steps=steps, batch_size=settings.batch_size, device=resolve_device(settings.device),
                class_sampling=settings.class_sampling, precision=settings.precision,
            )  # fmt: skip
            backend.fit(data, run)

    return _extrapolated(fit, settings.steps)


def _extrapolated(train: Callable[[int], None], steps: int) -> float:
    """Seconds of a training, from short ones; what building takes cancels out. Nothing for a short training."""
    if steps < WORTH_TRYING:
        return 0.0
    seconds: dict[int, float] = {}
    for trial in (1, 1, 1 + TRIAL_STEPS):  # the first warms up
        started = time.monotonic()
        train(trial)
        seconds[trial] = time.monotonic() - started
    return max(0.0, seconds[1 + TRIAL_STEPS] - seconds[1]) / TRIAL_STEPS * steps
