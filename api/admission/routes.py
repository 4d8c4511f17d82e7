"""/v1/admission, and the same at the root: what webhooks of an API server are pointed at."""

from __future__ import annotations

import json
import re
import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import ValidationError

from api.admission.guard import CallerDep
from api.admission.schemas import API_VERSION, Answer, Review, ReviewOut, ReviewRequest
from api.problems import ProblemError, Slug, declared
from api.problems.validation import sentence
from api.services import Services, ServicesDep
from kitbag.refs import EnvRef

Reviewed = dict[str, Any]
_REVIEW = {"type": "object", "description": f"An AdmissionReview of {API_VERSION}."}
_BODY = {"required": True, "content": {"application/json": {"schema": _REVIEW}}}
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_DEFAULT_S = 10.0  # as the API server's own
_MARGIN_S = 1.0  # for the way back

Patience = Annotated[
    str | None,
    Query(alias="timeout", max_length=16, description="How long the API server waits: 10s."),
]

DefaultName = Annotated[
    str, Path(max_length=63, description="NAMESPACE.NAME[.VERSION], as the label has it.")
]
Target = Annotated[
    str | None,
    Query(
        max_length=63, description="Where the cluster pulls from; KITBAG_CLUSTER_TARGET by default."
    ),
]

router = APIRouter(
    prefix="/admission",
    tags=["admission"],
    dependencies=[CallerDep],
    responses=declared(
        Slug.INVALID_REQUEST, Slug.UNAUTHORIZED, Slug.FORBIDDEN, Slug.TOO_LARGE, Slug.INTERNAL
    ),
)


@router.post(
    "/validate",
    operation_id="validate_admission",
    response_model=ReviewOut,
    openapi_extra={"requestBody": _BODY},
)
@router.post("/validate/{key}", include_in_schema=False)
async def validate(request: Request, services: ServicesDep) -> Reviewed:
    """Let an object run only what was built here (a validating webhook's AdmissionReview v1).

    Every image must have the digest of a version, or be one that the operator allows.
    """
    asked = await _read(request)
    answer = await services.admission.validate(asked)
    return _counted(services, "validate", asked, answer)


@router.post(
    "/default/{environment}",
    operation_id="admit_with_default",
    response_model=ReviewOut,
    openapi_extra={"requestBody": _BODY},
)
@router.post("/default/{environment}/{key}", include_in_schema=False)
async def admit_with_default(
    request: Request,
    services: ServicesDep,
    environment: DefaultName,
    patience: Patience = None,
    target: Target = None,
) -> Reviewed:
    """The same for a namespace whose label names an environment.

    Notebooks, training jobs, experiments, Ray and Spark that ask for nothing get this one for their
    images without a digest; where that is not possible they pass with a warning.
    """
    try:
        default = EnvRef.parse_label(environment)
    except ValueError as error:
        raise ProblemError(Slug.INVALID_REQUEST, f"{error}.") from None
    return await _mutated(request, services, patience, target, default)


@router.post(
    "", operation_id="admit", response_model=ReviewOut, openapi_extra={"requestBody": _BODY}
)
@router.post("/{key}", include_in_schema=False)
async def admit(
    request: Request, services: ServicesDep, patience: Patience = None, target: Target = None
) -> Reviewed:
    """Put digests into an object (a mutating webhook's AdmissionReview v1).

    `kitbag://` references and `kitbag.dev/environment` become the digests that they stand for, as a
    JSON Patch with a `test` before each `replace`. An object that asks for nothing passes.
    """
    return await _mutated(request, services, patience, target)


async def _mutated(
    request: Request,
    services: Services,
    patience: str | None,
    target: str | None,
    default: EnvRef | None = None,
) -> Reviewed:
    asked = await _read(request)
    deadline = time.monotonic() + max(_seconds(patience) - _MARGIN_S, 0.1)
    at = services.settings.cluster_target if target is None else target
    answer = await services.admission.mutate(asked, deadline=deadline, default=default, target=at)
    return _counted(services, "mutate", asked, answer)


def _counted(services: Services, webhook: str, asked: ReviewRequest, answer: Answer) -> Reviewed:
    services.metrics.admissions.labels(webhook, answer.result).inc()
    return answer.review(asked.uid)


async def _read(request: Request) -> ReviewRequest:
    """The review's request; raises ProblemError for anything that is no AdmissionReview v1."""
    try:
        body = json.loads(await request.body())
    except RecursionError:
        raise ProblemError(
            Slug.INVALID_REQUEST, "The body is nested deeper than any object needs; send another."
        ) from None
    except ValueError:
        raise ProblemError(
            Slug.INVALID_REQUEST, "The body is not valid JSON; send an AdmissionReview."
        ) from None
    version = body.get("apiVersion") if isinstance(body, dict) else None
    if version != API_VERSION:
        raise ProblemError(
            Slug.INVALID_REQUEST,
            f"The body is no AdmissionReview of {API_VERSION} (its apiVersion is "
            f"{str(version)[:80]!r}); set admissionReviewVersions: [v1] in the webhook's "
            "configuration.",
        )
    try:
        return Review.model_validate(body).request
    except ValidationError as error:
        raise ProblemError(Slug.INVALID_REQUEST, sentence(error.errors())) from None


def _seconds(patience: str | None) -> float:
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)(ms|s|m)", patience or "")
    return float(found[1]) * _UNITS[found[2]] if found else _DEFAULT_S
