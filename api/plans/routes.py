"""/v1/plans."""

from __future__ import annotations

import asyncio
from functools import partial

from anyio import to_thread
from fastapi import APIRouter

from api.builds.body import OPENAPI_BODY, RequestDep
from api.plans import service
from api.plans.schemas import Plan
from api.problems import Slug, declared
from api.services import ServicesDep

router = APIRouter(prefix="/v1/plans", tags=["plans"])


@router.post(
    "",
    operation_id="create_plan",
    openapi_extra=OPENAPI_BODY,
    responses=declared(
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
    timeout_s = services.settings.plan_timeout_s
    call = partial(service.plan, services.engine, services.queue, asked, timeout_s)
    try:
        # Threads of their own: plans that wait for a worker may not hold up other requests.
        async with asyncio.timeout(timeout_s + 1):
            return await to_thread.run_sync(
                call, limiter=services.plan_slots, abandon_on_cancel=True
            )
    except TimeoutError as error:
        raise service.no_answer(timeout_s) from error
