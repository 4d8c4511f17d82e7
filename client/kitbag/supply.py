"""What is in versions, and which versions something is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kitbag.transport import Transport

_PAGE = 1000


@dataclass(frozen=True)
class Holder:
    """A version that holds a package, and the releases of it that its images hold."""

    environment: str
    version: int
    image: str
    releases: tuple[str, ...]
    json: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


class Supply:
    """The supply chain of a server's versions; `Client.supply`.

    Raises what the client's methods raise.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def holders(self, requirement: str, *, every: bool = False) -> list[Holder]:
        """The latest versions, or every one, that hold a package such as `urllib3<2.5`."""
        found: list[Holder] = []
        after: str | None = None
        while True:
            page = self._transport.get(
                "/v1/packages",
                requirement=requirement,
                every="true" if every else None,
                limit=_PAGE,
                after=after,
            )
            found += [
                Holder(
                    environment=str(item["environment"]),
                    version=int(item["version"]),
                    image=str(item["image"]),
                    releases=tuple(map(str, item["releases"])),
                    json=item,
                )
                for item in page["items"]
            ]
            after = page["next"]
            if after is None:
                return found
