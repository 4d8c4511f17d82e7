"""Who may ask: an API server can't log in, so its secret may be the last part of the path."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import Depends, Path, Request

from api.auth.guard import require_loopback
from api.problems import ProblemError, Slug
from api.services import ServicesDep

Key = Annotated[str, Path(max_length=200, description="The value of KITBAG_ADMISSION_KEY.")]


async def require_caller(request: Request, services: ServicesDep) -> None:
    """Refuse a review without the key in its path, the key as bearer, or the service's token."""
    settings = services.settings
    given = [settings.admission_key, settings.api_token]
    wanted = [secret.get_secret_value() for secret in given if secret is not None]
    if not wanted:
        require_loopback(request)
        return
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    bearer = shown.strip() if kind.lower() == "bearer" else ""
    key = request.path_params.get("key", "")
    right = any(_same(bearer, secret) for secret in wanted)
    if settings.admission_key is not None:
        right = right or _same(key, settings.admission_key.get_secret_value())
    if not right:
        raise ProblemError(
            Slug.UNAUTHORIZED,
            "This server asks for its admission key; put the value of KITBAG_ADMISSION_KEY behind "
            "the path in the webhook's configuration, or send it as a bearer token.",
            headers={"WWW-Authenticate": 'Bearer realm="kitbag"'},
        )


def _same(shown: str, secret: str) -> bool:
    return secrets.compare_digest(shown.encode(errors="replace"), secret.encode())


CallerDep = Depends(require_caller)
