"""/v1/quota."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.builds.normal import DEFAULT_NAMESPACE
from api.quotas import service
from api.quotas.schemas import QuotaOut
from api.services import ServicesDep

router = APIRouter(prefix="/v1/quota", tags=["quota"])


@router.get("", operation_id="get_quota")
def get_quota(
    services: ServicesDep,
    namespace: Annotated[
        str, Query(max_length=63, description="Whose, on a server that knows no users.")
    ] = DEFAULT_NAMESPACE,
) -> QuotaOut:
    """What you may use, and what you use."""
    return service.show(services.engine, services.quotas, services.who, namespace)
