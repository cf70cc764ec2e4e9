"""`run.json`: what state a run is in, for people and scripts that look from outside."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from braingan.data.files import read_json, write_json
from braingan.errors import OutputError
from braingan.generation.process import own_process
from braingan.versions import versions

log = logging.getLogger("braingan")

JOURNAL = "run.json"
State = Literal["running", "finished", "stopped", "failed"]
STATES = ("running", "finished", "stopped", "failed")
LONGEST_MESSAGE = 300


class Journal:
    """Keeps the `run.json` of one folder, written whole each time.

    No host name, user name or path goes into it, because run folders get shared.

    Args:
        folder: of the run; exists.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / JOURNAL
        self._record: dict[str, Any] = {}
        self._told = time.monotonic()

    def start(self, settings: Mapping[str, Any], steps: int, step: int, device: str = "cpu") -> None:
        """A training starts, or goes on where step is above 0.

        Args:
            settings: resolved, JSON-able.
            steps: when it will be finished.
            step: how many are done.
            device: where it computes, as torch calls it.

        Raises:
            OutputError: the folder cannot be written.
        """
        before = _read_before(self.path) if step else {}
        now = _now()
        self._told = time.monotonic()
        self._record = {
            "state": "running",
            "step": step,
            "steps": steps,
            "best_step": before.get("best_step"),
            "best_distance": before.get("best_distance"),
            "message": "",
            "settings": dict(settings),
            "versions": versions(),
            "machine": _machine(device),
            "started": before.get("started", now),
            "updated": now,
            "seconds": before.get("seconds", 0.0),
            "resumed": before.get("resumed", 0) + 1 if step else 0,
            "process": own_process(),
        }
        self._before = self._record["seconds"]
        write_json(self.path, self._record)

    def progress(self, step: int, best_step: int | None, best_distance: float | None, seconds: float) -> None:
        """So far has it come; takes a millisecond.

        Args:
            step: how many are done.
            best_step: where the best measure was; None where nothing was measured.
            best_distance: the best measure.
            seconds: of training since `start`; those before a stop are added.
        """
        if best_distance is None or not math.isfinite(best_distance):  # JSON has no NaN
            best_step = best_distance = None
        self._told, total = time.monotonic(), round(self._before + seconds, 1)
        self._write(step=step, best_step=best_step, best_distance=best_distance, seconds=total)

    def end(self, state: State, step: int, message: str = "") -> None:
        """It is over.

        Args:
            state: "finished", "stopped" or "failed".
            step: how many are done.
            message: why, where it is not finished; its first line is kept, and no folders.
        """
        seconds = self._record["seconds"] + time.monotonic() - self._told
        self._write(state=state, step=step, message=self._clean(message), seconds=round(seconds, 1))

    def _write(self, **changes: Any) -> None:
        """Hours of training are worth more than a line about them, so a full disk is only warned of."""
        self._record |= {**changes, "updated": _now()}
        try:
            write_json(self.path, self._record)
        except OutputError as error:
            log.warning("%s", error)

    def _clean(self, message: str) -> str:
        line = next(iter(message.strip().splitlines()), "")
        for folder in (self.path.parent, self.path.parent.resolve()):
            line = line.replace(f"{folder}/", "")
        return re.sub(r"(?<![\w./:])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'\",;]+[/\\])+", "", line)[:LONGEST_MESSAGE]


def _read_before(path: Path) -> dict[str, Any]:
    """What is worth keeping of the record before a stop; nothing where it is missing or damaged."""
    try:
        found = read_json(path)
    except (OutputError, RecursionError):
        return {}
    kinds: dict[str, Any] = {
        "best_step": int, "best_distance": float, "started": str, "seconds": float, "resumed": int,
    }  # fmt: skip
    known = found if isinstance(found, dict) else {}
    return {name: known[name] for name, kind in kinds.items() if isinstance(known.get(name), kind)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _machine(device: str) -> dict[str, Any]:
    import os
    import platform

    import torch

    return {
        "cpu": _cpu() or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
    }


def _cpu() -> str:
    """The kind of processor as Linux calls it; elsewhere empty."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return found[1].strip() if found else ""
