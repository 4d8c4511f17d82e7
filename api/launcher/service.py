"""What a launch link means, and where it leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from pydantic import ValidationError
from sqlalchemy import Engine

from api.builds.normal import NormalRequest, keys, normalise
from api.builds.request import BuildRequest
from api.builds.schemas import BuildOut
from api.environments import service as environments
from api.environments.schemas import VersionOut
from api.launcher import template
from api.problems import ProblemError, Slug
from api.problems.validation import sentence
from api.settings import ApiSettings
from catalog import builds, versions
from catalog.engine import reading
from catalog.errors import CatalogError
from catalog.states import BuildState

_DEFAULT_BRANCH = "HEAD"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A repository at a branch, tag or commit, the default branch if None; as `environment`."""

    url: str
    ref: str | None
    environment: str | None = None

    @classmethod
    def of_path(cls, rest: bytes, environment: str | None) -> Self:
        """What {url-encoded repository}/{ref} says, from the path as it was sent.

        Raises ProblemError for a repository that was not encoded: then nobody can tell where it
        ends.
        """
        first, _, ref = rest.decode("ascii", "replace").partition("/")
        url = unquote(first)
        if not first or url.lower() in ("http:", "https:", "ssh:", "git:", "file:"):
            raise ProblemError(
                Slug.INVALID_REQUEST,
                "Write the repository URL-encoded, as /v1/launch/git/https%3A%2F%2FHOST%2FREPO/REF,"
                " or as /v1/launch/git?repo=…&ref=….",
            )
        return cls(url, unquote(ref) or None, environment)

    def request(self) -> NormalRequest:
        """The build request; raises ProblemError or CatalogError as a request for a build does."""
        git = {"url": self.url, "ref": None if self.ref == _DEFAULT_BRANCH else self.ref}
        asked = {"source": {"git": git}, "environment": self.environment or None}
        try:
            request = BuildRequest.model_validate(asked)
        except ValidationError as error:
            raise ProblemError(Slug.INVALID_REQUEST, sentence(error.errors())) from error
        return normalise(request, None)


def found(engine: Engine, asked: NormalRequest) -> BuildOut | None:
    """The build that answers already: at work, or a version of exactly that commit."""
    with reading(engine) as session:
        wanted = keys(session, asked)
        build = builds.find(
            session,
            wanted.request_key,
            reuse=wanted.reuse,
            reuse_key=wanted.reuse_key,
            early_key=wanted.early_key,
        )
        return None if build is None else BuildOut.of(build)


def newest(engine: Engine, asked: NormalRequest) -> VersionOut | None:
    """The newest version from that branch of that repository, which may have moved since."""
    git = asked.data["source"]["git"]
    with reading(engine) as session:
        try:
            version = versions.find(session, asked.environment, git["ref"] or versions.LATEST)
        except CatalogError:
            return None
        made_from = version.request["source"].get("git")
        same = made_from is not None and made_from == git
        return VersionOut.of(version) if same else None


def to_version(engine: Engine, settings: ApiSettings, environment: str, wanted: str) -> str:
    """Where a version starts: the operator's address, the form of a notebook, or its own page."""
    version = environments.version(engine, environment, wanted)
    if settings.launch_url is None:
        what = "launch" if settings.cluster else "versions"
        return f"/environments/{version.environment}/{what}/{version.number}"
    return template.filled(settings.launch_url, version)


def to_build(engine: Engine, settings: ApiSettings, build: BuildOut) -> str:
    """Where a build goes on: its live page, which comes back here when it is ready."""
    if build.state is BuildState.READY and build.version is not None:
        return to_version(engine, settings, build.environment, str(build.version))
    return followed(build)


def followed(build: BuildOut) -> str:
    """The page of a build that goes on to the notebook when it is ready."""
    return f"/builds/{build.id}?launch=true"
