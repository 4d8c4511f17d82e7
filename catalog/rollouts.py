"""Rollouts: registered on an environment, planned with each new version, and run by workers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, exists, or_, select, true, update
from sqlalchemy.orm import Session, aliased, selectinload, undefer

from catalog import environments
from catalog.errors import LostRolloutError, RolloutNotFoundError
from catalog.models import Json, Version, VersionImage
from catalog.rollout_models import Rollout, RolloutResult, RolloutRun, RunState
from catalog.text import storable
from catalog.types import ago, shared_now, utcnow
from catalog.upsert import insert_missing, insert_or_update

_OPEN = (RunState.PENDING, RunState.RUNNING)


@dataclass(frozen=True, slots=True)
class Order:
    """What to register: see `Rollout`."""

    namespace: str
    selector: str = ""
    objects: Sequence[Json] = ()
    restart: bool = False
    clone: bool = False
    force_conflicts: bool = False
    container: str | None = None
    acts_as: str = ""
    git: Json | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object."""

    api_version: str
    kind: str
    name: str
    state: str
    say: str
    before: Sequence[str] = ()
    copy: str | None = None


def add(session: Session, full_name: str, order: Order) -> Rollout:
    """Register a rollout, and plan it for the newest version; raises EnvironmentNotFoundError."""
    environment = environments.get(session, full_name)
    rollout = Rollout(
        environment_id=environment.id,
        namespace=order.namespace,
        selector=order.selector,
        objects=[dict(one) for one in order.objects],
        restart=order.restart,
        clone=order.clone,
        force_conflicts=order.force_conflicts,
        container=order.container,
        acts_as=order.acts_as,
        git=order.git,
    )
    session.add(rollout)
    session.flush()
    latest = session.scalars(
        select(Version).where(
            Version.environment_id == environment.id, Version.number == environment.last_version
        )
    ).one_or_none()
    if latest is not None:
        _plan(session, latest, [rollout.id])
    return rollout


def listing(session: Session, full_name: str) -> Sequence[tuple[Rollout, RolloutRun | None]]:
    """The rollouts of an environment with their newest runs; raises EnvironmentNotFoundError."""
    environment = environments.get(session, full_name)
    found = session.scalars(
        select(Rollout).where(Rollout.environment_id == environment.id).order_by(Rollout.id)
    ).all()
    return [(one, _last_run(session, one.id)) for one in found]


def get(session: Session, full_name: str, rollout_id: int) -> tuple[Rollout, RolloutRun | None]:
    """One rollout and its newest run; raises EnvironmentNotFoundError, RolloutNotFoundError."""
    environment = environments.get(session, full_name)
    rollout = session.scalars(
        select(Rollout).where(Rollout.id == rollout_id, Rollout.environment_id == environment.id)
    ).one_or_none()
    if rollout is None:
        raise RolloutNotFoundError(
            f"{environment.full_name} has no rollout {rollout_id}; list its rollouts to find it."
        )
    return rollout, _last_run(session, rollout.id)


def remove(session: Session, full_name: str, rollout_id: int) -> None:
    """Forget a rollout and its runs; the objects stay as they are. Raises like `get`."""
    rollout, _ = get(session, full_name, rollout_id)
    runs = select(RolloutRun.id).where(RolloutRun.rollout_id == rollout.id)
    session.execute(delete(RolloutResult).where(RolloutResult.run_id.in_(runs)))
    session.execute(delete(RolloutRun).where(RolloutRun.rollout_id == rollout.id))
    session.execute(delete(Rollout).where(Rollout.id == rollout.id))


def again(session: Session, full_name: str, rollout_id: int) -> tuple[Rollout, RolloutRun | None]:
    """Have the newest version tried again now, unless it is on its way; raises like `get`."""
    rollout, run = get(session, full_name, rollout_id)
    if run is None:
        return rollout, None
    session.execute(
        update(RolloutRun)
        .where(RolloutRun.id == run.id, RolloutRun.state != RunState.RUNNING)
        .values(state=RunState.PENDING, due_at=utcnow(), tries=0, ended_at=None)
        .execution_options(synchronize_session=False)
    )
    session.refresh(run)
    return rollout, run


def plan(session: Session, version: Version) -> None:
    """Plan a new version's way to each rollout of its environment, with the version's own commit.

    Older ones that wait are superseded.
    """
    found = session.scalars(
        select(Rollout.id).where(Rollout.environment_id == version.environment_id)
    ).all()
    _plan(session, version, found)


def _plan(session: Session, version: Version, rollout_ids: Sequence[int]) -> None:
    if not rollout_ids:
        return
    now = utcnow()
    session.execute(
        update(RolloutRun)
        .where(
            RolloutRun.rollout_id.in_(rollout_ids),
            RolloutRun.state == RunState.PENDING,
            RolloutRun.number < version.number,
        )
        .values(state=RunState.SUPERSEDED, ended_at=now)
        .execution_options(synchronize_session=False)
    )
    insert_missing(
        session,
        RolloutRun,
        [
            {
                "rollout_id": rollout_id,
                "version_id": version.id,
                "number": version.number,
                "state": RunState.PENDING,
                "due_at": now,
                "tries": 0,
                "attempt": 0,
                "problem": "",
                "created_at": now,
            }
            for rollout_id in rollout_ids
        ],
    )


def due(
    session: Session, silent: timedelta, *, cluster: bool = True, limit: int = 100
) -> Sequence[int]:
    """Runs whose time has come, and those whose worker gave no sign of life for that long.

    Without `cluster` only those to git repositories.
    """
    now = utcnow()
    return session.scalars(
        select(RolloutRun.id)
        .join(Rollout, Rollout.id == RolloutRun.rollout_id)
        .where(
            true() if cluster else Rollout.git.is_not(None),
            or_(
                (RolloutRun.state == RunState.PENDING) & (RolloutRun.due_at <= now),
                (RolloutRun.state == RunState.RUNNING)
                & (RolloutRun.heartbeat_at < ago(session, silent)),
            ),
        )
        .order_by(RolloutRun.id)
        .limit(limit)
    ).all()


def running(session: Session, *, cluster: bool = True) -> Sequence[tuple[int, str | None]]:
    """The runs that somebody works on, with who that is; as `due`."""
    rows = session.execute(
        select(RolloutRun.id, RolloutRun.worker)
        .join(Rollout, Rollout.id == RolloutRun.rollout_id)
        .where(
            RolloutRun.state == RunState.RUNNING,
            true() if cluster else Rollout.git.is_not(None),
        )
    )
    return [(row[0], row[1]) for row in rows]


def claim(
    session: Session, run_id: int, worker: str, silent: timedelta, *, dead: bool = False
) -> RolloutRun | None:
    """Take a run that is due; None if somebody works on it or on another run of its rollout.

    `dead` says that whoever has it is known to be dead.
    """
    now = utcnow()
    other = aliased(RolloutRun)
    sibling = exists(
        select(other.id).where(
            other.rollout_id == RolloutRun.rollout_id,
            other.id != RolloutRun.id,
            other.state == RunState.RUNNING,
            other.heartbeat_at >= ago(session, silent),
        )
    )
    left = RolloutRun.state == RunState.RUNNING
    if not dead:
        left = left & (RolloutRun.heartbeat_at < ago(session, silent))
    taken = session.execute(
        update(RolloutRun)
        .where(
            RolloutRun.id == run_id,
            or_((RolloutRun.state == RunState.PENDING) & (RolloutRun.due_at <= now), left),
            ~sibling,
        )
        .values(
            state=RunState.RUNNING,
            attempt=RolloutRun.attempt + 1,
            worker=worker,
            heartbeat_at=shared_now(session),
        )
        .returning(RolloutRun.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return None if taken is None else session.get_one(RolloutRun, taken, populate_existing=True)


def beat(session: Session, run_id: int, attempt: int) -> bool:
    """Say that the worker lives; whether this is still the newest version of the rollout.

    Raises LostRolloutError when the run was handed on or its rollout removed.
    """
    row = session.execute(
        update(RolloutRun)
        .where(
            RolloutRun.id == run_id,
            RolloutRun.attempt == attempt,
            RolloutRun.state == RunState.RUNNING,
        )
        .values(heartbeat_at=shared_now(session))
        .returning(RolloutRun.rollout_id, RolloutRun.number)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        raise LostRolloutError(f"The run {run_id} is no longer this worker's; stop working on it.")
    newer = select(RolloutRun.id).where(RolloutRun.rollout_id == row[0], RolloutRun.number > row[1])
    return session.scalars(newer.limit(1)).one_or_none() is None


def record(session: Session, run_id: int, attempt: int, outcome: Outcome) -> None:
    """Keep what became of an object, over what became of it before; raises LostRolloutError."""
    beat(session, run_id, attempt)
    insert_or_update(
        session,
        RolloutResult,
        {
            "run_id": run_id,
            "api_version": outcome.api_version,
            "kind": outcome.kind,
            "name": outcome.name,
            "state": outcome.state,
            "say": storable(outcome.say),
            "before": storable({"images": list(outcome.before)}),
            "copy": outcome.copy,
            "at": utcnow(),
        },
        key=("run_id", "api_version", "kind", "name"),
        update=("state", "say", "before", "copy", "at"),
    )


def forget_results(session: Session, run_id: int, attempt: int) -> None:
    """Before a run that says anew what became of everything; raises LostRolloutError."""
    beat(session, run_id, attempt)
    session.execute(delete(RolloutResult).where(RolloutResult.run_id == run_id))


def finish(
    session: Session,
    run_id: int,
    attempt: int,
    *,
    again_in: timedelta | None = None,
    superseded: bool = False,
    problem: str = "",
) -> None:
    """End a run, or have it tried again later; raises LostRolloutError."""
    beat(session, run_id, attempt)
    now = utcnow()
    values = {"worker": None, "heartbeat_at": None, "problem": storable(problem)}
    if superseded:
        values |= {"state": RunState.SUPERSEDED, "ended_at": now}
    elif again_in is None:
        values |= {"state": RunState.DONE, "ended_at": now}
    else:
        values |= {
            "state": RunState.PENDING,
            "due_at": now + again_in,
            "tries": RolloutRun.tries + 1,
        }
    session.execute(
        update(RolloutRun)
        .where(RolloutRun.id == run_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def successors(session: Session, version: Version) -> dict[str, str | None]:
    """By digest what the version has instead of each image that its environment ever had.

    That is the one for the same accelerator; None where the version has none for it.
    """
    has: dict[str, str] = {}
    for image in version.images:
        has.setdefault(image.accelerator, image.reference)
    rows = session.execute(
        select(VersionImage.digest, VersionImage.index_digest, VersionImage.accelerator)
        .join(Version, Version.id == VersionImage.version_id)
        .where(Version.environment_id == version.environment_id)
        .distinct()
    )
    return {
        digest: has.get(accelerator)
        for own, index, accelerator in rows
        for digest in (own, index)
        if digest is not None
    }


def predecessor(session: Session, version: Version, digests: Collection[str]) -> Version | None:
    """The newest version before, whole, that has an image or index of one of these digests."""
    held = exists(
        select(VersionImage.version_id).where(
            VersionImage.version_id == Version.id,
            or_(VersionImage.digest.in_(digests), VersionImage.index_digest.in_(digests)),
        )
    )
    return session.scalars(
        select(Version)
        .where(
            Version.environment_id == version.environment_id,
            Version.id != version.id,
            Version.digest != version.digest,
            held,
        )
        .options(selectinload(Version.images).options(undefer(VersionImage.packages)))
        .order_by(Version.number.desc())
        .limit(1)
    ).one_or_none()


def results(session: Session, run_id: int) -> Sequence[RolloutResult]:
    """What became of the objects of a run."""
    return session.scalars(
        select(RolloutResult)
        .where(RolloutResult.run_id == run_id)
        .order_by(RolloutResult.kind, RolloutResult.name)
    ).all()


def _last_run(session: Session, rollout_id: int) -> RolloutRun | None:
    return session.scalars(
        select(RolloutRun)
        .where(RolloutRun.rollout_id == rollout_id)
        .order_by(RolloutRun.number.desc())
        .limit(1)
    ).one_or_none()
