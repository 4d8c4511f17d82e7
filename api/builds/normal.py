"""A request as it is stored, and the keys by which equal requests find each other."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from api.builds.choices import Choices
from api.builds.request import Accelerator, BuildRequest, GitSource
from api.builds.uploads import Upload
from api.problems import ProblemError, Slug
from catalog import bases, builds, names
from catalog.bases import USUAL_PLATFORM
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
    `python`, `base`, `accelerator`, `upgrade`, `platform`, and what is set of `Choices`; and
    `accelerators` or `platforms` in place of one where several are asked for.
    """

    environment: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Keys:
    """How a request finds an active build (`request_key`) and a finished version.

    `early_key` is what it was before a worker made the base, None where the base isn't known yet.
    """

    request_key: str
    early_key: str | None
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
            source = {"git": _git(asked.source.git)}
    accelerators = [each.value for each in asked.accelerators or [asked.accelerator]]
    # Their order in an index is not the request's.
    platforms = sorted(asked.platforms or ([asked.platform] if asked.platform else []))
    data: dict[str, Any] = {
        "environment": environment,
        "source": source,
        "python": asked.python,
        "base": asked.base or AUTO,
        "accelerator": accelerators[0],
        "upgrade": asked.upgrade,
        "platform": platforms[0] if len(platforms) == 1 else None,
    }
    # Requests for one thing are what they were before several could be asked for.
    if len(accelerators) > 1 or asked.accelerators == [Accelerator.CPU]:
        data["accelerators"] = accelerators
    if len(platforms) > 1:
        data["platforms"] = platforms
    chosen = asked.model_dump(mode="json", include=set(Choices.model_fields))
    data |= {name: value for name, value in chosen.items() if value}
    return NormalRequest(environment, data)


def _git(source: GitSource) -> dict[str, Any]:
    git = source.model_dump(include={"url", "ref", "subdir"})
    # What came later is left out unless it is asked for: requests of before keep their keys.
    later = source.model_dump(include={"branch", "submodules", "lfs"})
    return git | {name: value for name, value in later.items() if value}


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
    """The request's keys, with a query for each base; raises ProblemError for an unknown one.

    A request for a branch joins an active build but is not answered by a finished version, since
    only a worker can look where the branch is now. A version on a base that was replaced since
    never answers.
    """
    name = str(request.data["base"])
    platforms = request.data.get("platforms") or [request.data["platform"] or USUAL_PLATFORM]
    on = [bases.current(session, name, platform) for platform in platforms]
    known = any(on) or name == AUTO or _is_image(name)
    if not known and bases.current(session, name) is None:
        raise ProblemError(
            Slug.BASE_NOT_FOUND,
            f"There is no base {name[:200]!r}; see `kitbag-server base ls` or GET /v1/bases.",
            status=422,
        )
    python = request.data["python"]
    digests = [base.digest for base in on if base is not None and _fits(base, python)]
    found = digests if len(digests) == len(platforms) else []
    content = {
        "version": _KEY_VERSION,
        "request": {key: value for key, value in request.data.items() if key != "upgrade"},
    }
    upgrade = bool(request.data["upgrade"])
    return Keys(
        request_key=_sha256(content | {"upgrade": upgrade, "base_digest": _one_or_all(found)}),
        early_key=_sha256(content | {"upgrade": upgrade, "base_digest": None}) if found else None,
        reuse_key=_sha256(content),
        reuse=builds.NEVER if upgrade else _reuse(request.data["source"], found),
    )


def _one_or_all(digests: Sequence[str]) -> str | list[str] | None:
    """The digest of the base, or those of several; None for a base that a worker chooses."""
    return list(digests) if len(digests) > 1 else next(iter(digests), None)


def _fits(base: Base, python: str | None) -> bool:
    """Whether a worker will take what the name means: `auto` stands for others too."""
    has = str((base.record.get("python") or {}).get("version", ""))
    return python is None or has == python or has.startswith(f"{python}.")


def _reuse(source: Mapping[str, Any], base_digests: Sequence[str]) -> builds.Reuse:
    git = source.get("git")
    if git is not None and not _FULL_COMMIT.fullmatch(git["ref"] or ""):
        return builds.NEVER
    return builds.Reuse(
        # Files that were edited and edited back: `latest` must become them again.
        latest=git is None,
        base_digests=frozenset(base_digests) or None,
        current_base=not base_digests,
    )


def _is_image(name: str) -> bool:
    return any(sign in name for sign in "/:@")


def _sha256(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
