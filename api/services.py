"""What the routes of one app share, handed to them as a dependency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request
from sqlalchemy import Engine

from api.admission.service import Admission
from api.builds.follow import Hub
from api.environments.resolver import Resolver
from api.metrics.registry import Metrics
from api.pulls.layout import Layout
from api.queue import Queue
from api.settings import ApiSettings
from kitbag.specs import Kinds


@dataclass(frozen=True, slots=True)
class Services:
    """Made once an app; all of it may be used from several threads."""

    settings: ApiSettings
    engine: Engine
    queue: Queue
    hub: Hub
    metrics: Metrics
    layout: Layout | None
    kinds: Kinds
    plan_slots: CapacityLimiter
    tell_slots: CapacityLimiter
    admission: Admission
    resolver: Resolver


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _engine(request: Request) -> Engine:
    services: Services = request.app.state.services
    return services.engine


async def _resolver(request: Request) -> Resolver:
    services: Services = request.app.state.services
    return services.resolver


ServicesDep = Annotated[Services, Depends(_services)]
EngineDep = Annotated[Engine, Depends(_engine)]
ResolverDep = Annotated[Resolver, Depends(_resolver)]
