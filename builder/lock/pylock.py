"""Locks as text: the part of pylock.toml (PEP 751) that one target needs, in one form."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.pylock import Package, PackageWheel, Pylock, PylockSelectError, PylockValidationError
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from builder.choices import Choices
from builder.errors import EngineNeededError, InvalidSpecError, NoWheelError
from builder.lock.model import Target
from builder.model import Lock, LockedSdist, LockedWheel, Platform
from builder.source.url import strip_userinfo

_NO_CHOICES = Choices()
_SHA256 = re.compile(r"[0-9a-f]{64}")


def parse(text: str, python: str, platform: Platform) -> Lock:
    """The lock that was stored as `text`; raises InvalidSpecError when it isn't one."""
    document = load(text, "pylock.toml")
    wheels = tuple(_only_wheel(package, "pylock.toml") for package in document.packages)
    return Lock(python=python, platform=platform, wheels=wheels, text=text)


def lock_digest(lock: Lock) -> str:
    """`sha256:` of what the environment consists of: Python, platform, and each wheel's hash.

    Where the wheels came from is left out, so that a mirror's lock has the same digest.
    """
    content = {
        "python": lock.python,
        "platform": str(lock.platform),
        "wheels": sorted(
            [each.name, each.version, each.filename, each.sha256] for each in lock.wheels
        ),
    }
    canonical = json.dumps(content, separators=(",", ":"), sort_keys=True)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def load(text: str, file: str) -> Pylock:
    """A pylock.toml, validated; raises InvalidSpecError."""
    try:
        return Pylock.from_dict(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, PylockValidationError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:200].rstrip(".")
        raise InvalidSpecError(f"'{file}' is not a valid lock: {reason}.", file=file) from error


def make(wheels: list[LockedWheel], direct: frozenset[str], target: Target) -> Lock:
    """The lock of these wheels; `direct` are the names that came from a URL, not from an index."""
    ordered = tuple(sorted(wheels, key=lambda wheel: wheel.name))
    return Lock(
        python=target.minor,
        platform=target.platform,
        wheels=ordered,
        text=_render(ordered, direct, target),
    )


def merge(lock: Lock, more: list[LockedWheel], target: Target) -> Lock:
    """The lock with more wheels in it."""
    direct = frozenset(p.name for p in load(lock.text, "pylock.toml").packages if p.archive)
    return make([*lock.wheels, *more], direct, target)


def select(
    document: Pylock,
    target: Target,
    file: str,
    choices: Choices = _NO_CHOICES,
    built: Mapping[str, LockedWheel] = MappingProxyType({}),
) -> tuple[list[LockedWheel], frozenset[str]]:
    """The wheels of a lock that fit the target, and the names of those that a URL was given for.

    `built` are wheels that no index has, by file name.
    Raises NoWheelError (package without a fitting wheel), EngineNeededError (package from a
    repository or a folder) and InvalidSpecError (made for another Python, or without hashes).
    """
    wheels, direct = [], set()
    try:
        for package, source in document.select(
            environment=target.environment(),
            tags=target.tags(),
            extras=choices.extras or None,
            dependency_groups=choices.groups or None,
        ):
            if isinstance(source, PackageWheel) and source.filename in built:
                wheels.append(built[source.filename])
            elif isinstance(source, PackageWheel):
                name = source.filename
                wheels.append(_locked(package, name, source.url, source.hashes, source.size, file))
            elif source is package.archive and source is not None:
                name = unquote(urlsplit(source.url or "").path.rpartition("/")[2])
                wheels.append(_locked(package, name, source.url, source.hashes, source.size, file))
                direct.add(package.name)
            elif source is package.sdist:
                raise no_wheel(package.name, str(package.version or ""), target, file)
            else:
                raise EngineNeededError(
                    f"'{package.name}' in {file} has to be built from source; use a released wheel "
                    "instead, or build one with `pip wheel` and publish it on an index.",
                    file=file,
                    package=package.name,
                )
    except PylockSelectError as error:
        match = re.search(r"No wheel found .*? for package '([^']+)'", str(error))
        if match:
            raise no_wheel(match[1], "", target, file) from error
        raise InvalidSpecError(
            f"'{file}' is not a lock for Python {target.minor} on {target.platform}: {error}.",
            file=file,
        ) from error
    return wheels, frozenset(direct)


def no_wheel(
    name: str, version: str, target: Target, file: str, line: int = 0, user: str = ""
) -> NoWheelError:
    """The error for a package that has no wheel for the target; `user` is the package asked for
    that needs it, when it is another."""
    what = f"{name} {version}".strip()
    by = [f"needed by {user}"] if user else []
    by += [file] if file else []
    by += [f"line {line}"] if line else []
    where = f" ({', '.join(by)})" if by else ""
    extra: dict[str, str | int] = {"package": name}
    if file:
        extra["file"] = file
    if line:
        extra["line"] = line
    return NoWheelError(
        f"{what}{where} has no wheel for Python {target.minor} on {target.platform}; pin a version "
        "with a wheel, or build one with `pip wheel` and publish it on an index.",
        **extra,
    )


def _only_wheel(package: Package, file: str) -> LockedWheel:
    if package.wheels and len(package.wheels) == 1:
        wheel = package.wheels[0]
        sdist = package.sdist
        if sdist is not None and wheel.url is None and sdist.url is not None:
            # What was built from source has no address of its own.
            made = _locked(package, wheel.filename, sdist.url, wheel.hashes, wheel.size, file)
            source = LockedSdist(
                sdist.filename, made.url, sdist.hashes.get("sha256", ""), sdist.size or 0
            )
            return replace(made, sdist=source)
        return _locked(package, wheel.filename, wheel.url, wheel.hashes, wheel.size, file)
    if package.archive is not None:
        name = unquote(urlsplit(package.archive.url or "").path.rpartition("/")[2])
        archive = package.archive
        return _locked(package, name, archive.url, archive.hashes, archive.size, file)
    raise InvalidSpecError(f"'{file}' does not name one wheel for '{package.name}'.", file=file)


def _locked(
    package: Package,
    filename: str,
    url: str | None,
    hashes: Mapping[str, str],
    size: int | None,
    file: str,
) -> LockedWheel:
    where = {"file": file, "package": package.name}
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise InvalidSpecError(
            f"'{file}' names '{filename[:80]}' for {package.name}, which is no wheel.", **where
        ) from error
    if name != package.name or (package.version is not None and version != package.version):
        raise InvalidSpecError(
            f"'{file}' names '{filename[:80]}' for {package.name}, which is another package.",
            **where,
        )
    if url is None or urlsplit(url).scheme not in ("http", "https"):
        raise EngineNeededError(
            f"'{package.name}' in {file} is a file beside the lock; publish it on an index "
            "and lock again.",
            **where,
        )
    digest = hashes.get("sha256", "")
    if not _SHA256.fullmatch(digest) and not file:
        raise InvalidSpecError(
            f"The package index gives no sha256 for {filename}; use an index that does.", **where
        )
    if not _SHA256.fullmatch(digest):
        raise InvalidSpecError(
            f"'{file}' has no sha256 for {package.name}; lock it again with hashes.", **where
        )
    return LockedWheel(
        name=name,
        version=str(version),
        filename=filename,
        url=strip_userinfo(url),
        sha256=digest,
        size_bytes=size or 0,
    )


def _render(wheels: tuple[LockedWheel, ...], direct: frozenset[str], target: Target) -> str:
    lines = [
        'lock-version = "1.0"',
        f'requires-python = ">={target.minor}"',
        'created-by = "kitbag"',
    ]
    if not wheels:
        lines.append("packages = []")
    for wheel in wheels:
        where = {"path": wheel.filename} if wheel.sdist else {"url": wheel.url}
        size = {"size": wheel.size_bytes} if wheel.size_bytes else {}
        hashes = {"hashes": {"sha256": wheel.sha256}}
        lines += [
            "",
            "[[packages]]",
            f"name = {_toml(wheel.name)}",
            f"version = {_toml(wheel.version)}",
        ]
        if wheel.sdist is not None:
            of = wheel.sdist
            more = {"size": of.size_bytes} if of.size_bytes else {}
            named = {"name": of.filename, "url": strip_userinfo(of.url)}
            lines.append(f"sdist = {_toml(named | more | {'hashes': {'sha256': of.sha256}})}")
        if wheel.name in direct:
            lines.append(f"archive = {_toml(where | size | hashes)}")
        else:
            lines.append(f"wheels = [{_toml({'name': wheel.filename} | where | size | hashes)}]")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    # Every JSON string without escaped surrogates is a TOML basic string, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
