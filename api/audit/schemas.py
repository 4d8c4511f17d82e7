"""Lines of the audit log as JSON."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from catalog.audit_models import AuditLine


class AuditOut(BaseModel):
    """A request that changed something, or would have."""

    id: int
    at: datetime
    user: str = Field(description="Who, as their token says; empty for a token that nobody has.")
    kind: str = Field(description="How it was known who they are.")
    address: str = Field(description="Where the request came from.")
    action: str = Field(description="What the API calls it, such as create_build.")
    target: str = Field(description="The path that it was sent to.")
    subject: str = Field(description="The environment that it was about, if one.")
    status: int = Field(description="How it was answered.")
    made: str = Field(description="Where what came of it is, or the slug of what refused it.")
    request: str = Field(description="The request's id, as in the log.")

    @classmethod
    def of(cls, line: AuditLine) -> AuditOut:
        """The line as the API shows it."""
        return cls(
            id=line.id,
            at=line.at,
            user=line.user,
            kind=line.kind,
            address=line.address,
            action=line.action,
            target=line.target,
            subject=line.subject,
            status=line.status,
            made=line.made,
            request=line.request_id,
        )


class AuditPage(BaseModel):
    """Lines, the newest first; `next` is the `before` of the next page."""

    items: list[AuditOut]
    next: int | None
