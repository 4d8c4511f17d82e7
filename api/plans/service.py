"""Ask a worker for a plan and compare it with what is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from anyio import to_thread
from pydantic import ValidationError
from sqlalchemy import Engine

from api.auth.principal import Role
from api.builds.normal import NormalRequest, keys
from api.environments.schemas import Package, PackageChange
from api.plans.schemas import Plan, WorkerPlan
from api.problems import ProblemError, Slug
from api.queue import PlanRefusedError, Queue
from api.services import Services
from catalog import diff, versions
from catalog.engine import reading
from catalog.errors import EnvironmentNotFoundError, VersionNotFoundError
from catalog.models import Json

log = logging.getLogger(__name__)


async def answered(services: Services, request: NormalRequest) -> Plan:
    """The plan for a request, waited for as long as the settings say.

    Raises like `plan`, and ProblemError where whoever asks may not build either.
    """
    services.who.require(Role.USER, request.environment.partition("/")[0])
    timeout_s = services.settings.plan_timeout_s
    user = services.who.user
    call = partial(plan, services.engine, services.queue, request, timeout_s, user)
    try:
        # Threads of their own: plans that wait for a worker may not hold up other requests.
        async with asyncio.timeout(timeout_s + 1):
            return await to_thread.run_sync(
                call, limiter=services.plan_slots, abandon_on_cancel=True
            )
    except TimeoutError as error:
        raise _no_answer(timeout_s) from error


def plan(engine: Engine, queue: Queue, request: NormalRequest, timeout_s: float, user: str) -> Plan:
    """The plan for a user's request; raises ProblemError, also with what the worker found wrong."""
    with reading(engine) as session:
        keys(session, request)  # an unknown base is told without a worker
    try:
        asked = {**request.data, "requested_by": user}
        answer = WorkerPlan.model_validate(queue.request_plan(asked, timeout_s))
    except PlanRefusedError as error:
        raise ProblemError.told(error.problem) from error
    except TimeoutError as error:
        raise _no_answer(timeout_s) from error
    except ValidationError as error:
        log.exception("a worker answered a plan that the API does not understand")
        raise ProblemError(
            Slug.INTERNAL, "The workers and the API are of different releases; update both."
        ) from error
    packages = [package.model_dump() for package in answer.packages]
    compared = diff.packages(_latest_packages(engine, request.environment), packages)
    told: dict[str, Any] = answer.model_dump()
    return Plan(
        **told,
        added=[Package.model_validate(package) for package in compared.added],
        removed=[Package.model_validate(package) for package in compared.removed],
        changed=[PackageChange.of(change) for change in compared.changed],
    )


def _no_answer(timeout_s: float) -> ProblemError:
    """No worker answered in time."""
    return ProblemError(
        Slug.UNAVAILABLE,
        f"No worker answered within {timeout_s:g} seconds; see /readyz, and try again.",
        status=504,
    )


def _latest_packages(engine: Engine, environment: str) -> Sequence[Json]:
    with reading(engine) as session:
        try:
            return versions.find(session, environment, whole=True).packages
        except (EnvironmentNotFoundError, VersionNotFoundError):
            return ()
