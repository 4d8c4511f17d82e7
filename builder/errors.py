"""What can go wrong on the way from a source to an image; each class is one stable problem type."""

from __future__ import annotations

from typing import ClassVar


class BuildError(Exception):
    """A build can't go on; the message is one sentence that tells the person what to do next.

    `type` is the stable slug of the problem (docs/errors.md); `extra` holds what a program may want
    to know beside the sentence: `file`, `line`, `package`. `transient` says that the same build may
    succeed when it is tried again later.
    """

    type: ClassVar[str] = "internal"
    transient: ClassVar[bool] = False

    def __init__(self, detail: str, **extra: str | int) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class SourceNotFoundError(BuildError):
    """The repository or folder does not exist, or may not be read."""

    type = "source-not-found"


class SourceUnreachableError(BuildError):
    """The repository's host did not answer, or stopped answering half-way."""

    type = "source-unreachable"
    transient = True


class RefNotFoundError(BuildError):
    """The repository has no such branch, tag or commit."""

    type = "ref-not-found"


class GitRefusedError(BuildError):
    """The git URL uses a transport or a host that the operator does not allow."""

    type = "git-refused"


class TooLargeError(BuildError):
    """An input is over its limit."""

    type = "too-large"


class InvalidSpecError(BuildError):
    """A file of the source can't be read as what it says it is."""

    type = "invalid-request"


class ConfigConflictError(BuildError):
    """The configuration files contradict each other, such as both `binder/` and `.binder/`."""

    type = "config-conflict"


class EngineNeededError(BuildError):
    """The source asks for more than Python packages and no container engine is configured."""

    type = "engine-needed"


class EngineUnreachableError(BuildError):
    """The container engine did not answer, or stopped answering half-way."""

    type = "engine-unreachable"
    transient = True


class EngineBuildError(BuildError):
    """A step of an engine's build failed, or its Dockerfile can't be built."""

    type = "build-failed"


class LimitExceededError(BuildError):
    """A build used more memory or disk than it may."""

    type = "limit-exceeded"


class ForbiddenImageError(BuildError):
    """A repository's Dockerfile starts from an image that the operator does not allow."""

    type = "image-forbidden"


class UnresolvableError(BuildError):
    """No set of versions satisfies the requirements."""

    type = "unresolvable"


class NoWheelError(BuildError):
    """A package has no wheel for this Python and platform."""

    type = "no-wheel"


class BadWheelError(BuildError):
    """A wheel is damaged, lies about itself or tries to leave the environment's prefix."""

    type = "bad-wheel"


class IndexRefusedError(BuildError):
    """The package index wants credentials, or other ones."""

    type = "index-refused"


class IndexUnreachableError(BuildError):
    """The package index did not answer."""

    type = "unavailable"
    transient = True


class BaseNotFoundError(BuildError):
    """No base of that name exists, or none fits the Python asked for."""

    type = "base-not-found"


class StoreRefusedError(BuildError):
    """The registry answered no: wrong credentials, no permission, quota."""

    type = "store-refused"


class BlobsLostError(StoreRefusedError):
    """A registry takes a manifest only with blobs that it turned out not to hold.

    `digests` are those that it named; none if it didn't say.
    """

    def __init__(self, detail: str, digests: frozenset[str], **extra: str | int) -> None:
        super().__init__(detail, **extra)
        self.digests = digests


class NoDeletesError(StoreRefusedError):
    """A registry deletes nothing, for nobody: its operator has not enabled it."""


class StoreUnreachableError(BuildError):
    """The registry did not answer, or stopped answering half-way."""

    type = "store-unreachable"
    transient = True


class DiskFullError(BuildError):
    """No space is left where the worker keeps its cache, or in the image layout."""

    type = "disk-full"
    transient = True


class CancelledError(BuildError):
    """Somebody cancelled the build."""

    type = "cancelled"


class TimedOutError(BuildError):
    """The build took longer than its limit."""

    type = "timed-out"


class RebaseRefusedError(BuildError):
    """The packages of the environment can't go on that base as they are."""

    type = "rebase-refused"


class NotVerifiableError(BuildError):
    """A version can't be built again by this worker, so that it can't say whether it is equal."""

    type = "not-verifiable"
