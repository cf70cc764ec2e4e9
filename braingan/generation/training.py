"""Everything that changes while two networks play against each other, and one step of it."""

from __future__ import annotations

import copy
import logging
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from braingan.data.pictures import to_uint8
from braingan.data.records import ImageSpec
from braingan.engine.precision import Arithmetic
from braingan.engine.team import Team
from braingan.errors import OutputError
from braingan.generation.batches import NOISE, Batches, seed_of
from braingan.generation.checkpoints import (
    checkpoint_path,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from braingan.generation.protocol import Generator, TrainingData, TrainingRun
from braingan.generation.watchdog import Watch, Watchdog

log = logging.getLogger("braingan")

Weights = tuple[Tensor, ...] | list[Tensor]

STATISTICS_BATCHES = 8  # from which the averaged generator's batch statistics are measured


class Game(Protocol):
    """What training needs to know of two networks that play against each other; `gan.GAN` documents it."""

    @property
    def n_critic(self) -> int: ...  # noqa: D102
    @property
    def ema_decay(self) -> float: ...  # noqa: D102
    @property
    def penalty_every(self) -> int: ...  # noqa: D102
    @property
    def keeps_best(self) -> bool: ...  # noqa: D102
    def makes(self, data: TrainingData) -> tuple[int, ...]: ...  # noqa: D102
    def batches(self, data: TrainingData, run: TrainingRun, device: torch.device) -> Batches: ...  # noqa: D102
    def networks(self, spec: ImageSpec) -> tuple[nn.Module, nn.Module]: ...  # noqa: D102
    def generator(  # noqa: D102
        self, G: nn.Module, data: TrainingData, precision: str, batches: Batches | None = None
    ) -> Generator: ...
    def optimizers(self, G: nn.Module, D: nn.Module) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]: ...  # noqa: D102
    def discriminator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor: ...  # noqa: D102
    def discriminator_penalty(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor | None: ...  # noqa: D102
    def generator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor: ...  # noqa: D102
    def generator_penalty(self, G: nn.Module, real: Tensor, y: Tensor) -> Tensor | None: ...  # noqa: D102
    def after_discriminator_step(self, D: nn.Module) -> None: ...  # noqa: D102


class Training:
    """Networks, optimisers, averages, and how far they are.

    Attributes:
        done: updates of G so far.
        seconds: of training before this process took it up.
        watchdog: what is known of the samples.
    """

    def __init__(self, game: Game, data: TrainingData, run: TrainingRun) -> None:
        self.game, self.data, self.run = game, data, run
        self.team = run.team or Team(run.device)
        self.device = self.team.device
        self.arithmetic = Arithmetic(run.precision, self.device)
        torch.manual_seed(run.seed)  # initial weights are the same in every process
        self.G, self.D = (self._placed(network) for network in game.networks(data.spec))
        self._learning = [weight for weight in self.D.parameters() if weight.requires_grad]
        self.optimizer_G, self.optimizer_D = game.optimizers(self.G, self.D)
        self.ema = AveragedModel(self.G, multi_avg_fn=self._average)
        self._G: nn.Module = torch.compile(self.G) if run.compile else self.G  # type: ignore[assignment]
        self._D: nn.Module = torch.compile(self.D) if run.compile else self.D  # type: ignore[assignment]
        self.batches = game.batches(data, run, self.device)
        self.made = game.makes(data)
        self.watchdog = Watchdog(data, run, self.made, judges=game.keeps_best)
        self.done, self.seconds = 0, 0.0

    def step(self, number: int) -> dict[str, Tensor]:
        """One update of G, after `n_critic` updates of D.

        What it draws depends on (seed, number) alone, whatever was drawn before.

        Returns:
            `d_loss` and `g_loss` on the device: reading them would wait for it.
        """
        turns, self._number = self.game.n_critic, number
        torch.manual_seed(seed_of(self.run.seed, number, NOISE, self.team.rank))  # dropout, penalties
        for turn in range(number * turns, (number + 1) * turns):
            last = turn == (number + 1) * turns - 1
            real, y = self.batches.real(turn, self._part)
            given = self.batches.given(turn, self._part)
            with self.arithmetic.autocast():
                with torch.set_grad_enabled(last):  # the last fakes serve G's update, too
                    fake = self._G(*given)
                d_loss = self._discriminator_loss(turn, real, fake.detach(), y)
            self._update(self.optimizer_D, d_loss, self.D)
            self.game.after_discriminator_step(self.D)

        for weight in self._learning:  # G's step needs gradients through D, not into its weights
            weight.requires_grad_(False)
        with self.arithmetic.autocast():
            g_loss = self.game.generator_loss(self._D, real, fake, y)
            if (penalty := self.game.generator_penalty(self._G, real, y)) is not None:
                g_loss = g_loss + penalty
        self._update(self.optimizer_G, g_loss, self.G)
        for weight in self._learning:
            weight.requires_grad_(True)
        self.ema.update_parameters(self.G)
        return {"d_loss": d_loss.detach(), "g_loss": g_loss.detach()}

    def averaged(self) -> nn.Module:
        """The averaged generator, with batch statistics that belong to the averaged weights."""
        torch.manual_seed(seed_of(self.run.seed, 0, NOISE))  # of dropout; steps seed anew
        G: nn.Module = copy.deepcopy(self.ema.module)
        norms = [module for module in G.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        if norms:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a plain mean over the batches
            with torch.no_grad(), self.arithmetic.autocast():
                for turn in range(STATISTICS_BATCHES):
                    G.train()(*self.batches.given(turn, slice(None)))
        return G.eval()

    def generator(self, G: nn.Module) -> Generator:
        """G as what samples."""
        return self.game.generator(G, self.data, self.run.precision, self.batches)

    def sample(self, G: nn.Module, labels: Tensor) -> Tensor:
        """Samples for a look: (N, C, H, W) uint8, always from the same latents."""
        return to_uint8(self.generator(G).sample(labels, seed=self.run.seed))

    def is_finite(self) -> bool:
        """Whether all weights are numbers."""
        weights = [*self.G.parameters(), *self.D.parameters()]
        return bool(torch.stack([weight.isfinite().all() for weight in weights]).all())

    def save(self, seconds: float) -> None:
        """Write a checkpoint of this moment."""
        regular = self.watchdog.regular
        facts = {"watch": regular.to_json(), "scaler": self.arithmetic.state(), "seconds": seconds}
        networks, optimizers = self._parts()
        folder = self.run.folder / "checkpoints"
        best = regular.best_step if self.watchdog.judges else 0
        save_checkpoint(folder, self.done, networks, optimizers, facts, best_step=best)

    def take_up(self) -> None:
        """Go on from the newest whole checkpoint of the run folder, where there is one."""
        found = latest_checkpoint(self.run.folder / "checkpoints", at_most=self.run.steps)
        if found is None:
            return
        try:
            found.restore(*self._parts())
        except (RuntimeError, KeyError, IndexError, ValueError) as error:
            raise OutputError(f"the checkpoint of step {found.step} is of other networks: {error}") from error
        self.arithmetic.load(found.facts.get("scaler", {}))
        self.watchdog.take_up(Watch.from_json(found.facts["watch"]))
        self.done, self.seconds = found.step, found.facts["seconds"]
        log.info("going on from step %d", self.done)

    def best(self) -> nn.Module:
        """The averaged generator of the best measured step."""
        watch = self.watchdog.watch
        if self.watchdog.kept not in {0, self.done} and self.team.writes:
            try:
                kept = load_checkpoint(checkpoint_path(self.run.folder / "checkpoints", watch.best_step))
                self.ema.load_state_dict(kept.network("ema"))
                log.info("step %d had the best samples (distance %.3g) and is what samples from now on",
                         watch.best_step, watch.best_distance)  # fmt: skip
            except OutputError as error:
                log.warning("%s; taking the last step instead of the best, %d", error, watch.best_step)
        return self.averaged()

    def _parts(self) -> tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer]]:
        networks = {"G": self.G, "D": self.D, "ema": self.ema}
        return networks, {"optimizer_G": self.optimizer_G, "optimizer_D": self.optimizer_D}

    def _placed(self, network: nn.Module) -> nn.Module:
        network = network.to(self.device).to(memory_format=torch.channels_last).train()
        network.register_forward_hook(_in_float32)
        return network

    def _discriminator_loss(self, turn: int, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        loss = self.game.discriminator_loss(self._D, real, fake, y)
        every = self.game.penalty_every
        if turn % every == 0 and (penalty := self.game.discriminator_penalty(self.D, real, fake, y)) is not None:
            loss = loss + every * penalty  # as strong on average as one in each turn
        return loss

    def _update(self, optimizer: torch.optim.Optimizer, loss: Tensor, network: nn.Module) -> None:
        optimizer.zero_grad(set_to_none=True)
        self.arithmetic.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.team.average_gradients(network.parameters())
        self.arithmetic.scaler.step(optimizer)
        self.arithmetic.scaler.update()  # after each of D's turns, too: the scaler takes one step an update

    @property
    def _part(self) -> slice:
        return self.team.part(self.run.batch_size)

    def _average(self, averaged: Weights, current: Weights, count: Tensor | int) -> None:
        decay = min(self.game.ema_decay, (1 + self._number) / (10 + self._number))  # `count` may be on a GPU
        torch._foreach_lerp_(averaged, current, 1 - decay)


def _in_float32(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Losses are computed in float32 whatever the networks compute in."""
    return output.float()
