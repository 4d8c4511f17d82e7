"""Runs inside an interpreter of the image's own minor version: source in, bytecode out.

Reads jobs from standard input and answers on standard output until the input ends. A job is a
number of files (uint32), then for each its installed path and its source, each as a length (uint32)
and bytes. The answer is, for each file, a length and the .pyc, or the length 0xFFFFFFFF if the file
does not compile. Numbers are big-endian. Standard library only, nothing newer than Python 3.8.

Every job runs in a child forked from this process, which itself never compiles anything: so the
output of a job depends on the job alone, not on what was compiled before it (marshal writes
references by how often an object is shared inside the process).

This folder holds nothing else, because it is the first entry of that interpreter's sys.path.
"""

from __future__ import annotations

import importlib._bootstrap_external as bootstrap
import os
import resource
import signal
import struct
import sys
import warnings
from importlib.util import source_hash
from typing import BinaryIO, List, Optional, Tuple

File = Tuple[str, bytes]

FAILED = 0xFFFFFFFF
MEMORY_BYTES = 4 << 30
PYC_LIMIT_BYTES = 1 << 20
PYC_LIMIT_RATIO = 16
"""Real bytecode is about as long as its source; a bomb ("'a' * 4096" a thousand times) is not."""

CPU_SECONDS = 300


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data


def read_number(stream: BinaryIO) -> int:
    return int(struct.unpack(">I", read_exactly(stream, 4))[0])


def read_block(stream: BinaryIO) -> bytes:
    return read_exactly(stream, read_number(stream))


def compile_file(path: str, source: bytes) -> Optional[bytes]:
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        pack = bootstrap._code_to_hash_pyc  # type: ignore[attr-defined]
        pyc = bytes(pack(code, source_hash(source), False))
        return pyc if len(pyc) <= PYC_LIMIT_BYTES + PYC_LIMIT_RATIO * len(source) else None
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


def frame(pyc: Optional[bytes]) -> bytes:
    return struct.pack(">I", FAILED) if pyc is None else struct.pack(">I", len(pyc)) + pyc


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def in_child(files: List[File]) -> Optional[bytes]:
    """The frames of the files, compiled in a forked child; None if the child died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            limit()
            with open(writing, "wb") as out:
                out.writelines(frame(compile_file(path, source)) for path, source in files)
        except BaseException:
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        frames = answer.read()
    _, status = os.waitpid(child, 0)
    return frames if status == 0 else None


def main() -> None:
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            count = read_number(stdin)
        except EOFError:
            return
        files = [(read_block(stdin).decode("utf-8"), read_block(stdin)) for _ in range(count)]
        frames = in_child(files)
        if frames is None:  # a source that crashes the compiler: find it, keep the others
            frames = b"".join(in_child([file]) or frame(None) for file in files)
        stdout.write(frames)
        stdout.flush()


if __name__ == "__main__":
    main()
