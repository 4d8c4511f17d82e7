"""Bases as JSON."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from catalog.models import Base


class BaseOut(BaseModel):
    """A named image, pinned by digest; `glibc` is empty for musl, `cuda` for none."""

    name: str
    image: str
    digest: str
    platform: str
    python: str | None
    glibc: str | None
    user: str | None
    cuda: str | None
    created_at: datetime

    @classmethod
    def of(cls, base: Base) -> BaseOut:
        """The base as the API shows it; `record` is the JSON value of `builder.model.Base`."""
        record = base.record
        glibc = record.get("glibc")
        return cls(
            name=base.name,
            image=base.image,
            digest=base.digest,
            platform=base.platform,
            python=(record.get("python") or {}).get("version"),
            glibc=".".join(str(part) for part in glibc) if glibc else None,
            user=record.get("user"),
            cuda=record.get("cuda"),
            created_at=base.created_at,
        )


class BaseList(BaseModel):
    """The bases by name."""

    items: list[BaseOut]
