"""What follows from the end of a build that a webhook began, and telling the forge of commits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx

from catalog import environments, hooks, statuses
from catalog.engine import reading, writing
from catalog.hook_models import CommitState, CommitStatus, Forge
from catalog.types import utcnow
from worker import forges, secrets
from worker.services import Services

log = logging.getLogger(__name__)

_AT_ONCE = 20
_LEASE = timedelta(minutes=2)
_FIRST_DELAY_S = 5
_MOST_DELAY_S = 1800
_GIVE_UP = timedelta(days=3)
_CONTEXT = "kitbag"

# What each forge calls the states.
_STATES: Mapping[Forge, Mapping[CommitState, str]] = {
    Forge.GITLAB: {CommitState.FAILURE: "failed", CommitState.PENDING: "running"},
    Forge.BITBUCKET: {
        CommitState.PENDING: "INPROGRESS",
        CommitState.SUCCESS: "SUCCESSFUL",
        CommitState.FAILURE: "FAILED",
    },
}


def settle(kit: Services) -> list[str]:
    """Do what follows from builds that ended; the ids of builds that begin now."""
    with reading(kit.engine) as session:
        if not hooks.has_ended(session):
            return []
    with writing(kit.engine) as session:
        return hooks.settle(session)


def expire(kit: Services) -> None:
    """Let the names of environments whose time is over stand for nothing."""
    with reading(kit.engine) as session:
        if not environments.has_due(session):
            return
    with writing(kit.engine) as session:
        for name in environments.expire_due(session):
            log.info("%s has expired", name)


def report(kit: Services) -> None:
    """Send what is due to the forges. What is not taken is sent again, later and later."""
    with reading(kit.engine) as session:
        if not statuses.has_due(session):
            return
    with writing(kit.engine) as session:
        due = statuses.due(session, _AT_ONCE, _LEASE)
        session.expunge_all()
    for row in due:
        taken = _sent(kit, row)
        with writing(kit.engine) as session:
            if taken:
                statuses.sent(session, row)
            else:
                statuses.again(session, row, _delay(row))


def _delay(row: CommitStatus) -> timedelta | None:
    if utcnow() - row.created_at > _GIVE_UP:
        log.warning("the status of commit %s is given up", row.commit)
        return None
    return timedelta(seconds=min(_FIRST_DELAY_S * 2 ** min(row.attempts, 16), _MOST_DELAY_S))


def _sent(kit: Services, row: CommitStatus) -> bool:
    hook = row.hook
    namespace = hook.environment.namespace
    secret = secrets.for_status(kit.settings, namespace, str(hook.status_secret))
    if secret is None:
        log.warning("no status for %s: there is no secret %s", hook.id, hook.status_secret)
        return False
    url, headers, body = _request(kit, row, secret)
    try:
        answer = forges.call(kit.settings, "POST", url, headers=headers, body=body)
    except httpx.HTTPError as error:
        log.warning("the forge of %s does not answer: %s", hook.id, type(error).__name__)
        return False
    if not answer.is_success:
        log.warning("the forge of %s answered a status with %s", hook.id, answer.status_code)
    return answer.is_success


def _request(
    kit: Services, row: CommitStatus, secret: secrets.SecretFile
) -> tuple[str, dict[str, str], dict[str, Any]]:
    """URL, headers and JSON of the call that sets a commit's status."""
    hook, forge = row.hook, Forge(row.hook.forge)
    state = CommitState(row.state)
    word = _STATES.get(forge, {}).get(state, state.value)
    root, api = secret.url.rstrip("/"), forges.api(forge, secret.url)
    path = hook.repository.partition("/")[2]
    assert secret.password is not None
    headers = forges.headers(forge, secret.password.get_secret_value())
    page = kit.settings.public_url
    link = f"{page.rstrip('/')}/builds/{row.build_id}" if page and row.build_id else None
    told = {"state": word, "description": row.description}
    if forge is Forge.GITLAB:
        where = f"{api}/projects/{quote(path, safe='')}/statuses/{row.commit}"
        return where, headers, told | {"name": _CONTEXT, **_if(target_url=link)}
    if forge is Forge.BITBUCKET:
        where = f"{api}/repositories/{path}/commit/{row.commit}/statuses/build"
        return where, headers, told | {"key": _CONTEXT, "url": link or root}
    body = told | {"context": _CONTEXT, **_if(target_url=link)}
    return f"{api}/repos/{path}/statuses/{row.commit}", headers, body


def _if(**members: str | None) -> dict[str, str]:
    return {name: value for name, value in members.items() if value is not None}
