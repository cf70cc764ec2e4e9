"""How many threads: work that is shared out in large pieces, a thread each, and processes that share cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """While the block runs, torch and NumPy use that many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def shared_out() -> Iterator[Executor]:
    """A pool with a thread for each core; while it is open, torch and NumPy use one thread in each.

    Small operations gain little from threads of their own, and lose much where other programs use the same cores:
    four times the time was measured.
    """
    with limited(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        yield pool
