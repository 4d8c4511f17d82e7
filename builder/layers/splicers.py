"""Splices wheels in processes of their own, one for each core.

A wheel of thousands of small files is thousands of short calls into C, each of which gives up the
interpreter's lock and takes it again; threads would spend a good part of their time handing it to
each other, and more than three or four cores would never be used. A process reads a job a line and
answers a line, and ends with its standard input, so with whoever started it:

    python -m builder.layers.splicers
"""

from __future__ import annotations

import gc
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

from builder import memory
from builder.errors import BadWheelError, BuildError
from builder.layers import install, splice, wheel
from builder.layers.archive import Written

WORTH_BYTES = 32 << 20
"""Wheels of a build from which on processes are worth their start, some 70 ms of a core each."""

_POLL_S = 0.1
_ROOT = Path(__file__).resolve().parents[2]


class SplicerDiedError(BuildError):
    """The process that puts a layer together was killed, twice."""

    transient = True


class Splicers:
    """Splicing processes, as many as are asked at once; safe for threads, use as a context manager.

    Nothing is started before the first wheel comes.
    """

    def __init__(self, prefix: install.Prefix) -> None:
        self._prefix = prefix
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the idle processes; busy ones end when their job does."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for process in idle:
            _end(process)

    def write_wheel(
        self, out: BinaryIO, path: Path, check: Callable[[], None] = lambda: None
    ) -> Written:
        """What splice.write_wheel does for a wheel without bytecode, `out` being an empty file.

        `check` is called while the process works and may raise, which ends the process. Raises
        BadWheelError, SplicerDiedError, and OSError as the process met it.
        """
        job = {"wheel": str(path.absolute()), "out": out.name, "prefix": asdict(self._prefix)}
        for last in (False, True):
            try:
                with self._process() as process:
                    answer = _exchange(process, job, check)
                break
            except (EOFError, BrokenPipeError) as error:
                if last:
                    raise SplicerDiedError(
                        f"The process that unpacks {path.name} ended early; the worker may lack "
                        "memory: try again later."
                    ) from error
        if "bad_wheel" in answer:
            raise BadWheelError(answer["bad_wheel"])
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]), str(path))
        lists = {name: tuple(answer[name]) for name in ("files", "folders")}
        return Written(**answer | lists)

    @contextmanager
    def _process(self) -> Iterator[subprocess.Popen[bytes]]:
        with self._lock:
            process = self._idle.pop() if self._idle else None
        if process is None:
            process = _start()
        try:
            yield process
        except BaseException:
            _end(process)
            raise
        with self._lock:
            if not self._closed:
                self._idle.append(process)
                return
        _end(process)


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-X", "utf8", "-m", "builder.layers.splicers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(_ROOT)},
    )


def _exchange(
    process: subprocess.Popen[bytes], job: dict[str, object], check: Callable[[], None]
) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(job).encode() + b"\n")
    process.stdin.flush()
    while not select.select([process.stdout], [], [], _POLL_S)[0]:
        check()
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with suppress(OSError, ValueError):  # what was not sent yet can't be
        process.communicate()
    process.wait()


def serve(jobs: IO[bytes], answers: IO[bytes]) -> None:
    """Do the jobs until there are no more."""
    for line in jobs:
        answers.write(json.dumps(_done(json.loads(line))).encode() + b"\n")
        answers.flush()


def _done(job: dict[str, Any]) -> dict[str, Any]:
    prefix = install.Prefix(**job["prefix"])
    try:
        source = wheel.read(Path(job["wheel"]))
        with Path(job["out"]).open("wb") as out:
            written = splice.write_wheel(out, source, prefix)
    except BadWheelError as error:
        return {"bad_wheel": str(error)}
    except OSError as error:
        if error.errno is None:
            raise
        return {"errno": error.errno}
    return asdict(written)


if __name__ == "__main__":
    memory.keep_buffers()
    gc.disable()  # no cycles worth a search come up, and the process lives for one build
    serve(sys.stdin.buffer, sys.stdout.buffer)
