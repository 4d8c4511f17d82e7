"""/v1/audit, for those who may do everything everywhere."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.audit.schemas import AuditOut, AuditPage
from api.problems import ProblemError, Slug
from api.services import ServicesDep
from catalog import audit
from catalog.engine import reading

router = APIRouter(prefix="/v1/audit", tags=["audit"])

_Filter = Annotated[str | None, Query(max_length=500)]


@router.get("", operation_id="list_audit")
def list_audit(
    services: ServicesDep,
    user: _Filter = None,
    subject: _Filter = None,
    action: _Filter = None,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditPage:
    """Who did what, the newest first; of one user, environment or action if asked."""
    if not services.who.is_operator:
        raise ProblemError(
            Slug.FORBIDDEN,
            "The audit log tells of everybody; ask somebody who is admin of every namespace.",
        )
    with reading(services.engine) as session:
        found = audit.listing(
            session, user=user, subject=subject, action=action, before=before, limit=limit + 1
        )
        items = [AuditOut.of(line) for line in found[:limit]]
    return AuditPage(items=items, next=items[-1].id if len(found) > limit else None)
