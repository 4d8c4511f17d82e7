"""/v1/builds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.builds import service
from api.builds.body import OPENAPI_BODY, RequestDep
from api.builds.schemas import BuildOut, BuildPage, EventPage
from api.problems import ProblemError, Slug, declared, unreadable
from api.services import EngineDep, Services, ServicesDep
from catalog.states import ENDED, BuildState

router = APIRouter(prefix="/v1/builds", tags=["builds"])

BuildId = Annotated[str, Path(max_length=64, description="The build's id.")]
Before = Annotated[str | None, Query(max_length=64, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100)]
Seq = Annotated[int, Query(ge=0, le=2**31 - 1)]


@router.post(
    "",
    operation_id="create_build",
    status_code=202,
    openapi_extra=OPENAPI_BODY,
    responses={
        200: {"model": BuildOut, "description": "It is being built, or was built already."},
        **unreadable(415),
        **declared(
            Slug.TOO_LARGE,
            Slug.BASE_NOT_FOUND,
            Slug.GIT_REFUSED,
            Slug.DISK_FULL,
            Slug.QUOTA_EXCEEDED,
        ),
    },
)
async def create_build(
    asked: RequestDep, services: ServicesDep, response: Response, tasks: BackgroundTasks
) -> BuildOut:
    """Ask for an image of a git repository, of inline files, or of an uploaded folder.

    The answer comes at once; follow `events` or ask for the build again. The same request joins the
    build that is under way, and one that has a version already is answered with it.
    """
    build, created = await run_in_threadpool(
        service.submit, services.engine, services.who, asked, services.quotas
    )
    if created:
        tasks.add_task(service.tell, services.queue, services.tell_slots, build.id)
    else:
        response.status_code = 200
    response.headers["Location"] = f"/v1/builds/{build.id}"
    return build


@router.get("", operation_id="list_builds", responses=declared(Slug.ENVIRONMENT_NOT_FOUND))
def list_builds(
    engine: EngineDep,
    environment: Annotated[str | None, Query(max_length=127)] = None,
    state: BuildState | None = None,
    limit: Limit = 50,
    before: Before = None,
) -> BuildPage:
    """Builds, the newest first; of one environment or in one state if asked."""
    return service.page(engine, environment=environment, state=state, before=before, limit=limit)


@router.get("/{build_id}", operation_id="get_build", responses=declared(Slug.BUILD_NOT_FOUND))
def get_build(build_id: BuildId, engine: EngineDep) -> BuildOut:
    """One build as it is now."""
    return service.get(engine, build_id)


@router.delete(
    "/{build_id}",
    operation_id="cancel_build",
    status_code=202,
    responses={
        200: {"model": BuildOut, "description": "It was cancelled before."},
        **declared(Slug.BUILD_NOT_FOUND, Slug.BUILD_ENDED),
    },
)
def cancel_build(build_id: BuildId, engine: EngineDep, response: Response) -> BuildOut:
    """Cancel a build: at once while it is queued, within seconds while it runs."""
    build, before = service.cancel(engine, build_id)
    if before:
        response.status_code = 200
    return build


@router.get(
    "/{build_id}/events",
    operation_id="follow_build",
    response_class=Response,
    responses={
        200: {
            "model": EventPage,
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "description": "Server-sent events, or a page of events for `Accept: "
            "application/json`.",
        },
        204: {"description": "The build has ended and every event was seen."},
        **declared(Slug.BUILD_NOT_FOUND, Slug.UNAVAILABLE),
    },
)
async def follow_build(
    build_id: BuildId,
    request: Request,
    services: ServicesDep,
    after: Seq = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=2**31 - 1)] = None,
) -> Response:
    """Follow a build, from its first event or from behind `Last-Event-ID`, up to `done`.

    Each event's name is its kind, its id its number, its data JSON. A comment comes when nothing
    else does. With `Accept: application/json` the events that are there, behind `after`.
    """
    seen = after if last_event_id is None else last_event_id
    if _wants_json(request):
        page = await run_in_threadpool(service.event_page, services.engine, build_id, seen)
        return JSONResponse(page.model_dump(mode="json"))
    state, last_seq = await run_in_threadpool(service.head, services.engine, build_id)
    if state in ENDED and seen >= last_seq:
        return Response(status_code=204)
    if services.hub.follower_count >= services.settings.max_followers:
        raise ProblemError(
            Slug.UNAVAILABLE,
            "This server has no room for more event streams; ask again in a minute.",
            headers={"Retry-After": "60"},
        )
    return EventSourceResponse(
        _stream(services, build_id, min(seen, last_seq)),
        ping=services.settings.event_heartbeat_s,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(services: Services, build_id: str, after: int) -> AsyncIterator[ServerSentEvent]:
    with services.metrics.followers.track_inprogress():
        async with aclosing(services.hub.follow(build_id, after)) as told:
            async for item in told:
                yield ServerSentEvent(data=item.text, event=item.kind, id=str(item.seq))


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/event-stream" not in accept
