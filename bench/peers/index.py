"""A package index on loopback: the same wheels for every side of a measurement, and no network.

    python bench/peers/index.py FOLDER [LINE_MB_S]

serves the wheels of a folder (PEP 691 pages, PEP 658 metadata) and prints the address; `fill` puts
them there. What a run measures is then the work, not the line to PyPI; or, with a speed, the work
beside a line that always has that one, shared by all downloads.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import uv

_JSON = "application/vnd.pypi.simple.v1+json"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_PIECE_BYTES = 1 << 20


def fill(folder: Path, requirements: Sequence[str]) -> None:
    """Fetch the wheels of exact requirements that the folder lacks, for this Python and machine."""
    folder.mkdir(parents=True, exist_ok=True)
    have = {
        path.name.lower().split("-")[0] + "==" + path.name.split("-")[1] for path in _wheels(folder)
    }
    lacking = [line for line in requirements if line.lower().replace("-", "_") not in have]
    if lacking:
        subprocess.run(
            [uv.find_uv_bin(), "tool", "run", "--python", sys.executable, "pip", "download",
             "--quiet", "--no-cache-dir", "--no-deps", "--only-binary=:all:",
             "--dest", str(folder), *lacking],
            check=True,
        )  # fmt: skip


@contextmanager
def local_index(folder: Path, line_mb_s: int | None = None) -> Iterator[str]:
    """The address of an index of the folder's wheels, served by a process of its own."""
    command = [sys.executable, __file__, str(folder), *([str(line_mb_s)] if line_mb_s else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _wheels(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.whl"))


class _Line:
    """A line of a speed in bytes a second; whoever sends over it waits for those before."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._free_at = 0.0
        self._lock = threading.Lock()

    def send(self, size_bytes: int) -> None:
        """Return when so many bytes would have gone over it."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + size_bytes / self._speed
            left = self._free_at - time.monotonic()
        time.sleep(max(0.0, left))


class _Index(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pages: dict[str, bytes]
    folder: Path
    line: _Line

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].strip("/")
        if name.startswith("simple/") and (page := self.pages.get(name.removeprefix("simple/"))):
            return self._bytes(page, _JSON)
        wheel = self.folder / Path(name.removesuffix(".metadata")).name
        if not (name.startswith("files/") and wheel.suffix == ".whl" and wheel.is_file()):
            return self.send_error(HTTPStatus.NOT_FOUND)
        if name.endswith(".metadata"):
            return self._bytes(_metadata(wheel), "text/plain")
        return self._file(wheel)

    def _bytes(self, data: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def _file(self, path: Path) -> None:
        """The file or the part asked for, sent by the kernel."""
        size = path.stat().st_size
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1, size) if asked and asked[2] else size
        self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "GET":
            with path.open("rb") as file:
                for at in range(start, end, _PIECE_BYTES):
                    size = min(_PIECE_BYTES, end - at)
                    self.line.send(size)
                    self.connection.sendfile(file, at, size)

    def log_message(self, *_: object) -> None:
        """Nothing: a run asks for hundreds of files."""


def _metadata(path: Path) -> bytes:
    with zipfile.ZipFile(path) as wheel:
        return wheel.read(_metadata_name(wheel))


def _metadata_name(wheel: zipfile.ZipFile) -> str:
    pattern = re.compile(r"[^/]+\.dist-info/METADATA")
    return next(name for name in wheel.namelist() if pattern.fullmatch(name))


def _pages(folder: Path) -> dict[str, bytes]:
    files = defaultdict(list)
    for path in _wheels(folder):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        name = re.sub(r"[-_.]+", "-", path.name.partition("-")[0]).lower()
        files[name].append(
            {
                "filename": path.name,
                "url": f"../../files/{path.name}",
                "hashes": {"sha256": sha256},
                "size": path.stat().st_size,
                "core-metadata": {"sha256": hashlib.sha256(_metadata(path)).hexdigest()},
            }
        )
    return {
        name: json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": found}).encode()
        for name, found in files.items()
    }


def main() -> None:
    folder = Path(sys.argv[1])
    line = _Line(int(sys.argv[2]) * 1e6 if len(sys.argv) > 2 else float("inf"))
    handler = type("Index", (_Index,), {"pages": _pages(folder), "folder": folder, "line": line})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}/simple", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
