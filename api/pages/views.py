"""What the pages show, read from the catalog in as few queries as it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from api.builds.schemas import BuildOut, EventOut
from api.environments import service
from api.environments.schemas import DiffOut, EnvironmentOut, ImageOut, WholeVersion
from api.pages import snippets
from api.rollouts import service as rolling
from catalog import builds, environments, events
from catalog.build_models import Build, EventKind
from catalog.engine import reading
from catalog.errors import ImageNotFoundError
from catalog.states import ACTIVE, BuildState

PHASES = (BuildState.QUEUED, BuildState.RESOLVING, BuildState.BUILDING, BuildState.PUSHING)
_HISTORY = 50
_BUILDS = 10
_EVENTS = 1000
_AT_WORK = 20


@dataclass(frozen=True, slots=True)
class Row:
    """An environment in a list, with its newest build."""

    environment: EnvironmentOut
    build: BuildOut | None


def listing(
    engine: Engine, *, query: str, namespace: str | None, after: str | None, limit: int
) -> Mapping[str, Any]:
    """The environments whose names hold `query`, and what is being built."""
    with reading(engine) as session:
        found = environments.search(
            session, query=query, namespace=namespace, after=after, limit=limit + 1
        )
        shown = found[:limit]
        newest = builds.newest(session, [environment.id for environment, _ in shown])
        rows = [
            Row(EnvironmentOut.of(environment, latest), _listed(newest.get(environment.id)))
            for environment, latest in shown
        ]
        at_work = [_shown(build) for build in builds.at_work(session, _AT_WORK)]
    more = rows[-1].environment.name if len(found) > limit else None
    return {
        "rows": rows,
        "query": query,
        "namespace": namespace,
        "after": after,
        "next": more,
        "at_work": at_work,
    }


def environment(engine: Engine, name: str, *, before: int | None) -> Mapping[str, Any]:
    """One environment: its versions and its newest builds; raises EnvironmentNotFoundError."""
    found = service.get(engine, name)
    history = service.history(engine, name, before=before, limit=_HISTORY)
    with reading(engine) as session:
        newest = builds.listing(session, environment=name, limit=_BUILDS)
        return {
            "environment": found,
            "history": history.items,
            "next": history.next,
            "builds": [_shown(build) for build in newest],
            "snippets": snippets.of(found.latest) if found.latest else [],
            "rollouts": rolling.listing(engine, name).items,
        }


def version(
    engine: Engine, name: str, wanted: str, which: service.Which = service.DEFAULT
) -> Mapping[str, Any]:
    """One version: what is in one of its images and how that differs from the version before."""
    found = service.version(engine, name, wanted, which)
    shown = _image_of(found, which)
    diff = None
    if found.number > 1:
        before, after = str(found.number - 1), str(found.number)
        with suppress(ImageNotFoundError):  # the version before has no such image
            diff = service.compare(engine, name, before, after, which)
    packages = sorted(found.packages_list, key=lambda item: item.name)
    return {
        "version": found,
        "shown": shown,
        "packages": packages,
        "largest": max((item.size_bytes or 0 for item in packages), default=0),
        "diff": diff,
        "is_latest": service.get(engine, name).versions == found.number,
        "snippets": snippets.of(found),
        "layers_new": _new_layers(diff),
    }


def _image_of(found: WholeVersion, which: service.Which) -> ImageOut | None:
    """The image that the packages and layers are of; None where the version is but one."""
    accelerator, platform = which
    fitting = (
        image
        for image in found.images
        if accelerator in (None, image.accelerator) and platform in (None, image.platform)
    )
    return next(fitting, None) if len(found.images) > 1 else None


def _new_layers(diff: DiffOut | None) -> frozenset[str]:
    """The layers that the version before did not have."""
    return frozenset(layer.digest for layer in diff.layers_new) if diff else frozenset()


@dataclass(frozen=True, slots=True)
class Phase:
    """A step of a build, and whether it is over, under way, or to come."""

    name: str
    progress: str


def build(engine: Engine, build_id: str) -> Mapping[str, Any]:
    """One build and what it told so far; raises BuildNotFoundError."""
    with reading(engine) as session:
        row = builds.get(session, build_id)
        head = max(0, row.last_seq - _EVENTS)
        told = [EventOut.of(event) for event in events.after(session, build_id, head, _EVENTS)]
        shown = BuildOut.of(row)
    return {
        "build": shown,
        "active": shown.state in ACTIVE,
        "phases": phases(shown.state, told),
        "events": [event for event in told if event.kind is not EventKind.PROGRESS],
        "left_out": head,
        "last_seq": told[-1].seq if told else 0,
        "seconds": _seconds(shown.started_at, shown.ended_at),
    }


def phases(state: BuildState, told: Sequence[EventOut]) -> list[Phase]:
    """How far each phase is; one that failed is where the build was last."""
    reached = state
    if state not in PHASES and state is not BuildState.READY:
        states = [event.data.get("state") for event in told if event.kind is EventKind.STATE]
        passed = [item for item in PHASES if item.value in states]
        reached = passed[-1] if passed else BuildState.QUEUED
    at = len(PHASES) if reached is BuildState.READY else PHASES.index(reached)
    under_way = "now" if state in ACTIVE else "stopped"
    return [
        Phase(phase.value, "over" if number < at else under_way if number == at else "ahead")
        for number, phase in enumerate(PHASES)
    ]


def recent_builds(
    engine: Engine, *, state: BuildState | None, before: str | None, limit: int
) -> Mapping[str, Any]:
    """Builds of all environments, the newest first."""
    with reading(engine) as session:
        found = builds.listing(session, state=state, before=before, limit=limit + 1)
        items = [_shown(build) for build in found[:limit]]
    more = items[-1].id if len(found) > limit else None
    return {"builds": items, "state": state, "before": before, "next": more}


def request_of(engine: Engine, name: str) -> Mapping[str, Any]:
    """What the environment's newest build asked for; raises EnvironmentNotFoundError."""
    with reading(engine) as session:
        return builds.listing(session, environment=name, limit=1)[0].request


def _shown(build: Build) -> BuildOut:
    return BuildOut.of(build, listed=True)


def _listed(build: Build | None) -> BuildOut | None:
    return None if build is None else _shown(build)


def _seconds(started: datetime | None, ended: datetime | None) -> float | None:
    return None if started is None or ended is None else (ended - started).total_seconds()
