"""Which process works on a build, told so that others on its machine can see when it is dead."""

from __future__ import annotations

import os
import re
import socket
from functools import lru_cache
from pathlib import Path

_TOLD = re.compile(r"\S+:(?P<pid>\d+) (?P<start>\d+)@(?P<place>\S+)")
_GONE = ("Z", "X")


def me() -> str:
    """This process as `HOST:PID START@PLACE`, or `HOST:PID` where there is no /proc.

    START is the process's start in clock ticks since boot, which a later process of the same
    number does not share; PLACE is the boot and the PID namespace in which PID means anything.
    """
    who = f"{socket.gethostname()}:{os.getpid()}"
    start, place = _start(os.getpid()), _place()
    return f"{who} {start}@{place}" if start and place else who


def is_dead(told: str | None) -> bool:
    """Whether that process is surely dead; False where this process can't see it."""
    known = _TOLD.fullmatch(told or "")
    if known is None or known["place"] != _place():
        return False
    return _start(int(known["pid"])) != known["start"]


def _start(pid: int) -> str | None:
    """When the process began, or None if it has ended (proc_pid_stat(5), fields 3 and 22)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in _GONE else fields[19]


@lru_cache(maxsize=1)
def _place() -> str | None:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None
