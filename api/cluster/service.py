"""Tells the workers what to ask of the cluster, in whose name, and says what came of it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin

from api.audit import subject
from api.auth.principal import Role
from api.cluster.schemas import (
    MAX_NAME_CHARS,
    Launch,
    Launching,
    Looking,
    Restart,
    Restarting,
    Uses,
)
from api.jobs import service as jobs
from api.problems import ProblemError, Slug
from api.services import Services
from catalog import uses, versions
from catalog.engine import reading

LAUNCH = "launch"
RESTART = "restart"
USES = "uses"


def launch(services: Services, asked: Launch, user: str | None) -> Launching:
    """Begin to start a notebook; `user` is whom the proxy in front says to be asking.

    Raises ProblemError where there is no cluster or nobody is to act, and like `find`.
    """
    exact = _exact(services, asked.version)
    environment = exact.partition(":")[0]
    namespace = asked.namespace or environment.partition("/")[0]
    acts_as = _acts_as(services, user, namespace)
    name = asked.name or derived(environment.partition("/")[2])
    arguments = asked.model_dump(mode="json") | {
        "version": exact,
        "namespace": namespace,
        "name": name,
        "acts_as": acts_as,
    }
    return _launching(services, jobs.begin(services.queue, LAUNCH, arguments))


def launching(services: Services, job_id: str) -> Launching:
    """How far a launch is; raises ProblemError."""
    return _launching(services, jobs.found(services.queue, services.who, LAUNCH, job_id))


def restart(services: Services, asked: Restart, user: str | None) -> Restarting:
    """Begin to give a Notebook a version; raises likewise."""
    exact = _exact(services, asked.version)
    arguments = asked.model_dump() | {
        "version": exact,
        "acts_as": _acts_as(services, user, asked.namespace),
    }
    return Restarting.model_validate(jobs.begin(services.queue, RESTART, arguments))


def restarting(services: Services, job_id: str) -> Restarting:
    """How far that is; raises ProblemError."""
    return Restarting.model_validate(jobs.found(services.queue, services.who, RESTART, job_id))


def look(services: Services, asked: Uses, user: str | None) -> Looking:
    """Begin to look for what runs an environment; raises likewise."""
    with reading(services.engine) as session:
        namespaces = uses.namespaces(session, asked.environment)
    subject.note(asked.environment)
    arguments = {
        "version": asked.environment,
        "namespaces": namespaces,
        "acts_as": _acts_as(services, user, None),
    }
    return Looking.model_validate(jobs.begin(services.queue, USES, arguments))


def looking(services: Services, job_id: str) -> Looking:
    """What was found; raises ProblemError."""
    return Looking.model_validate(jobs.found(services.queue, services.who, USES, job_id))


def environment_of(services: Services, job_id: str) -> str:
    """Which environment a search is about; raises ProblemError."""
    job = jobs.found(services.queue, services.who, USES, job_id)
    return str(job["arguments"]["version"])


def derived(name: str) -> str:
    """The nearest name that a notebook can have, such as nb-3dgan for 3dgan."""
    begun = name if re.match("[a-z]", name) else f"nb-{name}"
    return begun[:MAX_NAME_CHARS].rstrip("-")


def _exact(services: Services, name: str) -> str:
    """NS/NAME:NUMBER of what the name means now."""
    with reading(services.engine) as session:
        found = versions.resolve(session, name)
        subject.note(found.environment.full_name)
        return f"{found.environment.full_name}:{found.number}"


def _acts_as(services: Services, user: str | None, namespace: str | None) -> str:
    """In whose name the cluster is asked; empty for the service account of the namespace.

    That account is lent only to who may build in the Kitbag namespace of the same name.
    """
    settings = services.settings
    if not settings.cluster:
        raise ProblemError(
            Slug.NO_CLUSTER,
            "This server is connected to no cluster; ask its operator for KITBAG_CLUSTER.",
        )
    if settings.cluster_acts_as == "user":
        if not user:
            raise ProblemError(
                Slug.FORBIDDEN,
                "It is done in the name of whoever asks, and this request doesn't say who that is; "
                "come through the proxy that adds it (KITBAG_USER_HEADER).",
            )
        return user
    if namespace is not None:
        services.who.require(Role.USER, namespace)
    return ""


def _launching(services: Services, job: dict[str, Any]) -> Launching:
    made, base = Launching.model_validate(job), services.settings.kubeflow_url
    if made.result is not None and base:
        made.result.url = urljoin(base, made.result.path)
    return made
