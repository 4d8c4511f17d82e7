"""Run an engine's client: its lines as they come, and its death whenever we die or lose patience.

What makes each build a process of its own: the client holds the connection that the engine works
for, and an engine ends a build whose client is gone. So the client must never outlive us.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from builder.errors import CancelledError, TimedOutError

MAX_LINE_BYTES = 16 << 10
"""Longer lines are given in pieces of this size."""
_READ_BYTES = 64 << 10
_TICK_S = 0.1
_GRACE_S = 1.0
_PROBE_S = 2.0
_PR_SET_PDEATHSIG = 1


class Clock:
    """How long a build may still take, and whether somebody wants it at all."""

    def __init__(self, timeout_s: float | None, cancelled: Callable[[], bool]) -> None:
        self._timeout_s = timeout_s
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._cancelled = cancelled

    def check(self) -> None:
        """Raise CancelledError or TimedOutError when it is over."""
        if self._cancelled():
            raise CancelledError("The build was cancelled.")
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise TimedOutError(
                f"The build took longer than its limit of {self._timeout_s:.0f} s; make its steps "
                "shorter, or ask the operator for more time."
            )


def run_lines(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    line: Callable[[str], None],
    clock: Clock,
    probe: Callable[[], None] = lambda: None,
) -> int:
    """Run to the end and return the exit status; `line` gets each line of both outputs.

    `probe` is called every two seconds and may raise, as `line` and the clock may: then the program
    and all that it started are ended first. The kernel kills it when the calling thread dies.
    """
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(env),
        cwd=cwd,
        start_new_session=True,
        preexec_fn=_die_with_parent(),  # calls nothing but prctl and getppid
    )
    assert child.stdout is not None
    try:
        with child.stdout as stream:
            _read(stream.fileno(), line, clock, probe)
        while child.poll() is None:
            clock.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_TICK_S)
    except BaseException:
        # A client that is asked to end tells its engine so; one that doesn't end is killed.
        _signal(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE_S)
        raise
    finally:
        _signal(child.pid, signal.SIGKILL)
        child.wait()
    return child.returncode


def _read(
    handle: int, line: Callable[[str], None], clock: Clock, probe: Callable[[], None]
) -> None:
    rest = b""
    next_probe = time.monotonic() + _PROBE_S
    with selectors.DefaultSelector() as selector:
        selector.register(handle, selectors.EVENT_READ)
        while True:
            clock.check()
            if time.monotonic() >= next_probe:
                probe()
                next_probe = time.monotonic() + _PROBE_S
            if not selector.select(_TICK_S):
                continue
            data = os.read(handle, _READ_BYTES)
            *whole, rest = (rest + data).split(b"\n")
            for each in whole:
                _give(each, line)
            while len(rest) > MAX_LINE_BYTES:
                _give(rest[:MAX_LINE_BYTES], line)
                rest = rest[MAX_LINE_BYTES:]
            if not data:
                break
    if rest:
        _give(rest, line)


def _give(raw: bytes, line: Callable[[str], None]) -> None:
    # What a terminal would show: a bar drawn over and over ends as its last state.
    text = raw.decode(errors="replace").rstrip("\r").rpartition("\r")[2]
    for start in range(0, max(len(text), 1), MAX_LINE_BYTES):
        line(text[start : start + MAX_LINE_BYTES])


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does first on Linux: ask for SIGKILL at its parent's death."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask
