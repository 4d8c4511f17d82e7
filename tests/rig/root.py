"""File systems to run in a container: a tiny one, and a Debian with Python."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rig.process import program

_DEBIAN_INCLUDE = "ca-certificates,python3,python3-venv"


def tiny_root(folder: Path, programs: Sequence[str] = ("sh", "cat", "id")) -> Path:
    """Fill `folder` with these programs and the libraries that they need, about 2 MB.

    Enough for an image that Docker and containerd run, in no time and with no network.
    """
    wanted = [Path(program(name, "dash coreutils libc-bin")) for name in programs]
    for binary in wanted:
        target = folder / "bin" / binary.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(binary, target)
        for library in _libraries(binary):
            to = folder / library.relative_to("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, to)
    (folder / "etc").mkdir(exist_ok=True)
    (folder / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\njovyan:x:1000:100::/:/bin/sh\n")
    (folder / "etc/group").write_text("root:x:0:\nusers:x:100:\n")
    (folder / "tmp").mkdir(exist_ok=True)
    return folder


def debian_root(cache: Path) -> Path:
    """The tar of a minimal Debian 12 with Python 3.11, made once into `cache` (about a minute).

    What stands in for `python:3.11-slim` where no registry can be reached.
    """
    return _debian(cache / "debian-bookworm-python.tar", _DEBIAN_INCLUDE)


def bare_root(cache: Path) -> Path:
    """The tar of a minimal Debian 12 without Python, made once into `cache` (half a minute).

    What stands in for NVIDIA's CUDA images, which have none either.
    """
    return _debian(cache / "debian-bookworm-bare.tar", "bash")


def _debian(tar: Path, include: str) -> Path:
    mmdebstrap = program("mmdebstrap", "mmdebstrap")
    cache = tar.parent
    if not tar.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # A name of its own: two runs may both find it missing.
        half = cache / f"{secrets.token_hex(4)}.tar"
        subprocess.run(
            [
                *(mmdebstrap, "--quiet", "--variant=minbase", f"--include={include}"),
                *("--dpkgopt=path-exclude=/usr/share/doc/*", "bookworm", str(half)),
            ],
            check=True,
            stdin=subprocess.DEVNULL,
        )
        half.rename(tar)
    return tar


def tar_of(folder: Path, tar: Path) -> Path:
    """Write a tar of what is in `folder`, owned by root; returns its path."""
    argv = ["tar", "-C", str(folder), "--owner=0", "--group=0", "-cf", str(tar), "."]
    subprocess.run(argv, check=True)
    return tar


def _libraries(binary: Path) -> list[Path]:
    listed = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=True)
    # "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)" and "/lib64/ld-linux-x86-64.so.2 (0x…)"
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", listed.stdout)]
