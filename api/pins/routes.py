"""/v1/pins."""

from __future__ import annotations

from fastapi import APIRouter

from api.pins import service
from api.pins.schemas import Pinned, PinRequest
from api.problems import Slug, declared
from api.services import ServicesDep

router = APIRouter(prefix="/v1/pins", tags=["pins"])


@router.post(
    "",
    operation_id="pin",
    responses=declared(
        *(Slug.TOO_LARGE, Slug.ENVIRONMENT_NOT_FOUND, Slug.VERSION_NOT_FOUND, Slug.SPEC_REFUSED),
        *(Slug.TARGET_NOT_FOUND, Slug.NOT_MIRRORED),
    ),
)
def pin(asked: PinRequest, services: ServicesDep) -> Pinned:
    """Write digests into a manifest: into the user's containers and `kitbag://` references.

    Every byte outside the image values, and of what is needed to pull them where asked for, stays
    as it is.
    """
    return service.pin(services.engine, services.kinds, asked)
