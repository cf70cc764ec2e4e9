"""The one training loop that every adversarial backend shares."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

import torch
from torch import Tensor, nn

from braingan.engine.precision import choose_precision
from braingan.engine.stopping import StopWish, stop_wishes
from braingan.errors import StoppedError
from braingan.generation.protocol import TrainingData, TrainingRun
from braingan.generation.record import Record
from braingan.generation.training import Game, Training
from braingan.generation.watchdog import MEASURE_EVERY
from braingan.progress import Progress, readable_seconds

log = logging.getLogger("braingan")

TRIAL_FROM = 50  # steps; in a shorter run, trying precisions would take longer than the best one saves


def train_gan(game: Game, data: TrainingData, run: TrainingRun) -> nn.Module:
    """Train G against D, or go on where a stopped training of the same folder left off.

    Draws from random state of its own and leaves the caller's alone. Every step draws from a seed made of
    (run.seed, step), so that a training that was stopped ends with the very weights that it would have had.

    Args:
        game: networks, losses and optimisers.
        data: the training images.
        run: how long, on what and where; its folder receives `stats.jsonl`, `samples/step_*.png` (fixed latents,
            a row for each class) and `checkpoints/`.

    Returns:
        The averaged generator of the best measured step, on the run's device.

    Raises:
        TrainingDivergedError: a loss is no longer a finite number; the best checkpoint is kept.
        StoppedError: SIGTERM or Ctrl-C came; a checkpoint was written.
        OutputError: a checkpoint cannot be written or read.
    """
    with _own_random_state(run), stop_wishes() as wish:
        training = Training(game, data, run)
        record = Record(training)
        training.take_up()
        _announce(training)
        record.start()
        try:
            _run(training, record, wish)
            best = training.best()
            if training.team.any(bool(wish)):  # it came after the last step
                _stop(training, record, wish)
        except BaseException as error:
            record.fail(error)
            raise
        record.finish()
        return best


def choose_gan_precision(game: Game, data: TrainingData, run: TrainingRun) -> tuple[str, dict[str, float]]:
    """The quickest precision for a game on `run.device`, and milliseconds a step; see `choose_precision`."""
    if run.steps < TRIAL_FROM:
        return "float32", {}

    def trial(precision: str) -> Callable[[], Tensor]:
        training = Training(game, data, replace(run, precision=precision))
        steps = iter(range(run.steps))
        return lambda: sum(training.step(next(steps)).values(), torch.zeros((), device=training.device))

    with _own_random_state(run):
        return choose_precision(run.device, trial)


def _run(training: Training, record: Record, wish: StopWish) -> None:
    run, team = training.run, training.team
    with Progress("training", run.steps, "steps", done=training.done) as progress:
        while training.done < run.steps and not training.watchdog.watch.gave_up:
            losses = training.step(training.done)
            training.done += 1
            shown = record.losses(losses)
            progress.advance(1, shown)
            if training.done % MEASURE_EVERY == 0:
                record.measure()
            if team.any(bool(wish)):
                _stop(training, record, wish)
            if record.due():
                record.checkpoint()
        if training.done % MEASURE_EVERY:
            record.measure()
        record.checkpoint()


def _stop(training: Training, record: Record, wish: StopWish) -> NoReturn:
    record.checkpoint()
    training.team.wait()  # a process that ends takes the others with it
    at = f"stopped at step {training.done} of {training.run.steps}"
    raise StoppedError(f"{at}; the same command goes on (`braingan train`: with --resume)", wish.signal)


@contextmanager
def _own_random_state(run: TrainingRun) -> Iterator[None]:
    devices = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(run.seed)
        yield


def _announce(training: Training) -> None:
    """Say what is trained on what, and how long it will take, from a few steps on a copy."""
    run, data = training.run, training.data
    counts = dict(zip(data.spec.classes, torch.bincount(data.labels, minlength=len(data.spec.classes)).tolist(),
                      strict=True))  # fmt: skip
    shared = f" by {training.team.size} processes" if training.team.size > 1 else ""
    log.info("training %s on %s%s in %s, %s", type(training.game).__name__, run.device, shared, run.precision, counts)
    log.info("samples will be measured against %s", training.watchdog.against)
    left = run.steps - training.done
    if left < TRIAL_FROM or training.team.size > 1:
        return
    trial = Training(training.game, data, run)
    seconds = []
    for step in range(3):
        started = time.monotonic()
        sum(float(loss) for loss in trial.step(step).values())
        seconds.append(time.monotonic() - started)
    log.info("%d steps of %d images will take about %s", left, run.batch_size, readable_seconds(min(seconds) * left))
