"""What a training tells others while it runs: one small interface, TensorBoard and MLflow behind it."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from braingan.entry_points import PluginInfo, Plugins
from braingan.errors import SettingsError

log = logging.getLogger("braingan")


class Callback:
    """Is told what happens in a training; every method does nothing unless it is overridden.

    Third parties add theirs through the entry-point group `braingan.loggers`, or with `register_logger`. It is made
    without arguments before anything is trained, which is the time to refuse what cannot work with `SettingsError`.
    """

    def on_start(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """A training starts, or goes on after a stop.

        Args:
            folder: of the run; exists.
            facts: `settings` and `versions`, both JSON-able dictionaries; `step` is 0, or where it goes on from.
        """

    def on_figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures are there, those that `stats.jsonl` gets.

        Args:
            step: how many updates of the generator are done.
            figures: `d_loss`, `g_loss` and `steps_per_second` every few steps; where samples were measured,
                `distance` and `diversity`.
        """

    def on_samples(self, step: int, picture: Path) -> None:
        """A picture of samples was written.

        Args:
            step: how many updates of the generator are done.
            picture: a PNG in the run folder.
        """

    def on_end(self, state: str, step: int) -> None:
        """The training is over, well or not.

        Args:
            state: "finished", "stopped" or "failed".
            step: how many updates of the generator are done.
        """


F = TypeVar("F", bound=Callable[[], Callback])

LOGGERS: Plugins[Callback] = Plugins("braingan.loggers", "logger", SettingsError, "option")


def register_logger(name: str) -> Callable[[F], F]:
    """Class decorator that makes a logger known in this process, without an installed entry point.

    Raises:
        SettingsError: the name is taken; the message names both.
    """

    def register(factory: F) -> F:
        LOGGERS.register(name, factory)
        return factory

    return register


def list_loggers() -> list[PluginInfo]:
    """All loggers by name. One that cannot be loaded is listed with its error."""
    return [LOGGERS.info(name) for name in LOGGERS.names()]


def make_callbacks(names: Sequence[str]) -> tuple[Callback, ...]:
    """The loggers of these names, each once; to be called before anything is trained.

    Raises:
        SettingsError: a name is unknown, a package is missing, or the logger cannot be made.
    """
    return tuple(_make(name) for name in dict.fromkeys(names))


def _make(name: str) -> Callback:
    try:
        made = LOGGERS.create(name, {})
    except SettingsError:
        raise
    except Exception as error:  # a plugin may fail in any way
        raise SettingsError(f"--log {name} cannot be used: {_one_line(error)}") from error
    if not isinstance(made, Callback):
        raise SettingsError(f"--log {name} gives a {type(made).__name__}; a subclass of Callback works")
    return made


class Callbacks(Callback):
    """Several as one. One that fails is left out from then on: a training of hours is worth more than its log.

    What they draw at random does not reach the training.
    """

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        self._active = list(callbacks)

    def on_start(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """See `Callback`."""
        self._tell(lambda callback: callback.on_start(folder, copy.deepcopy(dict(facts))))

    def on_figures(self, step: int, figures: Mapping[str, float]) -> None:
        """See `Callback`."""
        self._tell(lambda callback: callback.on_figures(step, dict(figures)))

    def on_samples(self, step: int, picture: Path) -> None:
        """See `Callback`."""
        self._tell(lambda callback: callback.on_samples(step, picture))

    def on_end(self, state: str, step: int) -> None:
        """See `Callback`."""
        self._tell(lambda callback: callback.on_end(state, step))

    def _tell(self, call: Callable[[Callback], None]) -> None:
        import torch

        for callback in tuple(self._active):
            with torch.random.fork_rng(devices=[]):
                try:
                    call(callback)
                except Exception as error:  # somebody else's code may fail in any way
                    self._active.remove(callback)
                    name, reason = type(callback).__name__, _one_line(error)
                    log.warning("the logger %s failed and is left out of the rest of this run: %s", name, reason)


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
