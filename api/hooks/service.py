"""What a delivery does: verified, taken once, and turned into what is wanted of a branch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.auth.principal import Principal, Role
from api.builds.normal import keys, normalise
from api.builds.request import BuildRequest, checked_name
from api.hooks import forges, rules
from api.hooks.event import (
    Event,
    Other,
    Proposed,
    Pushed,
    Tagged,
    UnreadableError,
    repository_of,
)
from api.hooks.keys import secret_of, secrets_of
from api.hooks.schemas import (
    BranchRule,
    HookList,
    HookOut,
    HookWithSecret,
    NewHook,
    TagRule,
    Taken,
)
from api.problems import ProblemError, Slug
from api.settings import ApiSettings
from catalog import builds, hooks, names
from catalog.engine import reading, writing
from catalog.hook_models import Forge, Head, Hook
from catalog.hooks import Outcome, Push, Wanted
from catalog.types import utcnow

_BINDER = "binder"


def add(
    engine: Engine, settings: ApiSettings, who: Principal, environment: str, asked: NewHook
) -> HookWithSecret:
    """A new rule, with its secret.

    Raises ProblemError for one that could build nothing, or what `who` may not have built.
    """
    repository = repository_of(asked.url)
    if repository is None:
        raise ProblemError(
            Slug.GIT_REFUSED,
            "That is no git URL that is fetched from; give one such as https://HOST/OWNER/REPO.",
        )
    branches = [_rule(who, rule, environment, "branch") for rule in asked.branches]
    tags = [_rule(who, rule, environment, "tag") for rule in asked.tags]
    try:
        subdir = checked_name(asked.subdir) if asked.subdir else None
    except ValueError as error:
        raise ProblemError(Slug.INVALID_REQUEST, f"subdir: {error}.") from error
    with writing(engine) as session:
        hook = hooks.add(
            session,
            environment,
            forge=asked.forge.value,
            repository=repository,
            url=asked.url.strip(),
            subdir=subdir,
            branches=branches,
            tags=tags,
            pulls=asked.pulls,
            options=asked.options.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
            status_secret=asked.status_secret,
            created_by=who.user,
        )
        _wanted(session, hook, environment, "0" * 40, None)  # a request that can't be is told now
        return HookWithSecret(**HookOut.of(hook).model_dump(), secret=secret_of(settings, hook))


def _rule(who: Principal, rule: BranchRule | TagRule, own: str, hole: str) -> dict[str, str]:
    """The rule as the catalog keeps it; raises ProblemError for what `who` may not have built."""
    target = rule.environment or own
    namespace, _ = names.split(target.replace(f"{{{hole}}}", hole))
    if "{" in target.partition("/")[0]:
        raise ProblemError(
            Slug.INVALID_REQUEST,
            f"A {hole} may name the environment, not its namespace; write NS/…{{{hole}}}….",
        )
    who.require(Role.MAINTAINER, namespace)
    return {"pattern": rule.pattern, "environment": target}


def listed(engine: Engine, environment: str) -> HookList:
    """The rules of an environment; raises EnvironmentNotFoundError."""
    with reading(engine) as session:
        return HookList(items=[HookOut.of(hook) for hook in hooks.of(session, environment)])


def show(engine: Engine, settings: ApiSettings, environment: str, hook_id: str) -> HookWithSecret:
    """One rule and its secret; raises HookNotFoundError."""
    with reading(engine) as session:
        hook = _owned(session, environment, hook_id)
        return HookWithSecret(**HookOut.of(hook).model_dump(), secret=secret_of(settings, hook))


def renew(engine: Engine, settings: ApiSettings, environment: str, hook_id: str) -> HookWithSecret:
    """Another secret for the rule, from now on; raises HookNotFoundError."""
    with writing(engine) as session:
        hook = _owned(session, environment, hook_id)
        hook.generation += 1
        session.flush()
        return HookWithSecret(**HookOut.of(hook).model_dump(), secret=secret_of(settings, hook))


def remove(engine: Engine, environment: str, hook_id: str) -> HookOut:
    """Forget the rule, which is returned; raises HookNotFoundError."""
    with writing(engine) as session:
        known = HookOut.of(_owned(session, environment, hook_id))
        hooks.remove(session, hook_id)
    return known


def admit(
    engine: Engine, settings: ApiSettings, forge: Forge, hook_id: str, headers: Mapping[str, str]
) -> None:
    """Refuse, before its body is read, a delivery that could not be taken whatever is in it.

    Raises HookNotFoundError, and ProblemError for one that is sent by another forge or shows
    nothing that could prove where it is from.
    """
    with reading(engine) as session:
        hook = hooks.get(session, hook_id)
        secrets = secrets_of(settings, hook)
    right = any(forges.may_be_signed(forge, headers, secret) for secret in secrets)
    if hook.forge != forge or not right:
        raise _unsigned()


def _unsigned() -> ProblemError:
    return ProblemError(
        Slug.UNAUTHORIZED,
        "The delivery is not signed with this webhook's secret; copy it again from "
        "`kitbag hook show`.",
    )


def receive(
    engine: Engine,
    settings: ApiSettings,
    forge: Forge,
    hook_id: str,
    headers: Mapping[str, str],
    body: bytes,
) -> Taken:
    """Take a delivery; raises ProblemError for one that is unsigned or unreadable.

    Nothing of the body is read before it is known who sent it.
    """
    with reading(engine) as session:
        hook = hooks.get(session, hook_id)
        secrets = secrets_of(settings, hook)
    right = any(forges.is_signed(forge, headers, body, secret) for secret in secrets)
    if hook.forge != forge or not right:
        raise _unsigned()
    delivery = forges.delivery_of(forge, headers, body)
    name = forges.event_name(forge, headers)
    with reading(engine) as session:
        before = hooks.taken_before(session, hook_id, delivery)
        if before is not None:
            return _again(before.outcome)
    try:
        events = forges.read(forge, name, json.loads(body))
    except (UnreadableError, ValueError, RecursionError) as error:
        raise ProblemError(
            Slug.INVALID_REQUEST,
            f"This is not what {forge} sends for {name or 'an event'} ({error}); "
            "send it as application/json.",
            status=400,
        ) from error
    try:
        with writing(engine) as session:
            return _take(session, settings, hook_id, delivery, name, events)
    except IntegrityError:  # the same delivery at the same time: the other one took it
        with reading(engine) as session:
            taken = hooks.taken_before(session, hook_id, delivery)
            if taken is None:
                raise
            return _again(taken.outcome)


def _again(outcome: Mapping[str, Any]) -> Taken:
    build = outcome.get("build")
    return Taken(
        told=[str(outcome.get("told", ""))], builds=[build] if build else [], duplicate=True
    )


def _take(
    session: Session,
    settings: ApiSettings,
    hook_id: str,
    delivery: str,
    name: str,
    events: Sequence[Event],
) -> Taken:
    hook = hooks.get(session, hook_id)
    outcomes = [_handle(session, settings, hook, event) for event in events]
    last = next((each for each in reversed(outcomes) if each.build_id), outcomes[-1])
    hooks.take(session, hook, delivery, name, last)
    return Taken(
        told=[each.told for each in outcomes],
        builds=[each.build_id for each in outcomes if each.created and each.build_id],
    )


def _handle(session: Session, settings: ApiSettings, hook: Hook, event: Event) -> Outcome:
    if isinstance(event, Other):
        return Outcome(event.told)
    if hook.repository not in event.repositories:
        raise ProblemError(
            Slug.FORBIDDEN,
            f"This webhook is for {hook.repository} and not for the repository that sent it; "
            "make one for that with `kitbag hook add`.",
        )
    if isinstance(event, Proposed):
        return _proposed(session, settings, hook, event)
    if isinstance(event, Tagged):
        return _tagged(session, hook, event)
    return _pushed(session, hook, event)


def _pushed(session: Session, hook: Hook, event: Pushed) -> Outcome:
    ref = f"refs/heads/{event.branch}"
    if event.after is None:
        return hooks.forget(session, hook, ref, event.branch)
    environment = rules.environment_of_branch(hook, event.branch)
    if environment is None:
        return Outcome(f"No rule is for the branch {event.branch[:80]}.")
    relevant = rules.is_relevant(
        event.files, hook.subdir, whole_repository=_is_whole(session, hook, ref)
    )
    moved = Push(ref, event.branch, event.before, event.after, relevant)
    wanted = _wanted(session, hook, environment, event.after, event.branch)
    return hooks.push(session, hook, moved, wanted)


def _tagged(session: Session, hook: Hook, event: Tagged) -> Outcome:
    ref = f"{hooks.TAGS}{event.tag}"
    if event.commit is None:
        return hooks.forget(session, hook, ref, event.tag)
    environment = rules.environment_of_tag(hook, event.tag)
    if environment is None:
        return Outcome(f"No rule is for the tag {event.tag[:80]}.")
    wanted = _wanted(session, hook, environment, event.commit, event.tag)
    return hooks.tag(session, hook, Push(ref, None, None, event.commit), wanted)


def _proposed(session: Session, settings: ApiSettings, hook: Hook, event: Proposed) -> Outcome:
    ref = f"pull/{event.number}"
    if event.closed:
        return hooks.forget(session, hook, ref, None)
    if not hook.pulls:
        return Outcome("This webhook builds no pull requests.")
    if event.from_fork:
        # Its author may be anybody, and a build may use the namespace's secrets.
        return Outcome(f"{event.number} comes from a fork, and those are not built.")
    environment = rules.environment_of_pull(hook, event.number)
    wanted = replace(
        _wanted(session, hook, environment, event.commit, None),
        keep_until=utcnow() + timedelta(days=settings.pull_days),
    )
    return hooks.push(session, hook, Push(ref, None, None, event.commit), wanted)


def _wanted(
    session: Session, hook: Hook, environment: str, commit: str, branch: str | None
) -> Wanted:
    git = {"url": hook.url, "ref": commit, "subdir": hook.subdir, "branch": branch}
    asked = {"environment": environment, "source": {"git": git}} | dict(hook.options)
    try:
        request = normalise(BuildRequest.model_validate(asked), None)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False)) from error
    found = keys(session, request)
    return Wanted(environment, request.data, found.request_key, found.reuse_key)


def _is_whole(session: Session, hook: Hook, ref: str) -> bool:
    """Whether the branch's last image held the repository itself."""
    head = session.get(Head, (hook.id, ref))
    if head is None or head.build_id is None:
        return False
    return builds.get(session, head.build_id).way == _BINDER


def _owned(session: Session, environment: str, hook_id: str) -> Hook:
    """The hook, if it is this environment's; raises HookNotFoundError."""
    hook = hooks.get(session, hook_id)
    if hook.environment.full_name != environment:
        raise ProblemError(
            Slug.HOOK_NOT_FOUND,
            f"{environment} has no webhook {hook_id[:100]!r}; `kitbag hook ls {environment}` "
            "lists those it has.",
        )
    return hook
