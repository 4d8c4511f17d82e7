"""/v1/packages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.packages import service
from api.packages.schemas import HolderPage
from api.services import EngineDep

router = APIRouter(prefix="/v1/packages", tags=["packages"])

_After = Annotated[
    str | None, Query(max_length=140, pattern=r"^[a-z0-9.-]+/[a-z0-9.-]+:[1-9][0-9]{0,8}$")
]


@router.get("", operation_id="list_holders")
def list_holders(
    requirement: Annotated[
        str, Query(min_length=1, max_length=500, description="Such as `urllib3<2.5`.")
    ],
    engine: EngineDep,
    every: Annotated[bool, Query(description="Every version, not the latest alone.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: _After = None,
) -> HolderPage:
    """Which environments hold a package in a range of versions."""
    return service.holding(engine, requirement, every=every, after=after, limit=limit)
