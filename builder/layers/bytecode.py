"""Compiles a wheel's modules for the image's Python, the same bytes whoever compiles them.

The .pyc files are unchecked-hash ones (PEP 552), so they hold no time and need no look at the
source. The compiler is an interpreter of the image's minor version on this machine; the code of the
wheel is compiled and never run.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import uv

from builder.cores import cores
from builder.errors import BuildError
from builder.layers.ahead import Ahead

SOURCE_LIMIT_BYTES = 8 << 20
"""Larger sources are generated tables; compiling them takes gigabytes, so they stay uncompiled."""

BATCH_FILES = 64
BATCH_BYTES = 4 << 20
AHEAD_BYTES = 64 << 20
"""Sources of all wheels that are compiled, or wait with their bytecode to be written."""

_FAILED = 0xFFFFFFFF
_SCRIPT = Path(__file__).parent / "inside" / "compiler.py"


class CompilerDiedError(BuildError):
    """The interpreter that compiles for an image was killed, twice."""

    transient = True


@dataclass(frozen=True, slots=True)
class Source:
    """A module as installed: the absolute path inside the image, and its text."""

    path: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python on this machine; `version` such as 3.11.7, `tag` such as cpython-311."""

    executable: str
    version: str
    tag: str


@lru_cache(maxsize=16)
def find_interpreter(version: str) -> Interpreter | None:
    """A CPython on this machine that compiles for images with that version, such as 3.11.2.

    The same version if there is one, since two patch releases may compile a module to other bytes
    (3.11.2 and 3.11.7 do); else the newest of the same minor version, or None. What was found is
    part of the layer key and of the image's labels. Nothing is downloaded.
    """
    minor = ".".join(version.split(".")[:2])
    best: Interpreter | None = None
    for executable in _candidates(minor):
        found = _probe(executable, minor)
        if found is not None and found.version == version:
            return found
        if found is not None and (best is None or _patch(found.version) > _patch(best.version)):
            best = found
    return best


def _candidates(minor: str) -> Iterator[str]:
    """Where interpreters usually are, those that cost no look-up first."""
    if "{}.{}".format(*sys.version_info[:2]) == minor:
        yield sys.executable
    yield from (f"{folder}/python{minor}" for folder in ("/usr/bin", "/usr/local/bin"))
    # pyenv's shims answer only for the version that is chosen, and then uv gives up.
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from (str(path) for path in sorted(versions.glob(f"{minor}.*/bin/python{minor}")))
    command = [uv.find_uv_bin(), "python", "find", "--no-python-downloads", "--no-project"]
    if found := _output(command, minor):
        yield found.strip()


def _patch(version: str) -> int:
    return int(version.rpartition(".")[2])


def _probe(executable: str, minor: str) -> Interpreter | None:
    probe = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.implementation.cache_tag)"
    answer = _output([executable, "-I", "-S", "-c"], probe).split()
    if len(answer) != 2 or not answer[0].startswith(f"{minor}.") or "cpython" not in answer[1]:
        return None
    return Interpreter(executable, answer[0], answer[1])


def _output(command: list[str], argument: str) -> str:
    """What a command prints, or nothing if it fails."""
    try:
        done = subprocess.run(
            [*command, argument], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


class Compiler:
    """Up to `processes` compiling processes of one interpreter, started when first needed.

    Safe to use from several threads; `close` ends the processes. Use as a context manager.
    """

    def __init__(self, interpreter: Interpreter, processes: int | None = None) -> None:
        self.interpreter = interpreter
        self.processes = processes or cores()
        self.ahead = Ahead(AHEAD_BYTES)
        self._slots = threading.BoundedSemaphore(self.processes)
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the idle processes; busy ones end when their job does."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            _end(process)

    def compile(self, batch: Sequence[Source]) -> list[bytes | None]:
        """The .pyc of each source, or None for one that does not compile; in the order given."""
        for last in (False, True):  # a process may have been killed since it was last used
            try:
                with self._process() as process:
                    return _exchange(process, batch)
            except (OSError, EOFError, ValueError) as error:
                if last:
                    raise CompilerDiedError(
                        f"The Python {self.interpreter.version} that compiles modules ended early; "
                        "the worker may lack memory: try again later."
                    ) from error
        raise AssertionError

    @contextmanager
    def _process(self) -> Iterator[subprocess.Popen[bytes]]:
        with self._slots:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None:
                process = self._start()
            try:
                yield process
            except BaseException:
                _end(process)
                raise
            with self._lock:
                self._idle.append(process)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.interpreter.executable, "-s", "-S", "-B", "-X", "utf8", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PYTHONHASHSEED": "0"},  # sets of constants are written in hash order before 3.11
        )


def batches(sources: Iterator[Source]) -> Iterator[list[Source]]:
    """Sources in batches whose borders depend on the sources alone."""
    batch: list[Source] = []
    size = 0
    for source in sources:
        if batch and (len(batch) == BATCH_FILES or size + len(source.text) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(source)
        size += len(source.text)
    if batch:
        yield batch


class Compiled:
    """The .pyc path (relative to the root) and bytes of each source that compiles, in order.

    Work goes on in `executor` from the start, a few batches ahead of what is asked for, so that
    neither the sources nor the results of a large wheel are all in memory. What all wheels of a
    compiler have ahead is limited too; beyond that each has one batch, so that it goes on. Use as a
    context manager.
    """

    def __init__(self, sources: Iterator[Source], compiler: Compiler, executor: Executor) -> None:
        self._waiting = batches(sources)
        self._compiler = compiler
        self._executor = executor
        self._ahead: deque[tuple[list[Source], Future[list[bytes | None]]]] = deque()
        for _ in range(compiler.processes + 1):
            self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give back what was begun and not asked for."""
        while self._ahead:
            batch, future = self._ahead.popleft()
            future.cancel()
            self._compiler.ahead.add(-_size(batch))

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        while self._ahead:
            batch, future = self._ahead[0]
            answers = future.result()
            self._ahead.popleft()
            self._compiler.ahead.add(-_size(batch))
            while len(self._ahead) <= self._compiler.processes and self._begin():
                pass
            for source, pyc in zip(batch, answers, strict=True):
                if pyc is not None:
                    yield cache_path(source.path, self._compiler.interpreter.tag), pyc

    def _begin(self) -> bool:
        """Whether one more batch was begun."""
        if self._ahead and self._compiler.ahead.full:
            return False
        batch = next(self._waiting, None)
        if batch is None:
            return False
        self._compiler.ahead.add(_size(batch))
        self._ahead.append((batch, self._executor.submit(self._compiler.compile, batch)))
        return True


def _size(batch: Sequence[Source]) -> int:
    return sum(len(source.text) for source in batch)


def cache_path(path: str, tag: str) -> str:
    """Where a module's .pyc goes: `a/__pycache__/b.cpython-311.pyc` for `a/b.py` (PEP 3147)."""
    folder, _, name = path.rpartition("/")
    stem = name.removesuffix(".py")
    return f"{folder}/__pycache__/{stem}.{tag}.pyc".removeprefix("/")


def _request(batch: Sequence[Source]) -> bytes:
    parts = [struct.pack(">I", len(batch))]
    for source in batch:
        for block in (source.path.encode(), source.text):
            parts += [struct.pack(">I", len(block)), block]
    return b"".join(parts)


def _exchange(process: subprocess.Popen[bytes], batch: Sequence[Source]) -> list[bytes | None]:
    assert process.stdin is not None
    process.stdin.write(_request(batch))
    process.stdin.flush()
    return [_answer(process) for _ in batch]


def _answer(process: subprocess.Popen[bytes]) -> bytes | None:
    size = struct.unpack(">I", _read(process, 4))[0]
    return None if size == _FAILED else _read(process, size)


def _read(process: subprocess.Popen[bytes], size: int) -> bytes:
    assert process.stdout is not None
    data = process.stdout.read(size)
    if len(data) != size:
        raise EOFError
    return data


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with suppress(OSError, ValueError):  # what was not sent yet can't be
        process.communicate()
    process.wait()
