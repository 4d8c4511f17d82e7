"""Webhooks of environments: which repository's pushes build them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kitbag.errors import KitbagError
from kitbag.refs import EnvRef

if TYPE_CHECKING:
    from kitbag.transport import Transport
    from kitbag.versions import Json

FORGES = ("github", "gitlab", "gitea", "bitbucket")

# What to choose in the forge, beside the address and the secret.
EVENTS = {
    "github": "content type application/json; events: pushes, and pull requests if they are built",
    "gitlab": "the secret token; triggers: push events, and tag push and merge request events if "
    "they are built",
    "gitea": "POST, application/json; events: push, and pull request if they are built",
    "bitbucket": "triggers: repository push, and pull request created, updated, merged, declined "
    "if they are built",
}


@dataclass(frozen=True)
class Hook:
    """A webhook; `url` is where the forge sends to, `secret` is None in lists."""

    id: str
    environment: str
    forge: str
    repository: str
    branches: tuple[str, ...]
    tags: tuple[str, ...]
    pulls: bool
    url: str
    secret: str | None = field(repr=False)
    json: Json = field(repr=False, compare=False)


class Hooks:
    """The webhooks of a server; `Client.hooks`. Raises what the client's methods raise."""

    def __init__(self, transport: Transport, server: str) -> None:
        self._transport = transport
        self._server = server.rstrip("/")

    def add(
        self,
        environment: str,
        repository: str,
        forge: str,
        *,
        branches: Sequence[str] = (),
        tags: Sequence[str] = (),
        subdir: str | None = None,
        pulls: bool = False,
        accelerator: str | None = None,
        python: str | None = None,
        status_secret: str | None = None,
    ) -> Hook:
        """Let pushes to the repository build the environment.

        A branch is a name or a pattern, `release/*` or `release/*=NS/NAME-{branch}`: those that fit
        build that other environment. A tag is written alike, with {tag}, and becomes a name of the
        version of its commit.
        """
        chosen: dict[str, Any] = {
            "subdir": subdir,
            "branches": [_rule(branch) for branch in branches],
            "tags": [_rule(tag) for tag in tags],
            "options": _given(accelerator=accelerator, python=python),
            "status_secret": status_secret,
        }
        body = {"forge": forge, "url": repository, "pulls": pulls} | _given(**chosen)
        return self._hook(self._transport.post(_path(environment), body))

    def all(self, environment: str) -> list[Hook]:
        """The environment's webhooks, without their secrets."""
        return [self._hook(item) for item in self._transport.get(_path(environment))["items"]]

    def get(self, environment: str, hook_id: str) -> Hook:
        """One webhook and its secret."""
        return self._hook(self._transport.get(f"{_path(environment)}/{hook_id}"))

    def renew(self, environment: str, hook_id: str) -> Hook:
        """The webhook with another secret; the old one is worth nothing from now on."""
        return self._hook(self._transport.post(f"{_path(environment)}/{hook_id}/renew", {}))

    def remove(self, environment: str, hook_id: str) -> Hook:
        """Forget the webhook, and return what it was; versions that it made stay."""
        return self._hook(self._transport.delete(f"{_path(environment)}/{hook_id}"))

    def _hook(self, data: Json) -> Hook:
        return Hook(
            id=str(data["id"]),
            environment=str(data["environment"]),
            forge=str(data["forge"]),
            repository=str(data["url"]),
            branches=tuple(_written(rule, str(data["environment"])) for rule in data["branches"]),
            tags=tuple(_written(rule, str(data["environment"])) for rule in data["tags"]),
            pulls=bool(data["pulls"]),
            url=self._server + str(data["path"]),
            secret=data.get("secret"),
            json=data,
        )


def _rule(text: str) -> dict[str, str | None]:
    """The rule that PATTERN[=NS/NAME] is."""
    pattern, _, target = text.partition("=")
    return {"pattern": pattern, "environment": target or None}


def _written(rule: Json, own: str) -> str:
    """The rule as it is given to `add`."""
    target = rule.get("environment")
    return str(rule["pattern"]) + (f"={target}" if target and target != own else "")


def _path(environment: str) -> str:
    try:
        ref = EnvRef.parse(environment)
    except ValueError as error:
        raise KitbagError(str(error)) from error
    return f"/v1/environments/{ref.namespace}/{ref.name}/hooks"


def _given(**members: Any) -> dict[str, Any]:  # noqa: ANN401 # JSON
    return {name: value for name, value in members.items() if value}
