"""What the catalog answers when it can't do what it was asked."""

from __future__ import annotations

from typing import ClassVar


class CatalogError(Exception):
    """The message is one sentence for a person; `type` is the stable slug of docs/errors.md."""

    type: ClassVar[str] = "internal"


class InvalidNameError(CatalogError):
    """An environment's name is not NAMESPACE/NAME in the allowed letters."""

    type = "invalid-request"


class InvalidRequirementError(CatalogError):
    """It is no package with a range of versions."""

    type = "invalid-request"


class EnvironmentNotFoundError(CatalogError):
    """No environment has that name."""

    type = "environment-not-found"


class EnvironmentExpiredError(CatalogError):
    """The environment was of use for a while, and that is over."""

    type = "environment-expired"


class VersionNotFoundError(CatalogError):
    """The environment has no such version, or a commit prefix fits several."""

    type = "version-not-found"


class ImageNotFoundError(CatalogError):
    """The version has no image for that accelerator or platform."""

    type = "image-not-found"


class BuildNotFoundError(CatalogError):
    """No build has that id."""

    type = "build-not-found"


class BaseNotFoundError(CatalogError):
    """No base has that name."""

    type = "base-not-found"


class HookNotFoundError(CatalogError):
    """No webhook has that id."""

    type = "hook-not-found"


class TokenNotFoundError(CatalogError):
    """The caller has no such token."""

    type = "token-not-found"


class LoginNotFoundError(CatalogError):
    """Nothing waits to be let in under that code or id, or it waited too long."""

    type = "login-not-found"


class BuildEndedError(CatalogError):
    """The build is ready or failed, so it can't be cancelled."""

    type = "build-ended"


class IllegalTransitionError(CatalogError):
    """The state machine has no such step; a programming error, or a worker that came too late."""

    type = "conflict"


class CancelRequestedError(CatalogError):
    """Somebody asked to cancel the build before its version was there: it must end cancelled."""

    type = "conflict"


class LostBuildError(CatalogError):
    """The build was handed to another attempt: this worker was taken for dead and must stop."""

    type = "conflict"


class RolloutNotFoundError(CatalogError):
    """The environment has no rollout of that number."""

    type = "rollout-not-found"


class LostRolloutError(CatalogError):
    """The run of a rollout was handed to another worker, or the rollout was removed."""

    type = "conflict"


class TargetNotFoundError(CatalogError):
    """The namespace has no target of that name."""

    type = "target-not-found"


class NotMirroredError(CatalogError):
    """The version is not in the target's registry yet; `planned` says whether it will be."""

    type = "not-mirrored"

    def __init__(self, sentence: str, *, planned: bool) -> None:
        super().__init__(sentence)
        self.planned = planned


class LostMirrorError(CatalogError):
    """The copy was handed to another worker, or its target removed."""

    type = "conflict"
