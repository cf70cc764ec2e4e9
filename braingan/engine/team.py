"""One training by several processes: who writes, and how gradients are shared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from braingan.engine.devices import resolve_device
from braingan.errors import BrainganError, SettingsError
from braingan.progress import be_silent

T = TypeVar("T")

STRATEGIES = ("auto", "ddp")  # of Fabric's: every process holds whole networks, and a share of each batch


class Team:
    """The processes of a training; without Fabric, this one alone.

    Args:
        device: where this process computes.
        fabric: a launched `lightning_fabric.Fabric`, or None.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
    """

    def __init__(self, device: torch.device, fabric: Any = None) -> None:
        self.device, self._fabric = device, fabric
        self.rank: int = fabric.global_rank if fabric else 0
        self.size: int = fabric.world_size if fabric else 1

    @property
    def writes(self) -> bool:
        """Whether this process writes the files; one of them does."""
        return self.rank == 0

    def part(self, size: int) -> slice:
        """This process's share of a batch of `size`."""
        own = size // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes, in one exchange."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in parameters if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        flat = self._fabric.all_reduce(flat, reduce_op="mean")
        for gradient, mean in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def any(self, wish: bool) -> bool:
        """Whether any of the processes says yes."""
        if self.size == 1:
            return wish
        total: Tensor = self._fabric.all_reduce(torch.tensor(float(wish), device=self.device), reduce_op="sum")
        return bool(total > 0)

    def tell(self, value: T) -> T:
        """What the writing process has to say, on all of them."""
        return self._fabric.broadcast(value) if self.size > 1 else value

    def writer_first(self, work: Callable[[], T]) -> T:
        """Let the writing process do something before the others do it.

        Raises:
            BrainganError: what the writing process raised, in all of them.
        """
        problem, done = "", []
        if self.writes:
            try:
                done.append(work())
            except BrainganError as error:
                if self.size == 1:
                    raise
                problem = str(error)
        if problem := self.tell(problem):
            raise BrainganError(problem)
        return done[0] if done else work()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            self._fabric.barrier()


def launch(device: str, *, devices: int, num_nodes: int, strategy: str) -> Team:
    """Start the processes of a training, or join those that torchrun or SLURM started.

    On one machine Fabric starts the other processes itself, by running this program again, so everything up to here
    runs in each of them.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        devices: processes on each machine, a device each.
        num_nodes: machines.
        strategy: "auto" or "ddp".

    Raises:
        SettingsError: numbers or a strategy that cannot work, or lightning-fabric is not installed.
    """
    if strategy not in STRATEGIES:
        raise SettingsError(f"strategy {strategy!r} was asked; {' or '.join(STRATEGIES)} work: the networks are small "
                            "enough to be whole on every device")  # fmt: skip
    if devices < 1 or num_nodes < 1:
        raise SettingsError(f"{devices} devices on {num_nodes} nodes were asked; 1 or more of each work")
    here = resolve_device(device)
    started = int(os.environ.get("WORLD_SIZE", "1"))  # by torchrun
    if devices == num_nodes == 1:
        if started > 1:
            raise SettingsError(f"torchrun started {started} processes; give --devices and --num-nodes as it has them")
        return Team(here)
    if here.type == "cuda" and devices > torch.cuda.device_count():
        raise SettingsError(f"{devices} devices were asked; this machine has {torch.cuda.device_count()}")
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise SettingsError(
            "--devices and --num-nodes need the package lightning-fabric; pip install 'braingan[distributed]'"
        ) from error
    fabric = Fabric(accelerator=here.type, devices=devices, num_nodes=num_nodes, strategy="ddp")
    fabric.launch()
    if fabric.global_rank:
        be_silent()
    return Team(fabric.device, fabric)
