"""/v1/whoami and /v1/tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.concurrency import run_in_threadpool

from api.problems import Slug, declared
from api.services import EngineDep, PrincipalDep, ServicesDep
from api.tokens import service
from api.tokens.schemas import NewToken, TokenList, TokenOut, TokenWithSecret, WhoAmI

router = APIRouter(prefix="/v1/tokens", tags=["identity"])
who_router = APIRouter(prefix="/v1/whoami", tags=["identity"])

TokenId = Annotated[int, Path(ge=1, le=2**31 - 1)]


@who_router.get("", operation_id="whoami")
async def whoami(who: PrincipalDep) -> WhoAmI:
    """Who the server takes the caller for, and what they are where."""
    return WhoAmI.of(who)


@router.post("", operation_id="add_token", status_code=201)
def add_token(asked: NewToken, services: ServicesDep) -> TokenWithSecret:
    """Make a token; the answer alone has its secret, of which only a hash is kept.

    It is never good for more than whoever it belongs to is at the moment that it is used.
    """
    return service.add(services.engine, services.settings, services.who, asked)


@router.get("", operation_id="list_tokens")
def list_tokens(engine: EngineDep, who: PrincipalDep) -> TokenList:
    """The caller's tokens, and those of the namespaces whose admin they are."""
    return service.listed(engine, who)


@router.delete("/{id}", operation_id="remove_token", responses=declared(Slug.TOKEN_NOT_FOUND))
async def remove_token(id: TokenId, services: ServicesDep) -> TokenOut:  # noqa: A002
    """Revoke a token: here at once, at other replicas within five seconds."""
    revoked = await run_in_threadpool(service.revoke, services.engine, services.who, id)
    services.identity.tokens.forget()
    return revoked
