"""/v1/bases."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.bases import service
from api.bases.schemas import BaseList, BaseOut
from api.problems import Slug, declared
from api.services import EngineDep

router = APIRouter(prefix="/v1/bases", tags=["bases"])


@router.get("", operation_id="list_bases")
def list_bases(engine: EngineDep) -> BaseList:
    """The bases that builds may name."""
    return service.every(engine)


@router.get("/{name:path}", operation_id="get_base", responses=declared(Slug.BASE_NOT_FOUND))
def get_base(name: Annotated[str, Path(max_length=255)], engine: EngineDep) -> BaseOut:
    """One base: the image that its name means now."""
    return service.get(engine, name)
