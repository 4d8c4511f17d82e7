"""How many things a build does at once: one for each processor that it may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

MOST = 64
"""More threads than these only wait for each other, and each may hold some megabytes."""

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores(quota: Path = _QUOTA) -> int:
    """1 to MOST: the processors left by affinity (`taskset`) and by a container's limit.

    The limit is the cgroup's (cpu.max, cgroup v2): a pod with 2 CPUs on a node of 96 sees all 96.
    """
    allowed = len(os.sched_getaffinity(0))
    try:
        most_us, _, period_us = quota.read_text().partition(" ")
        allowed = min(allowed, math.ceil(int(most_us) / int(period_us)))
    except (OSError, ValueError):  # no cgroup v2, or "max": no limit
        pass
    return max(1, min(allowed, MOST))
