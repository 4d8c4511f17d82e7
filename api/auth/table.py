"""Which route needs which role, and where: all of them, or the server does not start.

A route is named by its method and the path that its router gives it; HEAD is like GET.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from api.auth.principal import Role


class Where(StrEnum):
    """Where the role is looked for."""

    OPEN = "open"
    """Nowhere: it tells nothing of anyone."""
    PROVEN = "proven"
    """Nowhere: the request proves itself, by a signature or a key of its own."""
    ANYWHERE = "anywhere"
    """Nowhere: whoever is known may ask, and is shown what is in the namespaces that they see."""
    PATH = "path"
    """In the namespace that is `{namespace}` in the path."""
    BUILD = "build"
    """In the namespace of the build that is `{build_id}` in the path."""
    REQUEST = "request"
    """In the namespaces that the body or the query names, for which the route's own code looks."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a route needs."""

    where: Where
    role: Role = Role.READER


_OPEN = Need(Where.OPEN)
_PROVEN = Need(Where.PROVEN)
_ANYWHERE = Need(Where.ANYWHERE)
_READ = Need(Where.PATH)
_MAINTAIN = Need(Where.PATH, Role.MAINTAINER)
_USE = Need(Where.REQUEST, Role.USER)

TABLE: Mapping[str, Need] = {
    # Builds and plans
    "POST /v1/builds": _USE,
    "GET /v1/builds": _ANYWHERE,
    "GET /v1/builds/{build_id}": Need(Where.BUILD),
    "DELETE /v1/builds/{build_id}": Need(Where.BUILD, Role.USER),
    "GET /v1/builds/{build_id}/events": Need(Where.BUILD),
    "POST /v1/plans": _USE,
    # Environments, versions, and what follows them
    "GET /v1/environments": _ANYWHERE,
    "GET /v1/environments/{namespace}/{name}": _READ,
    "PATCH /v1/environments/{namespace}/{name}": _MAINTAIN,
    "GET /v1/environments/{namespace}/{name}/versions": _READ,
    "GET /v1/environments/{namespace}/{name}/versions/{version:path}": _READ,
    "GET /v1/environments/{namespace}/{name}/diff": _READ,
    "POST /v1/environments/{namespace}/{name}/rollback": _MAINTAIN,
    "GET /v1/environments/{namespace}/{name}/rollouts": _READ,
    "POST /v1/environments/{namespace}/{name}/rollouts": _MAINTAIN,
    "GET /v1/environments/{namespace}/{name}/rollouts/{id}": _READ,
    "POST /v1/environments/{namespace}/{name}/rollouts/{id}/retry": _MAINTAIN,
    "DELETE /v1/environments/{namespace}/{name}/rollouts/{id}": _MAINTAIN,
    "GET /v1/environments/{namespace}/{name}/hooks": _READ,
    "POST /v1/environments/{namespace}/{name}/hooks": _MAINTAIN,
    # The answer has the hook's secret.
    "GET /v1/environments/{namespace}/{name}/hooks/{hook_id}": _MAINTAIN,
    "POST /v1/environments/{namespace}/{name}/hooks/{hook_id}/renew": _MAINTAIN,
    "DELETE /v1/environments/{namespace}/{name}/hooks/{hook_id}": _MAINTAIN,
    "GET /v1/resolve": Need(Where.REQUEST),
    "POST /v1/resolve": Need(Where.REQUEST),
    "POST /v1/pins": Need(Where.REQUEST),
    "POST /v1/verifications": _USE,
    "GET /v1/verifications/{id}": Need(Where.REQUEST),
    "POST /v1/rebases": Need(Where.REQUEST, Role.MAINTAINER),
    "GET /v1/rebases/{id}": Need(Where.REQUEST),
    "GET /v1/packages": _ANYWHERE,
    # Of the cluster's namespace: its service account is lent to whoever may build there.
    "POST /v1/launches": _USE,
    "GET /v1/launches/{id}": Need(Where.REQUEST),
    "POST /v1/restarts": _USE,
    "GET /v1/restarts/{id}": Need(Where.REQUEST),
    "POST /v1/uses": Need(Where.REQUEST),
    "GET /v1/uses/{id}": Need(Where.REQUEST),
    "GET /v1/bases": _ANYWHERE,
    "GET /v1/quota": _ANYWHERE,
    "GET /v1/status": _ANYWHERE,
    "GET /v1/audit": Need(Where.REQUEST, Role.ADMIN),
    "GET /v1/bases/{name:path}": _ANYWHERE,
    # Who asks; tokens are looked for among the caller's own
    "GET /v1/whoami": _ANYWHERE,
    "GET /v1/tokens": _ANYWHERE,
    "POST /v1/tokens": Need(Where.REQUEST, Role.ADMIN),
    "DELETE /v1/tokens/{id}": Need(Where.REQUEST, Role.ADMIN),
    "POST /v1/logins": _OPEN,
    "POST /v1/logins/{id}": _PROVEN,
    # Pages
    "GET /": _ANYWHERE,
    "GET /environments/{namespace}/{name}": _READ,
    "GET /environments/{namespace}/{name}/versions/{version:path}": _READ,
    "POST /environments/{namespace}/{name}/versions/{number}/rollback": _MAINTAIN,
    "POST /environments/{namespace}/{name}/offer": _MAINTAIN,
    "GET /environments/{namespace}/{name}/launch/{number}": _READ,
    "POST /environments/{namespace}/{name}/launch/{number}": _READ,
    "GET /launches/{id}": Need(Where.REQUEST),
    "POST /environments/{namespace}/{name}/uses": _READ,
    "GET /uses/{id}": Need(Where.REQUEST),
    "GET /status": _ANYWHERE,
    "GET /builds": _ANYWHERE,
    "GET /builds/{build_id}": Need(Where.BUILD),
    "POST /builds/{build_id}/cancel": Need(Where.BUILD, Role.USER),
    "POST /builds/{build_id}/again": Need(Where.BUILD, Role.USER),
    "GET /new": _ANYWHERE,
    "GET /new/packages": _ANYWHERE,
    "POST /new": _USE,
    "POST /new/plan": _USE,
    "GET /v1/launch/git": _ANYWHERE,
    "GET /v1/launch/git/{rest:path}": _ANYWHERE,
    "POST /v1/launch/git": _USE,
    "GET /v1/launch/env/{namespace}/{name}": _READ,
    "GET /sign-in": _OPEN,
    "POST /sign-in": _OPEN,
    "GET /sign-in/provider": _OPEN,
    "GET /sign-in/callback": _OPEN,
    "GET /sign-in/command": _ANYWHERE,
    "POST /sign-in/command": _ANYWHERE,
    "POST /sign-out": _OPEN,
    "GET /static": _OPEN,
    # Images
    "GET /v2/": _ANYWHERE,
    "GET /v2/{repo:path}/tags/list": Need(Where.REQUEST),
    "GET /v2/{repo:path}/manifests/{reference}": Need(Where.REQUEST),
    "GET /v2/{repo:path}/blobs/{digest}": Need(Where.REQUEST),
    # What is no person
    "POST /v1/hooks/{forge}": _PROVEN,
    "POST /admission": _PROVEN,
    "POST /admission/{key}": _PROVEN,
    "POST /admission/default/{environment}": _PROVEN,
    "POST /admission/default/{environment}/{key}": _PROVEN,
    "POST /admission/validate": _PROVEN,
    "POST /admission/validate/{key}": _PROVEN,
    "GET /healthz": _OPEN,
    "GET /readyz": _OPEN,
    "GET /metrics": _OPEN,
    "GET /openapi.json": _OPEN,
    "GET /docs": _OPEN,
    "GET /docs/oauth2-redirect": _OPEN,
}


def need_of(method: str, route: BaseRoute) -> Need:
    """What a route needs; raises KeyError for one that isn't in the table."""
    method = "GET" if method == "HEAD" else method
    return TABLE[f"{method} {getattr(route, 'path', '')}"]


def check(app: FastAPI) -> None:
    """Raise RuntimeError unless the table has each of the app's routes and nothing else."""
    found: set[str] = set()
    for context in iter_route_contexts(app.routes):
        path = getattr(context.original_route, "path", "")
        for method in context.methods or {"GET"}:  # what is mounted has no methods
            found.add(f"{'GET' if method == 'HEAD' else method} {path}")
    if found != TABLE.keys():
        missing = ", ".join(sorted(found - TABLE.keys())) or "nothing"
        vain = ", ".join(sorted(TABLE.keys() - found)) or "nothing"
        raise RuntimeError(
            f"api/auth/table.py must say what each route needs: it lacks {missing}, and has {vain} "
            "that is no route."
        )
