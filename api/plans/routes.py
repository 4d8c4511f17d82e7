"""/v1/plans."""

from __future__ import annotations

from fastapi import APIRouter

from api.builds.body import OPENAPI_BODY, RequestDep
from api.plans import service
from api.plans.schemas import Plan
from api.problems import Slug, declared, unreadable
from api.services import ServicesDep

router = APIRouter(prefix="/v1/plans", tags=["plans"])


@router.post(
    "",
    operation_id="create_plan",
    openapi_extra=OPENAPI_BODY,
    responses=unreadable(415)
    | declared(
        Slug.TOO_LARGE,
        Slug.BASE_NOT_FOUND,
        Slug.UNRESOLVABLE,
        Slug.NO_WHEEL,
        Slug.STORE_UNREACHABLE,
        Slug.TIMED_OUT,
    ),
)
async def create_plan(asked: RequestDep, services: ServicesDep) -> Plan:
    """What would be built: which way and why, what is known already, how many bytes would move.

    The request is that of `POST /v1/builds`; nothing is built or kept.
    """
    return await service.answered(services, asked)
