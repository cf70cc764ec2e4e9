"""Signals are a wish first, and an order the second time: real ones, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from braingan.engine.stopping import SIGNALS, ended_by_sigterm, stop_wishes
from braingan.errors import StoppedError

# Every script says READY when it takes signals, and waits for them there.
HEAD = """
import signal, sys, threading, time
from braingan.engine.stopping import stop_wishes

for number in (signal.SIGINT, signal.SIGTERM):  # whoever runs these tests may have had them ignored
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def ready():
    print("READY", flush=True)


def wait_for(what):
    while not what():
        time.sleep(0.005)
"""

ONE = (
    HEAD
    + """
with stop_wishes() as wish:
    assert not wish
    ready()
    wait_for(lambda: wish)
    print("wish", wish.signal, flush=True)
print("restored", signal.getsignal(signal.SIGINT) is signal.default_int_handler,
      signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
)

TWO = (
    HEAD
    + """
with stop_wishes() as wish:
    ready()
    wait_for(lambda: wish)
    ready()
    time.sleep(60)
"""
)

IGNORED = (
    HEAD
    + """
signal.signal(signal.SIGINT, signal.SIG_IGN)
with stop_wishes() as wish:
    ready()
    sys.stdin.readline()
    print("wish", wish.signal, "ignored", signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
"""
)

THREAD = (
    HEAD
    + """
def inside():
    with stop_wishes() as wish:
        print("wish", wish.signal, flush=True)

thread = threading.Thread(target=inside)
thread.start()
thread.join()
print("untouched", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
)


def start(script: str) -> subprocess.Popen[str]:
    """The script in a process of its own."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "READY\n", process.communicate()[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_a_wish_and_handlers_are_put_back(number: signal.Signals) -> None:
    process = start(ONE)
    wait_until_ready(process)
    process.send_signal(number)
    assert process.communicate(timeout=60) == (f"wish {number.value}\nrestored True True\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)],
)
def test_the_second_signal_acts_at_once(first: signal.Signals, second: signal.Signals) -> None:
    process = start(TWO)
    wait_until_ready(process)
    process.send_signal(first)
    wait_until_ready(process)
    process.send_signal(second)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == -second
    assert ("KeyboardInterrupt" in errors) == (second == signal.SIGINT)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    process = start(IGNORED)
    wait_until_ready(process)
    process.send_signal(signal.SIGINT)
    assert process.communicate("go on\n", timeout=60) == ("wish None ignored True\n", "")


def test_without_a_signal_handlers_are_put_back_too() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stop_wishes():
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_outside_of_the_main_thread_nothing_is_taken() -> None:
    assert start(THREAD).communicate(timeout=60) == ("wish None\nuntouched True\n", "")


def test_sigterm_ends_a_block_as_an_exception_would_and_is_as_before_afterwards() -> None:
    closed = []

    def stopped() -> None:
        with ended_by_sigterm("the same command goes on"):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            finally:
                closed.append(True)

    with pytest.raises(StoppedError, match="the same command goes on") as caught:
        stopped()
    assert (closed, caught.value.signal) == ([True], signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
