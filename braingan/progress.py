"""Progress on stderr: a bar on a terminal, plain log lines otherwise."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger("braingan")
SECONDS_BETWEEN_LINES = 15.0
_silent = False
_bars = ContextVar("bars", default=True)


def speaks() -> bool:
    """Whether this process speaks for the others of its training (those that Fabric, torchrun or SLURM started)."""
    return not _silent


def be_silent() -> None:
    """Say no more than errors from here on: another process of the same training speaks."""
    global _silent
    _silent = True
    log.setLevel(logging.ERROR)


@contextmanager
def without_bars() -> Iterator[None]:
    """Log lines even on a terminal: bars of several processes would overwrite each other."""
    before = _bars.set(False)
    try:
        yield
    finally:
        _bars.reset(before)


class Progress:
    """A context manager that counts to `total`.

    Args:
        title: what is being done.
        total: how many units there are.
        unit: what one is called.
        done: how many are done already.
    """

    def __init__(self, title: str, total: int, unit: str = "images", *, done: int = 0) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = self._before = done
        self._started = self._last_line = time.monotonic()
        quiet = None if speaks() and _bars.get() else True  # None: unless stderr is a terminal
        self._bar = tqdm(
            total=total, initial=done, desc=title, unit=f" {unit}", disable=quiet, leave=False, file=sys.stderr
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.close()

    def advance(self, count: int, figures: Mapping[str, float] | None = None) -> None:
        """Count units as done and show some figures (losses, say) beside them."""
        self.done += count
        if not self._bar.disable:
            if figures:
                self._bar.set_postfix({name: f"{value:.3f}" for name, value in figures.items()}, refresh=False)
            self._bar.update(count)
        elif speaks() and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            log.info("%s", self._line(figures or {}))

    def _line(self, figures: Mapping[str, float]) -> str:
        rate = (self.done - self._before) / max(time.monotonic() - self._started, 1e-9)
        left = readable_seconds((self.total - self.done) / max(rate, 1e-9))
        shown = "".join(f", {name} {value:.3f}" for name, value in figures.items())
        return f"{self.title}: {self.done}/{self.total} {self.unit}, {rate:.2f}/s, {left} left{shown}"


@contextmanager
def overview(title: str, total: int, unit: str) -> Iterator[Callable[[str], None]]:
    """A bar over the parts of a long piece of work, above those of the parts; on a terminal only.

    Elsewhere the log lines of the parts tell as much. On a terminal these lines are put above the bars.

    Args:
        title: of the whole.
        total: how many parts there are.
        unit: what one is called.

    Yields:
        To be called when a part is done, with words that stand beside the bar.
    """
    quiet = None if speaks() and _bars.get() and total else True
    shape = "{desc}: {n_fmt}/{total_fmt} {unit} |{bar}| {elapsed}{postfix}"
    with (
        tqdm(total=total, desc=title, unit=unit, disable=quiet, leave=False, file=sys.stderr, bar_format=shape) as bar,
        nullcontext() if bar.disable else logging_redirect_tqdm(),
    ):

        def advance(words: str) -> None:
            bar.set_postfix_str(words, refresh=False)
            bar.update(1)

        yield advance


def readable_seconds(seconds: float) -> str:
    """A duration as a person says it.

    >>> readable_seconds(42), readable_seconds(150), readable_seconds(7300)
    ('42 s', '2 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
