"""Real servers as child processes that never outlive the test run."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class MissingPartError(Exception):
    """This machine lacks a part of the rig; the text says which and how to get it."""


class NotStartedError(Exception):
    """A server that is installed didn't answer in time; the text ends with its log."""


def program(name: str, package: str, *, also: Sequence[str] = ()) -> str:
    """The path of a server's binary, looked up on PATH, the sbin folders and then `also`.

    Raises `MissingPartError`, naming the Debian package that has it.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *also])
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingPartError(f"{name} is not installed: `apt-get install {package}` brings it")
    return found


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago.

    From below the kernel's ephemeral range, so that nothing is handed it by chance before the
    server that it is meant for listens there.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def accepts(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def temp_dir(name: str) -> Iterator[Path]:
    """A temporary folder that is gone afterwards.

    Not pytest's own `tmp_path`: that path is too long for a unix socket, and other users, such as
    the one PostgreSQL insists on, may not enter it.
    """
    path = Path(tempfile.mkdtemp(prefix=f"kitbag-{name}-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Daemon:
    """A server process with a log, started until it answers and stopped whatever happens.

    The kernel ends it when the thread that started it dies, so that not even `kill -9` of the test
    run leaves a server behind; start it from the main thread.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        ready: Callable[[], bool],
        timeout_s: float = 30,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._argv = list(argv)
        self._log = log
        self._ready = ready
        self._timeout_s = timeout_s
        self._env = dict(env) if env is not None else None
        self._user = user
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Return once the server answers; `NotStartedError` if it dies first or is late."""
        if self.running:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_dies_with_parent(self._stop_signal, self._user), *self._argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            if not self.running:
                break
            if self._ready():
                return
            time.sleep(0.02)
        self.kill()
        raise NotStartedError(
            f"{self._argv[0]} didn't start; its log ends with:\n{self.log[-2000:]}"
        )

    def stop(self, *, timeout_s: float = 20) -> None:
        """Ask the server to end, and kill it when it doesn't."""
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self._process is None:
            return
        if self.running:
            self._process.kill()
        self._process.wait()


def children(pid: int) -> list[int]:
    """Every living descendant of a process."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            parents.setdefault(int(parent), []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _dies_with_parent(stop_signal: signal.Signals, user: str | None) -> list[str]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if user is not None:
            raise MissingPartError(
                "setpriv is not installed: `apt-get install util-linux` brings it"
            )
        return []
    prefix = [setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG")]
    if user is not None:
        prefix += [f"--reuid={user}", f"--regid={user}", "--init-groups"]
    return [*prefix, "--"]
