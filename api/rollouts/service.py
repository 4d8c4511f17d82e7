"""Registers rollouts and says what became of their objects; the workers do them."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from api.auth.principal import Principal, Role
from api.builds.request import GitSource
from api.problems import ProblemError, Slug
from api.rollouts.schemas import Register, RolloutList, RolloutOut
from api.settings import ApiSettings
from catalog import rollouts
from catalog.engine import reading, writing
from catalog.rollout_models import Rollout, RolloutRun


def listing(engine: Engine, name: str) -> RolloutList:
    """The rollouts of an environment; raises EnvironmentNotFoundError."""
    with reading(engine) as session:
        found = rollouts.listing(session, name)
        return RolloutList(items=[_shown(session, *row) for row in found])


def get(engine: Engine, name: str, rollout_id: int) -> RolloutOut:
    """One rollout; raises EnvironmentNotFoundError or RolloutNotFoundError."""
    with reading(engine) as session:
        return _shown(session, *rollouts.get(session, name, rollout_id))


def add(
    engine: Engine, settings: ApiSettings, who: Principal, name: str, asked: Register
) -> RolloutOut:
    """Register a rollout, which may be done in the name of who asks.

    Raises ProblemError where rollouts are off or nobody is to act, EnvironmentNotFoundError.
    """
    if asked.git is not None:
        GitSource(url=asked.git.url).check_url()
        place = asked.git.model_dump(mode="json")
        return _added(engine, name, rollouts.Order("", container=asked.container, git=place))
    if not settings.cluster:
        raise ProblemError(
            Slug.NO_CLUSTER,
            "This server is connected to no cluster; use 'kitbag rollout NS/NAME' with your own "
            "kubectl, or ask its operator for KITBAG_CLUSTER.",
        )
    acts_as = ""
    if settings.cluster_acts_as == "user":
        if who.cluster_user is None:
            raise ProblemError(
                Slug.FORBIDDEN,
                "Rollouts are done in the name of whoever asks, and this request doesn't say who "
                "that is; come through the proxy that adds it (KITBAG_USER_HEADER).",
            )
        acts_as = who.cluster_user
    elif asked.namespace is not None:
        # The account of that namespace is lent only to who decides what runs in it.
        who.require(Role.MAINTAINER, asked.namespace)
    order = rollouts.Order(
        namespace=asked.namespace or name.partition("/")[0],
        selector=asked.selector,
        objects=[one.model_dump() for one in asked.objects],
        restart=asked.restart,
        clone=asked.clone,
        force_conflicts=asked.force_conflicts,
        container=asked.container,
        acts_as=acts_as,
    )
    return _added(engine, name, order)


def _added(engine: Engine, name: str, order: rollouts.Order) -> RolloutOut:
    with writing(engine) as session:
        rollout = rollouts.add(session, name, order)
        return _shown(session, *rollouts.get(session, name, rollout.id))


def again(engine: Engine, name: str, rollout_id: int) -> RolloutOut:
    """Try the newest version again now; raises like `get`."""
    with writing(engine) as session:
        return _shown(session, *rollouts.again(session, name, rollout_id))


def remove(engine: Engine, name: str, rollout_id: int) -> None:
    """Forget a rollout; raises like `get`."""
    with writing(engine) as session:
        rollouts.remove(session, name, rollout_id)


def _shown(session: Session, rollout: Rollout, run: RolloutRun | None) -> RolloutOut:
    results = rollouts.results(session, run.id) if run is not None else []
    return RolloutOut.of(rollout, run, results)
