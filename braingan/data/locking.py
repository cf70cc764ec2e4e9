"""Locks that the system lets go of when the process dies, however it dies."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from braingan.errors import OutputError

NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP}


class TakenError(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock of that name.

    Args:
        path: of the lock's file, which stays; its folder is made where it does not exist.
        wait: whether to wait for another process that holds it.

    Raises:
        TakenError: another process holds it, and `wait` is False.
        OutputError: the file system of the folder has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise TakenError(path.name) from None
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", errno.ENOSYS) not in NO_LOCKS:
            raise
        raise OutputError(f"{path} cannot be locked ({error}); give a folder on a file system with locks") from error
    try:
        yield
    finally:
        lock.release()
