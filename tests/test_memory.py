"""Processes of braingan keep the memory that they free: large blocks are not fetched anew in each training step."""

import subprocess
import sys

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("page faults are counted on Linux", allow_module_level=True)

FAULTS = """
import resource
import torch
from braingan.memory import keep_freed_memory
{first}
def step():
    return [torch.ones(20 * 2**18) for _ in range(6)][0].sum()  # 120 MB: more than glibc keeps by itself
for _ in range(10):  # until blocks lie where they fit
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(first: str) -> int:
    command = [sys.executable, "-c", FAULTS.format(first=first)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_large_blocks_that_were_freed_are_used_again() -> None:
    assert faults("keep_freed_memory()") < 100


def test_without_it_the_system_hands_out_every_page_anew_unless_a_process_is_lucky() -> None:
    """Should the allocator do better by itself one day, `keep_freed_memory` can go.

    In some processes a small block happens to lie on top of the large ones, so that glibc cannot give them back.
    """
    assert any(faults("") > 10_000 for _ in range(12))
