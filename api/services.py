"""What the routes of one app share, handed to them as a dependency."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request
from sqlalchemy import Engine

from api.admission.service import Admission
from api.auth.identity import Identity
from api.auth.principal import SERVER, Principal
from api.builds.follow import Hub
from api.environments.resolver import Resolver
from api.metrics.registry import Metrics
from api.pulls.layout import Layout
from api.queue import Queue
from api.quotas.service import Allotments
from api.settings import ApiSettings
from catalog.scope import within
from kitbag.specs import Kinds


@dataclass(frozen=True, slots=True)
class Services:
    """Made once an app; all of it may be used from several threads.

    Routes get it as `who` asks sees it: with an engine that is fenced by their scope. The hub, the
    resolver and admission see all, and whoever asks them says for whom.
    """

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
    quotas: Allotments
    identity: Identity
    who: Principal = SERVER

    def seen_by(self, who: Principal) -> Services:
        """The same for somebody."""
        return replace(self, engine=within(self.engine, who.scope), who=who)


async def _principal(request: Request) -> Principal:
    who: Principal = request.state.principal
    return who


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services.seen_by(request.state.principal)


async def _engine(request: Request) -> Engine:
    services: Services = request.app.state.services
    who: Principal = request.state.principal
    return within(services.engine, who.scope)


async def _resolver(request: Request) -> Resolver:
    services: Services = request.app.state.services
    return services.resolver


PrincipalDep = Annotated[Principal, Depends(_principal)]
ServicesDep = Annotated[Services, Depends(_services)]
EngineDep = Annotated[Engine, Depends(_engine)]
ResolverDep = Annotated[Resolver, Depends(_resolver)]
