"""The one training loop that every adversarial backend shares."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from braingan.data.pictures import grid, to_float, to_uint8, write_png
from braingan.data.records import ImageSpec
from braingan.data.sampling import IndexSampler
from braingan.errors import TrainingDivergedError
from braingan.generation.checkpoints import checkpoints_in, save_checkpoint
from braingan.generation.generator import GANGenerator
from braingan.generation.protocol import TrainingData, TrainingRun
from braingan.progress import Progress, readable_seconds

log = logging.getLogger("braingan")

Weights = tuple[Tensor, ...] | list[Tensor]

GRID_COLUMNS = 8
STATISTICS_BATCHES = 16  # from which the averaged generator's batch statistics are measured


class Game(Protocol):
    """What the loop needs to know of two networks that play against each other; `gan.GAN` documents it."""

    @property
    def latent_size(self) -> int: ...  # noqa: D102
    @property
    def n_critic(self) -> int: ...  # noqa: D102
    @property
    def ema_decay(self) -> float: ...  # noqa: D102
    def networks(self, spec: ImageSpec) -> tuple[nn.Module, nn.Module]: ...  # noqa: D102
    def optimizers(self, G: nn.Module, D: nn.Module) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]: ...  # noqa: D102
    def discriminator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor: ...  # noqa: D102
    def generator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor: ...  # noqa: D102
    def after_discriminator_step(self, D: nn.Module) -> None: ...  # noqa: D102


def train_gan(game: Game, data: TrainingData, run: TrainingRun) -> nn.Module:
    """Train G against D.

    Draws from random state of its own and leaves the caller's alone.

    Args:
        game: networks, losses and optimisers.
        data: the training images.
        run: how long, on what and where; its folder receives `stats.jsonl` (a line every hundredth of
            the steps: step, d_loss, g_loss, steps_per_second), `samples/step_*.png` (fixed latents,
            a row for each class) and `checkpoints/`.

    Returns:
        The averaged generator, on `run.device`.

    Raises:
        TrainingDivergedError: a loss is no longer a finite number; the last good checkpoint is kept.
    """
    with _own_random_state(run):
        training = _Training(game, data, run)
        _announce(training)
        torch.manual_seed(run.seed)
        started = time.monotonic()
        with Progress("training", run.steps, "steps") as progress:
            for step in range(run.steps):
                losses = training.step(step)
                progress.advance(1, losses)
                _record(training, step + 1, losses, time.monotonic() - started)
        return training.averaged()


class _Training:
    """Everything that changes during a training."""

    def __init__(self, game: Game, data: TrainingData, run: TrainingRun) -> None:
        self.game, self.data, self.run = game, data, run
        self.G, self.D = (network.to(run.device).train() for network in game.networks(data.spec))
        self.optimizer_G, self.optimizer_D = game.optimizers(self.G, self.D)
        self.ema = AveragedModel(self.G, multi_avg_fn=self._average)
        self.sampler = IndexSampler(data.labels, run.class_sampling, seed=run.seed)
        self.images, self.labels = data.images.to(run.device), data.labels.to(run.device)

    def step(self, step: int) -> dict[str, float]:
        """One update of G, after `n_critic` updates of D."""
        for turn in range(self.game.n_critic):
            real, y = self._batch(step * self.game.n_critic + turn)
            with torch.no_grad():
                fake = self.G(self._latents(), y)
            d_loss = self.game.discriminator_loss(self.D, real, fake, y)
            _update(self.optimizer_D, d_loss)
            self.game.after_discriminator_step(self.D)

        self.D.requires_grad_(False)  # G's step needs gradients through D, not into its weights
        g_loss = self.game.generator_loss(self.D, real, self.G(self._latents(), y), y)
        _update(self.optimizer_G, g_loss)
        self.D.requires_grad_(True)
        self.ema.update_parameters(self.G)
        return {"d_loss": float(d_loss.detach()), "g_loss": float(g_loss.detach())}

    def averaged(self) -> nn.Module:
        """The averaged generator, with batch statistics that belong to the averaged weights."""
        G: nn.Module = copy.deepcopy(self.ema.module)
        norms = [module for module in G.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        if norms:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a plain mean over the batches
            random = torch.random.get_rng_state()
            with torch.no_grad():
                for turn in range(STATISTICS_BATCHES):
                    G.train()(self._latents(), self._batch(turn)[1])
            torch.random.set_rng_state(random)
        return G.eval()

    def _batch(self, number: int) -> tuple[Tensor, Tensor]:
        chosen = self.sampler.batch(number, self.run.batch_size).to(self.run.device)
        return to_float(self.images[chosen]), self.labels[chosen]

    def _latents(self) -> Tensor:
        return torch.randn(self.run.batch_size, self.game.latent_size).to(self.run.device)

    def _average(self, averaged: Weights, current: Weights, count: Tensor | int) -> None:
        decay = min(self.game.ema_decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, 1 - decay)


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@contextmanager
def _own_random_state(run: TrainingRun) -> Iterator[None]:
    devices = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(run.seed)
        yield


def _announce(training: _Training) -> None:
    """Say how long it will take, from a few steps on a copy."""
    run, data = training.run, training.data
    counts = dict(zip(data.spec.classes, torch.bincount(data.labels, minlength=len(data.spec.classes)).tolist(),
                      strict=True))  # fmt: skip
    log.info("training %s on %s, %s", type(training.game).__name__, run.device, counts)
    if run.steps < 20:
        return
    trial = copy.deepcopy(training)
    trial.step(0)
    started = time.monotonic()
    trial.step(1)
    seconds = (time.monotonic() - started) * run.steps
    log.info("%d steps of %d images will take about %s", run.steps, run.batch_size, readable_seconds(seconds))


def _record(training: _Training, step: int, losses: dict[str, float], seconds: float) -> None:
    run = training.run
    checkpoints = run.folder / "checkpoints"
    if not all(math.isfinite(value) for value in losses.values()):
        kept = checkpoints_in(checkpoints)
        rest = f"the last good checkpoint is {kept[-1]}" if kept else "it came before the first checkpoint"
        shown = ", ".join(f"{name} {value}" for name, value in losses.items())
        raise TrainingDivergedError(f"training diverged at step {step} ({shown}); {rest}; a lower learning_rate helps")
    if _due(step, run.steps, 100):
        line = {"step": step, **losses, "steps_per_second": round(step / max(seconds, 1e-9), 3)}
        with (run.folder / "stats.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    if _due(step, run.steps, 5):
        _draw_samples(training, step)
    if _due(step, run.steps, 10):
        save_checkpoint(
            checkpoints,
            step,
            {"G": training.G, "D": training.D, "ema": training.ema.module},
            {"optimizer_G": training.optimizer_G, "optimizer_D": training.optimizer_D},
        )


def _due(step: int, steps: int, times: int) -> bool:
    """Whether something that happens `times` times in a run, and at its end, happens now."""
    return step == steps or step % max(1, steps // times) == 0


def _draw_samples(training: _Training, step: int) -> None:
    spec = training.data.spec
    generator = GANGenerator(training.averaged(), spec, training.game.latent_size)
    labels = torch.arange(len(spec.classes)).repeat_interleave(GRID_COLUMNS)
    images = to_uint8(generator.sample(labels, seed=training.run.seed))
    text = {"Software": "braingan", "Synthetic": "true", "Step": str(step), "Classes": ", ".join(spec.classes)}
    write_png(training.run.folder / "samples" / f"step_{step:06d}.png", grid(images, GRID_COLUMNS), text)
