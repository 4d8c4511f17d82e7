"""Programs that the Go toolchain builds from a pinned module, once for each change of it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from rig.process import MissingPartError

_GO = "https://go.dev/dl has Go: unpack 1.26 or later to /usr/local/go"


def built(
    name: str,
    *,
    module: Path,
    package: str,
    cache: Path,
    sources: Iterable[Path],
    ldflags: Sequence[str] = (),
    timeout_s: float = 900,
) -> Path:
    """The program `package`, built in the folder `module` unless `cache` has it already.

    `sources` are the files, the two of the module included, that make it another program.
    """
    digest = hashlib.sha256(repr((package, ldflags)).encode())
    for source in sorted(sources):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    binary = cache / f"{name}-{digest.hexdigest()[:16]}"
    if binary.exists():
        return binary
    cache.mkdir(parents=True, exist_ok=True)
    half = cache / f"{secrets.token_hex(4)}.half"  # two runs may both find it missing
    flags = " ".join(("-s", "-w", *ldflags))
    done = subprocess.run(
        [
            *(_go(), "build", "-mod=readonly", "-trimpath", f"-ldflags={flags}"),
            *("-o", half, package),
        ],
        cwd=module,
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{module} can't be built:\n{done.stderr[-3000:]}")
    half.rename(binary)
    return binary


def downloaded(module: str, checksum: str) -> Path:
    """The folder of `PATH@VERSION` in Go's module cache, fetched unless it is there.

    `checksum` is the module's own, as in go.sum.
    """
    done = subprocess.run(
        [_go(), "mod", "download", "-json", module],
        cwd="/",  # no module's own requirements
        env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{module} can't be fetched:\n{done.stdout}{done.stderr}"
    told = json.loads(done.stdout)
    assert told["Sum"] == checksum, f"{module} is not what it was: {told['Sum']}"
    return Path(told["Dir"])


def _go() -> str:
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/go/bin"):
        if folder and os.access(found := Path(folder) / "go", os.X_OK):
            return str(found)
    raise MissingPartError(f"go is not installed: {_GO}")
