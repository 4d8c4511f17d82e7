"""/healthz, /readyz and /metrics, which tell nothing of anyone, and /v1/status for who is known."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.health.schemas import Alive, Readiness, Status
from api.health.service import Probe
from api.services import ServicesDep

router = APIRouter(tags=["health"])
status = APIRouter(prefix="/v1/status", tags=["health"])


@router.get("/healthz", operation_id="get_health")
async def get_health() -> Alive:
    """The process is alive; restart it when this doesn't answer."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="get_readiness",
    responses={503: {"model": Readiness, "description": "A part is missing; it says which."}},
)
def get_readiness(request: Request, response: Response) -> Readiness:
    """Whether builds are taken and built: the catalog, the queue, and a worker that answers."""
    probe: Probe = request.app.state.probe
    found = probe.readiness()
    response.status_code = 200 if found.ready else 503
    return found


@status.get("", operation_id="get_status")
def get_status(request: Request) -> Status:
    """How the whole service is: its parts, every worker with its engine, and what waits."""
    probe: Probe = request.app.state.probe
    return probe.status()


@router.get("/metrics", operation_id="get_metrics", response_class=Response)
def get_metrics(services: ServicesDep) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(generate_latest(services.metrics.registry), media_type=CONTENT_TYPE_LATEST)
