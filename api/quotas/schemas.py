"""Quotas as JSON."""

from __future__ import annotations

from pydantic import BaseModel, Field

from catalog.usage import Usage
from worker.quotas import Quota


class LimitsOut(BaseModel):
    """What may be used; null is no limit."""

    concurrent_builds: int | None
    builds_a_day: int | None
    stored_bytes: int | None
    image_bytes: int | None
    build_seconds: float | None
    weight: float = Field(description="The share of the workers, beside others who wait.")


class UsedOut(BaseModel):
    """What is used now."""

    running: int = Field(description="Builds that are worked on.")
    waiting: int = Field(description="Builds that wait for their turn.")
    builds_today: int = Field(description="New builds of the last 24 hours.")
    stored_bytes: int = Field(description="What their builds added to the store.")


class QuotaOut(BaseModel):
    """What one may use, and uses."""

    tenant: str = Field(description="Whom builds count for: user:NAME or namespace:NAME.")
    limits: LimitsOut
    used: UsedOut

    @classmethod
    def of(cls, tenant: str, quota: Quota, used: Usage) -> QuotaOut:
        """The quota as the API shows it."""
        return cls(
            tenant=tenant,
            limits=LimitsOut.model_validate(quota.model_dump()),
            used=UsedOut(
                running=used.running,
                waiting=used.waiting,
                builds_today=used.builds_today,
                stored_bytes=used.stored_bytes,
            ),
        )
