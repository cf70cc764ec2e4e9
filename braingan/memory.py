"""What a process does with memory that it has no more use for."""

from __future__ import annotations

import ctypes

LARGEST = 2**30  # bytes: blocks above it are still mapped one by one
MOST = 2**25  # the same, where glibc is of before 2.36 or so and allows no more
# Parameters of glibc's mallopt(3).
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for what it allocates next; gives whether that can be had.

    A training step allocates and frees the same large blocks again and again. By default glibc gives them back to the
    system each time, which then hands out new pages, filled with zeros, one fault for each 4 KB: a twelfth of the
    time of a classifier's step was measured (`benchmarks/kept_memory.py`). The peak stays the same, but it is
    held until the process ends; so this is for processes that are braingan's own, never for a user's. Other
    allocators and systems are left as they are.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - only glibc has it
        mallopt = libc.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mapped = mallopt(MMAP_THRESHOLD, LARGEST) or mallopt(MMAP_THRESHOLD, MOST)
    return bool(mapped and mallopt(TRIM_THRESHOLD, 2**31 - 1) and mallopt(TOP_PAD, 2**26))
