"""A request as it is stored, and the keys by which equal requests find each other."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from api.builds.choices import Choices
from api.builds.request import BuildRequest
from api.builds.uploads import Upload
from api.problems import ProblemError, Slug
from catalog import bases, builds, names
from catalog.models import Base

_FULL_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Part of every key: a release that builds another image from the same request raises it.
_KEY_VERSION = 1
DEFAULT_NAMESPACE = "default"
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class NormalRequest:
    """A request with its environment's name, as a JSON value that means one thing.

    `data` has `environment`, `source` (`git`, `files`, or `upload`: the SHA-256 of an archive),
    `python`, `base`, `accelerator`, `upgrade`, `platform`, and what is set of
    `Choices`.
    """

    environment: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Keys:
    """How a request finds an active build (`request_key`) and a finished version."""

    request_key: str
    reuse_key: str
    reuse: builds.Reuse


def normalise(asked: BuildRequest, upload: Upload | None) -> NormalRequest:
    """Join a request with its upload; raises ProblemError where they contradict each other."""
    if (asked.source is None) == (upload is None):
        raise ProblemError(
            Slug.INVALID_REQUEST,
            "Give exactly one source: source.git, source.files, or an uploaded archive.",
        )
    if asked.source is not None and asked.source.git is not None:
        asked.source.git.check_url()
    environment = asked.environment or _derived(asked)
    names.split(environment)
    source: dict[str, Any]
    if upload is not None:
        source = {"upload": upload.sha256}
    else:
        assert asked.source is not None
        source = asked.source.model_dump(exclude_none=True)
        if asked.source.git is not None:
            source = {"git": asked.source.git.model_dump()}
    data = {
        "environment": environment,
        "source": source,
        "python": asked.python,
        "base": asked.base or AUTO,
        "accelerator": asked.accelerator.value,
        "upgrade": asked.upgrade,
        "platform": asked.platform,
    }
    chosen = asked.model_dump(mode="json", include=set(Choices.model_fields))
    data |= {name: value for name, value in chosen.items() if value}
    return NormalRequest(environment, data)


def _derived(asked: BuildRequest) -> str:
    """default/REPOSITORY for a git source."""
    name = None
    if asked.source is not None and asked.source.git is not None:
        last = re.split(r"[/:]", asked.source.git.url.rstrip("/"))[-1]
        name = names.derived(last)
    if name is None:
        raise ProblemError(
            Slug.INVALID_REQUEST, "environment is missing; name it as NAMESPACE/NAME."
        )
    return f"{DEFAULT_NAMESPACE}/{name}"


def keys(session: Session, request: NormalRequest) -> Keys:
    """The request's keys, with one query for its base; raises ProblemError for an unknown one.

    A request for a branch joins an active build but is not answered by a finished version, since
    only a worker can look where the branch is now. A version on a base that was replaced since
    never answers.
    """
    name = str(request.data["base"])
    base = bases.current(session, name)
    if base is None and name != AUTO and not _is_image(name):
        raise ProblemError(
            Slug.BASE_NOT_FOUND,
            f"There is no base {name[:200]!r}; see `kitbag-server base ls` or GET /v1/bases.",
            status=422,
        )
    digest = base.digest if base is not None and _fits(base, request.data["python"]) else None
    content = {
        "version": _KEY_VERSION,
        "request": {key: value for key, value in request.data.items() if key != "upgrade"},
    }
    upgrade = bool(request.data["upgrade"])
    return Keys(
        request_key=_sha256(content | {"upgrade": upgrade, "base_digest": digest}),
        reuse_key=_sha256(content),
        reuse=builds.NEVER if upgrade else _reuse(request.data["source"], digest),
    )


def _fits(base: Base, python: str | None) -> bool:
    """Whether a worker will take what the name means: `auto` stands for others too."""
    has = str((base.record.get("python") or {}).get("version", ""))
    return python is None or has == python or has.startswith(f"{python}.")


def _reuse(source: Mapping[str, Any], base_digest: str | None) -> builds.Reuse:
    git = source.get("git")
    if git is not None and not _FULL_COMMIT.fullmatch(git["ref"] or ""):
        return builds.NEVER
    return builds.Reuse(
        # Files that were edited and edited back: `latest` must become them again.
        latest=git is None,
        base_digests=None if base_digest is None else frozenset({base_digest}),
        current_base=base_digest is None,
    )


def _is_image(name: str) -> bool:
    return any(sign in name for sign in "/:@")


def _sha256(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
