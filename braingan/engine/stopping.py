"""SIGTERM and Ctrl-C as a wish that is granted at the next safe moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from braingan.errors import StoppedError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopWish:
    """Whether somebody asked to stop.

    Attributes:
        signal: number of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_wishes() -> Iterator[StopWish]:
    """Take SIGTERM and SIGINT as a wish while the block runs; the second one acts at once, as it would have before.

    Outside of the main thread signals cannot be taken, and the wish stays unset. A signal that is ignored stays so, as
    SIGINT is in a job that a script started in the background.
    """
    wish = StopWish()
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def take(number: int, frame: FrameType | None) -> None:
        wish.signal = number
        restore()

    try:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler not in {signal.SIG_IGN, None}:  # None: not set by Python, which could not put it back
                signal.signal(number, take)
                before[number] = handler
    except ValueError:  # not the main thread
        before.clear()
    try:
        yield wish
    finally:
        restore()


@contextmanager
def ended_by_sigterm(message: str) -> Iterator[None]:
    """Let SIGTERM end the block as an exception does, so that what was opened in it is closed.

    Raises:
        StoppedError: SIGTERM came.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise StoppedError(message, number)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
