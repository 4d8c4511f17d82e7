"""AdmissionReview (admission.k8s.io/v1), as much of it as is read, and the answer to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

API_VERSION = "admission.k8s.io/v1"
_MAX_WARNING_CHARS = 256  # longer ones are cut by the API server, with a warning of its own
_MAX_WARNINGS = 10

Object = dict[str, Any]


class Operation(StrEnum):
    """What is done with the object."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


class Result(StrEnum):
    """How a review ended, as the metrics count it."""

    PINNED = "pinned"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class Wait(StrEnum):
    """What an object that names no fixed version waits for."""

    NEVER = "never"
    RUNNING = "running"
    """The builds of its environment that are under way."""
    BUILD = "build"
    """A build of what was last asked for, started now, and those under way."""


class _Asked(BaseModel):
    # A newer API server may say more.
    model_config = ConfigDict(extra="ignore")


class KindName(_Asked):
    """The group, version and kind of the object."""

    group: str = Field("", max_length=253)
    version: str = Field("", max_length=63)
    kind: str = Field(max_length=63)


class ReviewRequest(_Asked):
    """One object that is about to be kept."""

    uid: str = Field(min_length=1, max_length=128)
    kind: KindName
    namespace: str = Field("", max_length=253)
    operation: Operation
    subResource: str = Field("", max_length=253)  # noqa: N815 - Kubernetes' own name
    dryRun: bool = False  # noqa: N815
    object: Object | None = None
    oldObject: Object | None = None  # noqa: N815


class Review(_Asked):
    """The body that the API server sends."""

    apiVersion: Literal["admission.k8s.io/v1"]  # noqa: N815
    kind: Literal["AdmissionReview"]
    request: ReviewRequest


class ReviewOut(BaseModel):
    """The answer: `response` has `uid`, `allowed`, and with them a patch or a status."""

    apiVersion: str = API_VERSION  # noqa: N815
    kind: str = "AdmissionReview"
    response: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is decided: `operations` are a JSON Patch (RFC 6902), `message` is for the user."""

    result: Result = Result.UNCHANGED
    message: str = ""
    code: int = 200
    operations: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    pinned: Mapping[str, str] = field(default_factory=dict)
    """References and the images they became, for the audit log."""

    @classmethod
    def refused(cls, message: str, code: int = 403) -> Answer:
        return cls(Result.REFUSED, message, code)

    def review(self, uid: str) -> dict[str, Any]:
        """The body of the response."""
        response: dict[str, Any] = {"uid": uid, "allowed": self.result is not Result.REFUSED}
        if self.result is Result.REFUSED:
            response["status"] = {"code": self.code, "message": self.message}
        if self.operations:
            patch = json.dumps(self.operations, separators=(",", ":")).encode()
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch).decode()}
        if self.warnings:
            shown = (warning[:_MAX_WARNING_CHARS] for warning in self.warnings)
            response["warnings"] = list(dict.fromkeys(shown))[:_MAX_WARNINGS]
        if self.pinned:
            pairs = " ".join(f"{name}={image}" for name, image in sorted(self.pinned.items()))
            response["auditAnnotations"] = {"pinned": pairs}
        return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}
