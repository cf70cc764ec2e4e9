"""Runs as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from braingan.generation.listing import RunSummary
from braingan.progress import readable_seconds

HEAD = ("state", "step", "best", "last heard of", "folder")


def runs_text(found: Sequence[RunSummary], now: datetime | None = None) -> str:
    """One line for each run, and another one under it where there is something to say.

    Args:
        found: the runs.
        now: from which ages count; the present where it is not given.
    """
    now = now or datetime.now(UTC)
    rows = [HEAD, *((run.state, _steps(run), _best(run), _age(run, now), run.folder) for run in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD) - 1)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
             for row in rows]  # fmt: skip
    told = [[line, f"    {run.message}"] if run.message else [line] for line, run in zip(lines[1:], found, strict=True)]
    return "\n".join([lines[0], *(line for entry in told for line in entry)])


def _steps(run: RunSummary) -> str:
    return "-" if run.step is None else f"{run.step}/{run.steps}"


def _best(run: RunSummary) -> str:
    return "-" if run.best_distance is None else f"{run.best_distance:.4g} at {run.best_step}"


def _age(run: RunSummary, now: datetime) -> str:
    """How long ago; a clock that is ahead counts as now."""
    if not run.updated:
        return "-"
    seconds = max(0.0, (now - datetime.fromisoformat(run.updated)).total_seconds())
    return f"{seconds / 86400:.0f} days ago" if seconds > 2 * 86400 else f"{readable_seconds(seconds)} ago"
