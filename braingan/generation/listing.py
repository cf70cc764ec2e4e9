"""What runs a folder holds, and how they are doing."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from braingan.data.files import read_json
from braingan.data.walking import printable
from braingan.errors import OutputError
from braingan.generation.journal import JOURNAL, STATES
from braingan.generation.process import is_alive

T = TypeVar("T")

OLDER = ("model.safetensors", "config.json")  # of a finished run, from before there were journals
SILENT = timedelta(minutes=30)  # after which a run on another machine is taken for dead
DAMAGE = (OutputError, KeyError, TypeError, ValueError, OverflowError, OSError, RecursionError)


@dataclass(frozen=True)
class RunSummary:
    """A run as it is seen from outside.

    Attributes:
        folder: relative to the one that was searched, with forward slashes; "." for that one itself.
        backend: of its generator; empty where it is not known, as in a damaged run.
        state: "running", "finished", "stopped", "failed"; "interrupted" where its process is gone, or was not heard
            of for 30 minutes on another machine; "damaged" where `run.json` cannot be used.
        step: how many are done, as far as it was noted; None where it is not known.
        steps: when it is finished.
        best_step: where the best measure was; None where nothing was measured.
        best_distance: the best measure.
        updated: when it was last heard of, in UTC, as ISO 8601 has it; empty where it is not known.
        message: one line of why, where it failed, was stopped or is damaged.
    """

    folder: str
    backend: str
    state: str
    step: int | None = None
    steps: int | None = None
    best_step: int | None = None
    best_distance: float | None = None
    updated: str = ""
    message: str = ""


def list_runs(folder: Path) -> list[RunSummary]:
    """The runs in a folder and all below it, by name. Links to folders and hidden folders are left out.

    Raises:
        OutputError: it is no folder, or holds no run.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):  # and not Path.is_dir, which raises where a name is too long
        raise OutputError(f"{folder} is not a folder; give one that holds what `braingan train` made")
    found = [_summary(run, folder, read) for run, read in _runs_below(folder)]
    if not found:
        raise OutputError(f"{folder} holds no run; `braingan train DATA {folder}` makes one")
    return sorted(found, key=lambda run: run.folder)


def _runs_below(folder: Path) -> Iterator[tuple[Path, Callable[[Path], dict[str, Any]]]]:
    """Folders of runs, and how each is read."""
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        if JOURNAL in names:
            yield Path(place), _read_journal
        elif set(OLDER) <= set(names):
            yield Path(place), _read_older


def _summary(run: Path, folder: Path, read: Callable[[Path], dict[str, Any]]) -> RunSummary:
    name = printable(run.relative_to(folder).as_posix())
    try:
        return RunSummary(folder=name, **read(run))
    except DAMAGE as error:
        reason = error if isinstance(error, OutputError) else f"{JOURNAL} is not as braingan writes it: {error}"
        reason = str(reason).replace(f"{run}/", "")
        return RunSummary(folder=name, backend="", state="damaged", message=_line(reason))


def _read_journal(run: Path) -> dict[str, Any]:
    if not (run / JOURNAL).is_file():  # reading from a pipe would wait for ever
        raise OutputError(f"{JOURNAL} is no file")
    noted = _kind(read_json(run / JOURNAL), dict, "it")
    updated = datetime.fromisoformat(_kind(noted.get("updated"), str, "updated"))
    best = noted.get("best_distance")
    return {
        "backend": _line(_kind(_kind(noted.get("settings"), dict, "settings").get("backend", ""), str, "backend")),
        "state": _state(noted, updated),
        "step": _kind(noted.get("step"), int, "step"),
        "steps": _kind(noted.get("steps"), int, "steps"),
        "best_step": None if noted.get("best_step") is None else _kind(noted["best_step"], int, "best_step"),
        "best_distance": None if best is None or not math.isfinite(best) else float(best),
        "updated": updated.astimezone(UTC).isoformat(timespec="seconds"),
        "message": _line(_kind(noted.get("message", ""), str, "message")),
    }


def _state(noted: dict[str, Any], updated: datetime) -> str:
    state = _kind(noted.get("state"), str, "state")
    if state not in STATES:
        raise ValueError(f"state {state!r}")
    if state != "running":
        return state
    alive = is_alive(_kind(noted.get("process"), dict, "process"))
    if alive is None:
        alive = datetime.now(UTC) - updated.astimezone(UTC) < SILENT
    return "running" if alive else "interrupted"


def _read_older(run: Path) -> dict[str, Any]:
    """A run folder without a journal; its weights came last, so it is finished."""
    model, config = OLDER
    settings = _kind(_kind(read_json(run / config), dict, config).get("settings"), dict, "settings")
    steps = _kind(settings.get("steps"), int, "steps")
    updated = datetime.fromtimestamp((run / model).stat().st_mtime, UTC).isoformat(timespec="seconds")
    backend = _line(_kind(settings.get("backend"), str, "backend"))
    return {"backend": backend, "state": "finished", "step": steps, "steps": steps, "updated": updated}


def _kind(value: Any, kind: type[T], name: str) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} is {type(value).__name__} instead of {kind.__name__}")
    return value


def _line(text: str) -> str:
    return printable(" ".join(text.split()))[:300]
