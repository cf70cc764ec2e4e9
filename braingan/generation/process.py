"""Which process writes to a run folder, and whether it still lives."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEAD = {"Z", "X", "x"}  # states of a process that has ended and was not yet collected


def own_process() -> dict[str, Any]:
    """This process, so that it is recognised on the same machine: a pid alone is soon given to another.

    Returns:
        `pid`; `started`, in ticks since the machine was; `machine`, which changes with every boot and names nobody.
        The latter two are None where the system does not tell.
    """
    return {"pid": os.getpid(), "started": _started(os.getpid()), "machine": _this_machine()}


def is_alive(process: Mapping[str, Any]) -> bool | None:
    """Whether the process of `own_process` lives; None where it cannot be known, as on another machine."""
    pid, started, machine = (process.get(key) for key in ("pid", "started", "machine"))
    if not isinstance(pid, int) or pid < 1 or machine != _this_machine() or sys.platform == "win32":
        return None  # on Windows os.kill would end it
    if machine is not None:
        return started is not None and _started(pid) == started
    try:
        os.kill(pid, 0)  # asks only
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> int | None:
    """When a process was started, by Linux; None for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # a name may hold blanks and )
        return None if fields[0].decode() in DEAD else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def _this_machine() -> str | None:
    """A name of this boot and of this container: pids of another mean something else."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return hashlib.sha256(f"{boot}{os.readlink('/proc/self/ns/pid')}".encode()).hexdigest()[:16]
    except (OSError, ValueError):
        return None
