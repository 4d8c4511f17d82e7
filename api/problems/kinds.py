"""The problem types: stable slugs with titles and usual statuses; docs/errors.md explains them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

PREFIX = "https://kitbag.dev/problems/"


class Slug(StrEnum):
    """The last part of a problem's `type`."""

    INVALID_REQUEST = "invalid-request"
    NOT_FOUND = "not-found"
    ENVIRONMENT_NOT_FOUND = "environment-not-found"
    ENVIRONMENT_EXPIRED = "environment-expired"
    VERSION_NOT_FOUND = "version-not-found"
    IMAGE_NOT_FOUND = "image-not-found"
    TARGET_NOT_FOUND = "target-not-found"
    NOT_MIRRORED = "not-mirrored"
    BUILD_NOT_FOUND = "build-not-found"
    BASE_NOT_FOUND = "base-not-found"
    HOOK_NOT_FOUND = "hook-not-found"
    TOKEN_NOT_FOUND = "token-not-found"  # noqa: S105 - no secret
    LOGIN_NOT_FOUND = "login-not-found"
    TOO_LARGE = "too-large"
    CONFLICT = "conflict"
    BUILD_ENDED = "build-ended"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    SOURCE_NOT_FOUND = "source-not-found"
    SOURCE_UNREACHABLE = "source-unreachable"
    REF_NOT_FOUND = "ref-not-found"
    GIT_REFUSED = "git-refused"
    CONFIG_CONFLICT = "config-conflict"
    UNRESOLVABLE = "unresolvable"
    NO_WHEEL = "no-wheel"
    BAD_WHEEL = "bad-wheel"
    INDEX_REFUSED = "index-refused"
    STORE_REFUSED = "store-refused"
    STORE_UNREACHABLE = "store-unreachable"
    DISK_FULL = "disk-full"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed-out"
    REBASE_REFUSED = "rebase-refused"
    NOT_VERIFIABLE = "not-verifiable"
    JOB_NOT_FOUND = "job-not-found"
    ROLLOUT_NOT_FOUND = "rollout-not-found"
    NO_CLUSTER = "no-cluster"
    CLUSTER_REFUSED = "cluster-refused"
    ENGINE_NEEDED = "engine-needed"
    ENGINE_UNREACHABLE = "engine-unreachable"
    BUILD_FAILED = "build-failed"
    LIMIT_EXCEEDED = "limit-exceeded"
    QUOTA_EXCEEDED = "quota-exceeded"
    RATE_LIMITED = "rate-limited"
    IMAGE_FORBIDDEN = "image-forbidden"
    SPEC_REFUSED = "spec-refused"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Kind:
    """A problem type's title, and the HTTP status it has unless the place says otherwise."""

    title: str
    status: int


KINDS: Mapping[Slug, Kind] = {
    Slug.INVALID_REQUEST: Kind("The request is not valid", 422),
    Slug.NOT_FOUND: Kind("There is nothing at this address", 404),
    Slug.ENVIRONMENT_NOT_FOUND: Kind("There is no such environment", 404),
    Slug.ENVIRONMENT_EXPIRED: Kind("The environment was for a while, and that is over", 410),
    Slug.VERSION_NOT_FOUND: Kind("There is no such version", 404),
    Slug.IMAGE_NOT_FOUND: Kind("The version has no such image", 404),
    Slug.TARGET_NOT_FOUND: Kind("There is no such target", 404),
    Slug.NOT_MIRRORED: Kind("The version is not at the target yet", 409),
    Slug.BUILD_NOT_FOUND: Kind("There is no such build", 404),
    Slug.HOOK_NOT_FOUND: Kind("There is no such webhook", 404),
    Slug.TOKEN_NOT_FOUND: Kind("There is no such token", 404),
    Slug.LOGIN_NOT_FOUND: Kind("Nothing waits to be let in", 404),
    Slug.BASE_NOT_FOUND: Kind("There is no such base", 404),
    Slug.TOO_LARGE: Kind("That is over a limit", 413),
    Slug.CONFLICT: Kind("Something else happened first", 409),
    Slug.BUILD_ENDED: Kind("The build has ended", 409),
    Slug.UNAUTHORIZED: Kind("A token is needed", 401),
    Slug.FORBIDDEN: Kind("That is not allowed", 403),
    Slug.SOURCE_NOT_FOUND: Kind("The repository or folder can't be found", 422),
    Slug.SOURCE_UNREACHABLE: Kind("The repository's host did not answer", 502),
    Slug.REF_NOT_FOUND: Kind("The repository has no such branch, tag or commit", 422),
    Slug.GIT_REFUSED: Kind("This git URL is not allowed", 422),
    Slug.CONFIG_CONFLICT: Kind("The configuration files contradict each other", 422),
    Slug.UNRESOLVABLE: Kind("No set of versions satisfies the requirements", 422),
    Slug.NO_WHEEL: Kind("A package has no fitting wheel", 422),
    Slug.BAD_WHEEL: Kind("A wheel is damaged or unsafe", 422),
    Slug.INDEX_REFUSED: Kind("The package index refused", 502),
    Slug.STORE_REFUSED: Kind("The registry refused", 502),
    Slug.STORE_UNREACHABLE: Kind("The registry did not answer", 502),
    Slug.DISK_FULL: Kind("No space is left", 507),
    Slug.CANCELLED: Kind("The build was cancelled", 409),
    Slug.TIMED_OUT: Kind("It took too long", 504),
    Slug.REBASE_REFUSED: Kind("The environment can't go on this base", 422),
    Slug.NOT_VERIFIABLE: Kind("The version can't be built again here", 422),
    Slug.JOB_NOT_FOUND: Kind("There is no such job", 404),
    Slug.ROLLOUT_NOT_FOUND: Kind("There is no such rollout", 404),
    Slug.NO_CLUSTER: Kind("The server is connected to no cluster", 422),
    Slug.CLUSTER_REFUSED: Kind("The cluster did not do it", 422),
    Slug.ENGINE_NEEDED: Kind("A container engine is needed", 422),
    Slug.ENGINE_UNREACHABLE: Kind("The container engine did not answer", 502),
    Slug.BUILD_FAILED: Kind("A step of the build failed", 422),
    Slug.LIMIT_EXCEEDED: Kind("The build used too much", 422),
    Slug.QUOTA_EXCEEDED: Kind("That is more than you may use", 429),
    Slug.RATE_LIMITED: Kind("Too many requests", 429),
    Slug.IMAGE_FORBIDDEN: Kind("An image of the Dockerfile is not allowed", 422),
    Slug.SPEC_REFUSED: Kind("The manifest can't be pinned", 422),
    Slug.UNAVAILABLE: Kind("A part of the service does not answer", 503),
    Slug.INTERNAL: Kind("Something went wrong in the service", 500),
}


def slug_of(value: object) -> Slug:
    """The slug of a `type`, given as a slug or a whole URL; INTERNAL for anything unknown."""
    try:
        return Slug(str(value).rpartition("/")[2])
    except ValueError:
        return Slug.INTERNAL
