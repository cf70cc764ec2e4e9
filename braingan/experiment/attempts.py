"""Running cells, whatever becomes of them: one that fails is told of, and the others go on."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from braingan.data.files import replacing
from braingan.data.locking import TakenError
from braingan.errors import OutputError, StoppedError
from braingan.experiment.cells import Bench, Cell, claimed
from braingan.experiment.clock import Clock
from braingan.experiment.engines import Engine, one_line, share_of_cores
from braingan.experiment.inputs import CellInputs, load_inputs
from braingan.progress import without_bars
from braingan.threads import limited

log = logging.getLogger("braingan")

FAILED = "failed"  # the folder with the tracebacks

_ALONE = threading.Lock()  # trainings in threads of one process would share random state


@dataclass(frozen=True)
class Attempt:
    """What became of a cell.

    Attributes:
        cell: the cell.
        state: "done", "taken" (another process is at work on it) or "failed".
        said: of its result, or of its failure, in a line.
        traceback: of its failure.
    """

    cell: Cell
    state: Literal["done", "taken", "failed"]
    said: str = ""
    traceback: str = ""


def run_cells(engine: Engine, bench: Bench, inputs: CellInputs, cells: Sequence[Cell], clock: Clock) -> list[Attempt]:
    """Run cells that are not finished yet.

    Cells that another process has are waited for when the rest is done.

    Args:
        engine: what runs them.
        bench: of the cells.
        inputs: what they read.
        cells: what is to be done.
        clock: tells the time that is left.

    Returns:
        Those that failed. Their tracebacks are in `failed/NAME.txt` in the output folder.
    """
    failed = []
    todo = [cell for cell in cells if not cell.finished(bench, inputs)]
    for wait in (False, True):
        taken = []
        if engine.in_process:
            function = partial(attempt, bench, inputs, wait=wait)
        else:
            threads = engine.threads() if engine.name == "local" else None
            function = partial(
                attempt_in_worker, bench, wait=wait, at_once=engine.at_once, threads=threads,
                level=log.getEffectiveLevel(),
            )  # fmt: skip
        for done in engine.map(function, todo, _lost):
            if done.state == "taken":
                log.info("%s: another process is at work on it", done.cell.title)
                taken.append(done.cell)
            elif done.state == "failed":
                failed.append(done)
                _keep(bench, done)
            else:
                (bench.out / FAILED / f"{done.cell.name}.txt").unlink(missing_ok=True)
                clock.tick(done.cell)
                log.info("%s: %s (%s)", done.cell.title, done.said, str(clock))
        todo = taken
        if not todo:
            break
    return failed


def attempt(bench: Bench, inputs: CellInputs, cell: Cell, *, wait: bool) -> Attempt:
    """Claim a cell and run it.

    Raises:
        StoppedError: somebody asked to stop; that is no failure of the cell.
    """
    try:
        with claimed(bench.out, cell.name, wait=wait):
            return Attempt(cell, "done", cell.run(bench, inputs))
    except TakenError:
        return Attempt(cell, "taken")
    except StoppedError:
        raise
    except Exception as error:  # whatever it is, other cells may do better
        return Attempt(cell, "failed", one_line(error), traceback.format_exc())


def attempt_in_worker(
    bench: Bench, cell: Cell, *, wait: bool, at_once: int, threads: int | None, level: int
) -> Attempt:
    """The same in a process that is not the user's.

    Args:
        bench: of the cell.
        cell: what to run.
        wait: for another process that has the cell.
        at_once: cells at the same time on this machine, which share its cores.
        threads: for each; None for a share of the cores.
        level: of log lines that go to stderr.
    """
    with _ALONE, limited(threads or share_of_cores(at_once)), without_bars(), _lines_of(cell, level):
        if bench.inputs is None or not bench.inputs.exists():
            where = f"{bench.inputs} is not there on {socket.gethostname()}"
            said = f"{where}; the output folder must lie where all machines see it under the same name"
            return Attempt(cell, "failed", said, said)
        if torch.cuda.device_count() > 1:  # numbers follow the order of starts: each process takes the next GPU
            torch.cuda.set_device(os.getpid() % torch.cuda.device_count())
        return attempt(bench, load_inputs(bench.inputs), cell, wait=wait)


class _Titled(logging.Formatter):
    """Puts a title before lines that do not begin with it."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return line if line.startswith(self.title) else f"{self.title}: {line}"


@contextmanager
def _lines_of(cell: Cell, level: int) -> Iterator[None]:
    """Log lines on stderr, each with the name of the cell: several cells write there at once."""
    logger, handler = logging.getLogger("braingan"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Titled(cell.title))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


def _lost(cell: Cell, error: Exception) -> Attempt:
    said = f"no worker lived to give its result (killed? out of memory?): {one_line(error)}"
    return Attempt(cell, "failed", said, "".join(traceback.format_exception(error)))


def _keep(bench: Bench, failed: Attempt) -> None:
    path = bench.out / FAILED / f"{failed.cell.name}.txt"
    try:
        with replacing(path) as beside:
            beside.write_text(failed.traceback, encoding="utf-8", errors="replace")  # names in it need not be text
    except OutputError as error:  # the disk may be what failed
        log.error("%s failed: %s; %s", failed.cell.title, failed.said, error)
        return
    log.error("%s failed: %s; traceback in %s", failed.cell.title, failed.said, path)
