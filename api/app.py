"""The FastAPI application, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI
from sqlalchemy import Engine

from api import openapi
from api.admission.book import Book
from api.admission.policy import Policy
from api.admission.routes import router as admission
from api.admission.service import Admission
from api.admission.waiting import Waiting
from api.audit.journal import Journal
from api.audit.middleware import Audited
from api.audit.routes import router as audit
from api.auth import table
from api.auth.guard import show_lock
from api.auth.identity import Identity
from api.bases.routes import router as bases
from api.builds.follow import Hub
from api.builds.routes import router as builds
from api.cluster.routes import launches, restarts, uses
from api.environments.resolver import Resolver
from api.environments.routes import resolve_router as resolve
from api.environments.routes import router as environments
from api.health.routes import router as health
from api.health.routes import status
from api.health.service import Probe
from api.hooks.routes import deliveries
from api.hooks.routes import router as hooks
from api.http.body import BodyLimit
from api.http.last_resort import LastResort
from api.http.request_id import RequestId
from api.http.traced import Traced
from api.jobs.routes import rebases, verifications
from api.launcher.routes import router as launcher
from api.limits.guard import Limits, admitted
from api.login.routes import router as logins
from api.login.routes import sign_in_router
from api.metrics.middleware import Counted
from api.metrics.registry import Metrics
from api.packages.routes import router as packages
from api.pages.actions import router as page_actions
from api.pages.notebooks import router as notebook_pages
from api.pages.render import problem_page, static_files
from api.pages.routes import router as pages
from api.pins.routes import router as pins
from api.plans.routes import router as plans
from api.problems import Slug, declared, handlers, unreadable
from api.pulls.layout import Layout
from api.pulls.routes import router as pulls
from api.queue import Queue, WorkerQueue
from api.quotas.routes import router as quota
from api.quotas.service import Allotments
from api.rollouts.routes import router as rollouts
from api.services import Services
from api.settings import ApiSettings
from api.tokens.routes import router as tokens
from api.tokens.routes import who_router as whoami
from catalog.engine import make_engine
from kitbag.specs import Kinds, of_file
from telemetry import tracing
from telemetry.logs import hide_password
from telemetry.redact import hide
from worker.quotas import Quotas

_ANY_ROUTE = unreadable(400) | declared(
    Slug.INVALID_REQUEST, Slug.UNAUTHORIZED, Slug.FORBIDDEN, Slug.UNAVAILABLE, Slug.INTERNAL
)


def create_app(
    settings: ApiSettings, queue: Queue | None = None, *, broker_url: str | None = None
) -> FastAPI:
    """The API over a migrated catalog; `queue` is the workers' own unless another is given.

    Callers are counted in the Redis at `broker_url`, or not at all.

    Where `settings.asks` is false the caller must listen on loopback only. Raises KindsError for a
    table of kinds that can't be read, GrantsError and kitbag.live's AwayError where the settings of
    identity lead nowhere, and RuntimeError for a route of which `api.auth.table` does not say what
    it needs.
    """
    kinds = of_file(settings.kinds)
    _hide_secrets(settings)
    engine = make_engine(settings.database_url)
    queue = queue or WorkerQueue()
    tell_slots = CapacityLimiter(4)
    metrics = Metrics(engine, queue)
    quotas = Allotments(
        None if settings.quotas is None else Quotas.read(settings.quotas),
        lambda limit: metrics.refusals.labels(limit).inc(),
    )
    limits = None if broker_url is None else Limits(settings, broker_url, metrics)
    journal = Journal(engine, metrics.unaudited.inc)
    waiting = Waiting(engine, queue, tell_slots, quotas)
    services = Services(
        settings=settings,
        engine=engine,
        queue=queue,
        hub=Hub(engine, poll_s=settings.event_poll_s),
        metrics=metrics,
        layout=None if settings.layout is None else Layout(settings.layout),
        kinds=kinds,
        plan_slots=CapacityLimiter(settings.max_plans),
        tell_slots=tell_slots,
        admission=_admission(settings, kinds, engine, waiting),
        resolver=Resolver(engine),
        quotas=quotas,
        identity=Identity(settings, engine),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        tracing.start("kitbag-api")
        yield
        await services.hub.close()
        await journal.close()
        if limits is not None:
            await limits.close()
        await services.identity.close()
        engine.dispose()
        tracing.stop()

    app = FastAPI(
        title="Kitbag",
        version=version("kitbag-server"),
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(admitted)],
    )
    app.state.services = services
    app.state.limits = limits
    app.state.probe = Probe(engine, services.queue)
    for router in (
        *(builds, plans, rollouts, environments, hooks, resolve, pins, bases),
        *(verifications, rebases, packages, quota, audit, status, launches, restarts, uses),
        *(whoami, tokens),
    ):
        app.include_router(router, dependencies=[Depends(show_lock)], responses=_ANY_ROUTE)
    app.include_router(logins, responses=_ANY_ROUTE)
    for router in (pages, page_actions, notebook_pages, launcher, sign_in_router):
        app.include_router(router)
    app.mount("/static", static_files())
    app.state.problem_page = problem_page
    app.include_router(admission, prefix="/v1")
    app.include_router(admission, include_in_schema=False)
    app.include_router(deliveries, responses=_ANY_ROUTE)
    app.include_router(pulls)
    app.include_router(health)
    table.check(app)
    handlers.install(app)
    openapi.install(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(LastResort)
    app.add_middleware(Audited, journal=journal)
    app.add_middleware(Counted, metrics=services.metrics)
    if tracing.wanted():
        app.add_middleware(Traced)
    app.add_middleware(RequestId)
    return app


def _hide_secrets(settings: ApiSettings) -> None:
    """Keep the settings' own secrets out of the log."""
    secrets = (
        *(settings.api_token, settings.hook_key, settings.hook_key_before),
        *(settings.admission_key, settings.oidc_client_secret),
    )
    hide(*(secret.get_secret_value() for secret in secrets if secret is not None))
    hide_password(settings.database_url)


def _admission(settings: ApiSettings, kinds: Kinds, engine: Engine, waiting: Waiting) -> Admission:
    """What decides about objects of a cluster."""
    path = settings.data / "admission.json"
    book = Book(engine, path, fresh_s=settings.admission_fresh_s)
    policy = Policy(
        environments=settings.admission_allow,
        images=settings.admission_images,
        exempt=settings.admission_exempt,
    )
    return Admission(book, policy, waiting, kinds, settings.admission_wait)
