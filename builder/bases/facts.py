"""What an image is, read off its few telling files: its Python, its C library, its CUDA.

The version of an interpreter is the string that it answers `sys.version` with, compiled into the
program or its libpython by every CPython build, whoever made it and stripped or not; the header
`patchlevel.h` and the PYTHON_VERSION of the official images are asked where it isn't found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import IO

from builder.bases.tree import Path, Tree
from builder.errors import TooLargeError
from builder.model import Platform, PythonInfo

_TEXTS = frozenset({("etc", "passwd"), ("etc", "group"), ("etc", "os-release")}) | {
    ("usr", "lib", "os-release")
}
_TEXT_LIMIT_BYTES = 1 << 20
_FILE_LIMIT_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 20
_OVERLAP_BYTES = 256

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TRIPLES = {
    "amd64": "x86_64-linux-gnu",
    "arm64": "aarch64-linux-gnu",
    "ppc64le": "powerpc64le-linux-gnu",
    "s390x": "s390x-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
}

_PYTHON = re.compile(r"python3\.(\d{1,3})")
_GLIBC = re.compile(
    rb"GNU C Library \([^)\0\n]{0,100}\) (?:stable|development) release version (\d+\.\d+)"
)
_COMPILED_IN = re.compile(rb"(?<![\d.])(3\.\d{1,3}\.\d{1,3}(?:(?:a|b|rc)\d{1,2})?)\+?\0")
_DEFINED = re.compile(rb'#define\s+PY_VERSION\s+"(3\.\d{1,3}\.\d{1,3}(?:(?:a|b|rc)\d{1,2})?)\+?"')
_CUDA_FILE = re.compile(rb'"cuda"\s*:\s*\{[^}]{0,200}"version"\s*:\s*"(\d+\.\d+(?:\.\d+)?)"')
_CUDA = re.compile(r"(\d{1,2}\.\d{1,2}(?:\.\d{1,3})?)")

_KEPT: tuple[tuple[re.Pattern[str], re.Pattern[bytes]], ...] = (
    (re.compile(r"python3\.\d{1,3}"), _COMPILED_IN),
    (re.compile(r"libpython3\.\d{1,3}\.so(?:\.1\.0)?"), _COMPILED_IN),
    (re.compile(r"patchlevel\.h"), _DEFINED),
    (re.compile(r"libc\.so\.6|libc-2\.\d{1,3}\.so"), _GLIBC),
    (re.compile(r"ld-musl-.{1,40}\.so\.1"), re.compile(rb"(?!)")),
)
_CUDA_NAME = re.compile(r"cuda(?:-[\d.]{1,10})?")


class Telling:
    """The files that tell: whole texts of /etc, and from programs and headers the version only."""

    def wants(self, path: Path) -> bool:
        return path in _TEXTS or self._pattern(path) is not None

    def keep(self, path: Path, content: IO[bytes]) -> bytes:
        if path in _TEXTS:
            text = content.read(_TEXT_LIMIT_BYTES + 1)
            if len(text) > _TEXT_LIMIT_BYTES:
                raise TooLargeError(
                    f"/{'/'.join(path)} of the image is larger than 1 MiB; name another image."
                )
            return text
        pattern = self._pattern(path)
        return _search(content, pattern) if pattern else b""

    def _pattern(self, path: Path) -> re.Pattern[bytes] | None:
        name = path[-1]
        if name == "version.json":
            is_cuda = path[:2] == ("usr", "local") and _CUDA_NAME.fullmatch(path[-2])
            return _CUDA_FILE if is_cuda else None
        return next((kept for names, kept in _KEPT if names.fullmatch(name)), None)


def python(tree: Tree, env: Sequence[str]) -> PythonInfo | None:
    """The interpreter that `python3` starts, or else the newest python3.X on PATH, if any.

    The path is the program itself, links resolved, so that an environment's `home` can name it.
    """
    variables = dict(entry.split("=", 1) for entry in env if "=" in entry)
    for folder in variables.get("PATH", _DEFAULT_PATH).split(":"):
        parts = [part for part in folder.split("/") if part]
        minors = (m for name in tree.names(*parts) if (m := _PYTHON.fullmatch(name)))
        newest_first = sorted(minors, key=lambda m: int(m[1]), reverse=True)
        for name in ("python3", *(m[0] for m in newest_first)):
            found = tree.find(*parts, name)
            minor = _PYTHON.fullmatch(found[0][-1]) if found else None
            if found and minor:
                version = _version(tree, found[0], minor[0], variables)
                if version:
                    return PythonInfo(version, "/" + "/".join(found[0]))
    return None


def glibc(tree: Tree, platform: Platform) -> tuple[int, int] | None:
    """The version of the GNU C library, or None if the image has none."""
    for folder in _library_folders(platform):
        version = tree.read(*folder, "libc.so.6")
        if version:
            major, minor = version.split(b".")
            return int(major), int(minor)
    return None


def has_musl(tree: Tree) -> bool:
    """Whether musl is the image's C library, as in Alpine Linux."""
    return any(name.startswith("ld-musl-") for name in tree.names("lib"))


def cuda(tree: Tree, env: Sequence[str], labels: Mapping[str, str]) -> str | None:
    """The CUDA toolkit's version, such as 12.6.3: by NVIDIA's variable, label, file, or demand."""
    variables = dict(entry.split("=", 1) for entry in env if "=" in entry)
    file = tree.read("usr", "local", "cuda", "version.json") or b""
    said = (
        variables.get("CUDA_VERSION", ""),
        labels.get("com.nvidia.cuda.version", ""),
        file.decode("ascii"),
        variables.get("NVIDIA_REQUIRE_CUDA", "").removeprefix("cuda>="),
    )
    return next((match[1] for text in said if (match := _CUDA.match(text))), None)


def text(tree: Tree, *path: str) -> str:
    """A text file of the image, or "" if it has none."""
    return (tree.read(*path) or b"").decode("utf-8", "replace")


def distribution(tree: Tree) -> str:
    """How the image calls its distribution, for messages; such as Alpine Linux v3.20."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]{1,80})', os_release(tree), re.MULTILINE)
    return found[1] if found else "an unnamed system"


def os_release(tree: Tree) -> str:
    """The text of /etc/os-release, mostly a link into /usr/lib; empty if there is none."""
    return text(tree, "etc", "os-release")


def _version(tree: Tree, program: Path, name: str, variables: Mapping[str, str]) -> str | None:
    prefix = program[:-2]
    libraries = [(*prefix, "lib"), (*prefix, "lib64"), ("usr", "lib"), ("usr", "lib64")]
    triples = [("usr", "lib", triple) for triple in _TRIPLES.values()]
    candidates = [
        program,
        *((*folder, f"lib{name}.so.1.0") for folder in libraries + triples),
        (*prefix, "include", name, "patchlevel.h"),
    ]
    said = [(tree.read(*path) or b"").decode("ascii") for path in candidates]
    if prefix == ("usr", "local"):
        said.append(variables.get("PYTHON_VERSION", ""))
    minor = name.removeprefix("python")
    return next((version for version in said if version.startswith(f"{minor}.")), None)


def _library_folders(platform: Platform) -> list[Path]:
    triple = _TRIPLES.get(platform.arch, "")
    return [
        *((*top, "lib", triple) for top in ((), ("usr",)) if triple),
        *((*top, name) for name in ("lib64", "lib") for top in ((), ("usr",))),
    ]


def _search(content: IO[bytes], pattern: re.Pattern[bytes]) -> bytes:
    """The first group of the pattern's first match, or nothing; in bounded memory."""
    window = b""
    seen = 0
    while seen < _FILE_LIMIT_BYTES and (chunk := content.read(_CHUNK_BYTES)):
        seen += len(chunk)
        window = window[-_OVERLAP_BYTES:] + chunk
        if match := pattern.search(window):
            return match[1]
    return b""
