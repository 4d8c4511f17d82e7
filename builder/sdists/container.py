"""Build one source distribution to a wheel in a container that has no network.

The build backend and what it needs come from the index as wheels, fetched by the worker and laid
into the context; pip inside sees only that folder. What a backend asks for while it runs (PEP 517,
`get_requires_for_build_wheel`) is read off pip's complaint, fetched, and the build tried again.
"""

from __future__ import annotations

import json
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from builder.engines.protocol import OUT, Job, Limits
from builder.errors import InvalidSpecError
from builder.model import Base

DEFAULT_REQUIRES = ("setuptools>=40.8.0", "wheel")
"""What PEP 517 says a source without a build-system table needs."""

_EPOCH = "315532800"
# 1980-01-01, the earliest time that a zip can hold.
_MAX_PYPROJECT_BYTES = 1 << 20
_MAX_MEMBERS = 200_000
_WANTED = re.compile(
    r"No matching distribution found for ([A-Za-z0-9][A-Za-z0-9._\[\], <>=!~*-]{0,200})"
)
_PYPROJECT = re.compile(r"[^/]+/pyproject\.toml")
_UP = re.compile(r"(?:^|/)\.\.(?:/|$)")

# As the notebook user: what a backend does as root would matter to nobody, but it is not trusted.
_DOCKERFILE = """\
ARG BASE
FROM ${{BASE}}
USER root
COPY . /in
RUN mkdir -p {out} && chown 1000:100 {out}
USER 1000:100
RUN {command}
"""


def requires_of(sdist: Path) -> tuple[str, ...]:
    """What must be installed to build it, by its pyproject.toml (PEP 518).

    Nothing of the archive is unpacked. Raises InvalidSpecError if it can't be read.
    """
    text = _pyproject(sdist)
    if text is None:
        return DEFAULT_REQUIRES
    try:
        table = tomllib.loads(text).get("build-system")
        requires = table.get("requires") if isinstance(table, dict) else None
        if requires is None:
            return DEFAULT_REQUIRES
        wanted = [Requirement(str(each)) for each in list(requires)]
    except (tomllib.TOMLDecodeError, InvalidRequirement, TypeError, RecursionError) as error:
        raise InvalidSpecError(
            f"The pyproject.toml of {sdist.name} can't be read, so it can't be built; choose "
            "another version of it."
        ) from error
    if any(each.url is not None for each in wanted):
        raise InvalidSpecError(
            f"The build of {sdist.name} asks for a file from a URL, and only what the index has is "
            "taken; choose another version of it."
        )
    return tuple(map(str, wanted))


def asked_for(lines: Sequence[str]) -> str | None:
    """The requirement that pip could not find in its folder, by its own words; None if it was not
    that."""
    for line in reversed(lines):
        match = _WANTED.search(line)
        if match:
            try:
                return str(Requirement(match[1].strip()))
            except InvalidRequirement:
                return None
    return None


def job(build: str, context: Path, sdist: str, pip: str, base: Base, limits: Limits) -> Job:
    """The engine's job; `context` holds the file `sdist` and the folder `wheels`, with pip's."""
    command = [
        *("env", "HOME=/tmp", f"SOURCE_DATE_EPOCH={_EPOCH}", "PYTHONHASHSEED=0", "LC_ALL=C.UTF-8"),
        *("PIP_DISABLE_PIP_VERSION_CHECK=1", base.python.path, f"/in/wheels/{pip}/pip"),
        *("wheel", "--no-index", "--find-links=/in/wheels", "--no-deps", "--no-cache-dir"),
        *("--no-clean", "--use-pep517", f"--wheel-dir={OUT}", f"/in/{sdist}"),
    ]
    text = _DOCKERFILE.format(out=OUT, command=json.dumps(command))
    (context / "Dockerfile").write_text(text)
    return Job(
        id=build,
        context=context,
        repo="kitbag/sdists",
        platform=base.platform,
        base=base,
        limits=limits,
    )


def _pyproject(sdist: Path) -> str | None:
    """The text of the archive's own pyproject.toml, None if it has none."""
    try:
        if sdist.name.endswith(".zip"):
            with zipfile.ZipFile(sdist) as archive:
                for info in archive.infolist()[:_MAX_MEMBERS]:
                    if _wanted(info.filename, info.file_size):
                        return archive.read(info).decode()
            return None
        with tarfile.open(sdist, "r:gz") as tar:
            for count, member in enumerate(tar):
                if count > _MAX_MEMBERS:
                    break
                if member.isreg() and _wanted(member.name, member.size):
                    stream = tar.extractfile(member)
                    return stream.read().decode() if stream else None
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise InvalidSpecError(
            f"{sdist.name} is no archive that can be read; choose another version of it."
        ) from error
    return None


def _wanted(name: str, size_bytes: int) -> bool:
    return (
        _PYPROJECT.fullmatch(name.removeprefix("./")) is not None
        and not _UP.search(name)
        and size_bytes <= _MAX_PYPROJECT_BYTES
    )
