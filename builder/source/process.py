"""Run a program under a time limit, a size limit and somebody's finger on the cancel button."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import CancelledError, TimedOutError

MAX_OUTPUT_BYTES = 64 << 20
_TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program left: exit status and its two outputs."""

    status: int
    out: bytes
    err: str


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    deadline: float,
    cancelled: Callable[[], bool],
    probe: Callable[[], None] = lambda: None,
    max_file_bytes: int | None = None,
) -> Ran:
    """Run to the end, or kill the program and all it started.

    `deadline` is on the monotonic clock. `probe` is called about twice a second and may raise to
    stop the program. Output over 64 MiB is cut. Raises CancelledError and TimedOutError.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=dict(env), cwd=cwd,
            start_new_session=True,
        )  # fmt: skip
        try:
            if max_file_bytes is not None:
                # The child may be gone already; then there is nothing left to limit.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    limits = (max_file_bytes, max_file_bytes)
                    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, limits)
            _watch(child, deadline, cancelled, probe)
        finally:
            # What the program left running in its session ends with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        out.seek(0)
        err.seek(0)
        return Ran(
            child.returncode,
            out.read(MAX_OUTPUT_BYTES),
            err.read(MAX_OUTPUT_BYTES).decode(errors="replace"),
        )


def _watch(
    child: subprocess.Popen[bytes],
    deadline: float,
    cancelled: Callable[[], bool],
    probe: Callable[[], None],
) -> None:
    next_probe = time.monotonic() + 0.5
    while True:
        now = time.monotonic()
        if now >= deadline:
            raise TimedOutError(
                "A step took longer than its time limit; try again, or ask for less."
            )
        if cancelled():
            raise CancelledError("The build was cancelled.")
        if now >= next_probe:
            probe()
            next_probe = now + 0.5
        if _ended(child, min(_TICK_S, deadline - now)):
            return


def _ended(child: subprocess.Popen[bytes], wait_s: float) -> bool:
    """Whether the program has ended, after waiting for that for `wait_s` at most.

    It is not reaped yet, so that its process group can still be killed by number.
    """
    try:
        handle = os.pidfd_open(child.pid)
    except OSError:
        # A kernel without pidfd_open is asked more often instead.
        time.sleep(wait_s / 10)
    else:
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.poll(wait_s * 1000)
        finally:
            os.close(handle)
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
