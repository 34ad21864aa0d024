"""Freed memory stays: the kernel's own count of page faults tells."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import ENVIRONMENT

FAULTS = """
import resource, sys, torch
torch.set_num_threads(1)
from asc_search.train.allocator import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
for _ in range(10):  # the heap grows to what is needed
    torch.zeros(2**24).add_(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.zeros(2**24).add_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, env=ENVIRONMENT, timeout=120
    )
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_block_freed_is_taken_again_without_the_kernel() -> None:
    assert faults("keep") < faults("default") / 100
