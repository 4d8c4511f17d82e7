"""What uv's messages mean for the person whose requirements they are about."""

from __future__ import annotations

import re
from collections.abc import Iterable

from builder.detect import Asked
from builder.errors import (
    BuildError,
    DiskFullError,
    IndexRefusedError,
    IndexUnreachableError,
    NoWheelError,
    UnresolvableError,
)
from builder.lock.model import Target
from builder.lock.pylock import no_wheel
from builder.source.process import Ran
from builder.source.url import strip_userinfo

_MAX_REASON_CHARS = 700
_NO_WHEEL = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*)(?:(?P<equal>==)(?P<version>\S+)|[<>=!~]\S+)? has no "
    r"(?:usable wheels|wheels with a matching)"
)
_BUILD_OFF = re.compile(r"Wheels are required for `(?P<name>[^`]+)`")
_REFUSED = re.compile(
    r"An index (?:URL )?\((?P<url>[^)\s]+)\) (?:could not be queried due to a lack of valid "
    r"authentication|returned a 403)"
)
_UNREACHABLE = (
    "error sending request",
    "failed to fetch",
    "request failed after",
    "dns error",
    "timed out",
    "connection reset",
)
_STATUS = re.compile(r"HTTP status (?:client|server) error \((?P<status>\d{3})")


def explain(ran: Ran, asked: Iterable[Asked], target: Target) -> BuildError:
    """The error for a failed resolution."""
    message = strip_userinfo(ran.err)
    lowered = message.lower()
    if "no space left on device" in lowered:
        return DiskFullError("The worker's disk is full; free some space and try again.")
    refused = _REFUSED.search(message)
    if refused and "was not found in the package registry" in message:
        return IndexRefusedError(
            f"The package index {refused['url']} refused access; check its credentials."
        )
    if "no solution found" in lowered:
        return _unsatisfied(message, list(asked), target)
    if any(sign in lowered for sign in _UNREACHABLE):
        return _unreachable(message)
    reason = _short(_reason(message) or f"uv ended with status {ran.status}")
    return UnresolvableError(f"The packages can't be resolved: {reason}.")


def _unsatisfied(message: str, asked: list[Asked], target: Target) -> BuildError:
    reason = _reason(message)
    named = list(_NO_WHEEL.finditer(reason))
    disabled = _BUILD_OFF.search(message)
    if named or disabled:
        return _without_wheel(named, disabled, reason, asked, target)
    culprit = _culprit(reason, asked)
    where = f"{culprit.file}, line {culprit.line}: " if culprit else ""
    extra: dict[str, str | int] = {}
    if culprit:
        extra = {"file": culprit.file, "line": culprit.line, "package": culprit.name}
    return UnresolvableError(
        f"{where}no versions satisfy the requirements: {_short(reason)}.", **extra
    )


def _without_wheel(
    named: list[re.Match[str]],
    disabled: re.Match[str] | None,
    reason: str,
    asked: list[Asked],
    target: Target,
) -> NoWheelError:
    """The error for the package without a wheel: the one that is asked for, if one of them is."""
    lines = {each.name: each for each in asked}
    best = next((each for each in named if each["name"] in lines), named[0] if named else None)
    name = best["name"] if best else disabled["name"] if disabled else ""
    version = (best["version"] or "").rstrip(",.") if best and best["equal"] else ""
    line = lines.get(name) or _culprit(reason, asked)
    if line is None:
        return no_wheel(name, version, target, "")
    user = "" if line.name == name else line.name
    return no_wheel(name, version, target, line.file, line.line, user)


def _culprit(reason: str, asked: list[Asked]) -> Asked | None:
    """The first line whose package uv's reason says is required, else that it names at all."""
    for pattern in (r"you require {}(?![\w-])", r"(?<![\w-]){}(?![\w-])"):
        found = [
            (match.start(), each)
            for each in asked
            if (match := re.search(pattern.format(re.escape(each.name)), reason))
        ]
        if found:
            return min(found, key=lambda pair: pair[0])[1]
    return None


def _unreachable(message: str) -> BuildError:
    status = _STATUS.search(message)
    url = re.search(r"https?://[^\s`)]+", message)
    where = f" ({url[0].rstrip('.')})" if url else ""
    if status and status["status"] in ("401", "403"):
        return IndexRefusedError(f"The package index{where} refused access; check its credentials.")
    reason = f"answered with status {status['status']}" if status else "did not answer"
    return IndexUnreachableError(f"The package index{where} {reason}; try again later.")


def _reason(message: str) -> str:
    """uv's causes on one line, without its hints."""
    lines = []
    for line in message.splitlines():
        text = line.strip()
        if text.startswith("hint:"):
            break
        if text.startswith(("error: No solution found", "warning:")) or not text:
            continue
        lines.append(re.sub(r"^(error|cause):\s*", "", text))
    return " ".join(lines).rstrip(".")


def _short(reason: str) -> str:
    reason = re.sub(
        r",? (and )?we can conclude that your requirements are unsatisfiable$", "", reason
    )
    if len(reason) > _MAX_REASON_CHARS:
        reason = reason[: _MAX_REASON_CHARS - 1].rstrip() + "…"
    return reason[:1].lower() + reason[1:] if reason.startswith("Because ") else reason
