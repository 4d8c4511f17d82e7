"""Memory of freed buffers stays with the process: the kernel need not clear it again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FREE_OFTEN = """
import resource, sys
from builder import memory
assert sys.argv[1] == "plain" or memory.keep_buffers()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(200):
    buffers = [bytearray(3 << 20), bytearray(3 << 20)]
    del buffers
print(faults() - before)
"""


def _faults(how: str) -> int:
    command = [sys.executable, "-c", _FREE_OFTEN, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_buffer_lies_where_the_one_before_it_was_freed() -> None:
    pages = 2 * (3 << 20) // 4096
    assert _faults("kept") < 10 * pages < 100 * pages < _faults("plain")
