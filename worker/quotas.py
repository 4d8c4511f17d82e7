"""How much each person and namespace may use: the operator's file of KITBAG_QUOTAS."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from catalog.allowance import Allowance

UNLIMITED = "unlimited"
_MAX_BYTES = 1 << 20
_GIB = 1 << 30


def _limit(value: object) -> object:
    """`unlimited` as None; null is none, since a forgotten value must not lift a limit."""
    if value == UNLIMITED:
        return None
    if value is None:
        raise ValueError(f"give a number, or {UNLIMITED!r}")
    return value


_Count = Annotated[Annotated[int, Field(ge=0, le=2**62)] | None, BeforeValidator(_limit)]
_Slots = Annotated[Annotated[int, Field(ge=1, le=2**31 - 1)] | None, BeforeValidator(_limit)]
_Seconds = Annotated[Annotated[float, Field(gt=0, le=30 * 86400)] | None, BeforeValidator(_limit)]
_Group = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Quota(BaseModel):
    """What one person, or a namespace where nobody is known, may use; None is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrent_builds: _Slots = Field(4, description="Builds worked on at the same time.")
    builds_a_day: _Count = Field(200, description="New builds within 24 hours.")
    stored_bytes: _Count = Field(100 * _GIB, description="What their builds added to the store.")
    image_bytes: _Count = Field(20 * _GIB, description="One image, its base included.")
    build_seconds: _Seconds = Field(3600.0, description="One build; the server's limit holds too.")
    weight: float = Field(1.0, gt=0, le=1000, description="The share of the workers.")

    def larger(self, other: Quota) -> Quota:
        """The larger of each limit."""
        return Quota.model_construct(
            **{name: _larger(getattr(self, name), getattr(other, name)) for name in _NAMES}
        )

    def allowance(self, tenant: str) -> Allowance:
        """What a build of the tenant takes along."""
        return Allowance(
            tenant,
            weight=self.weight,
            concurrent=self.concurrent_builds,
            build_seconds=self.build_seconds,
            image_bytes=self.image_bytes,
        )


_NAMES = tuple(Quota.model_fields)
NONE = Quota.model_validate(dict.fromkeys(set(_NAMES) - {"weight"}, UNLIMITED))
"""No limit at all."""


def _larger(one: Any, other: Any) -> Any:  # noqa: ANN401 # numbers of one kind, or None
    return None if one is None or other is None else max(one, other)


class Quotas(BaseModel):
    """The quota of everybody, and those of groups; what a group's leaves out is everybody's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: Quota = Quota()
    groups: dict[_Group, Quota] = Field({}, max_length=10_000)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The quotas of a TOML file; raises ValueError with a sentence, or OSError."""
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise ValueError("it is larger than 1 MiB")
        return cls.model_validate(tomllib.loads(text.decode()))

    def of(self, groups: Iterable[str]) -> Quota:
        """The quota of somebody who is in these groups: the largest of each limit."""
        found = self.default
        for name in groups:
            group = self.groups.get(name)
            if group is not None:
                own = {field: getattr(group, field) for field in group.model_fields_set}
                found = found.larger(self.default.model_copy(update=own))
        return found
