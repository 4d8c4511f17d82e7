"""Builds asked for, found and listed; `catalog.runs` is what a worker does with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import (
    BindParameter,
    ScalarSelect,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog import environments, events, names, turns
from catalog.allowance import Allowance, of_namespace
from catalog.build_models import LAYERED, Build, EventKind
from catalog.errors import BuildEndedError, BuildNotFoundError
from catalog.ids import new_id
from catalog.models import Base, Environment, Json, Version, VersionImage
from catalog.states import ACTIVE, BuildState, in_order
from catalog.types import utcnow
from telemetry import context, tracing

_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Reuse:
    """Which finished versions with the same key answer a request.

    `latest`: only the environment's newest, so that `latest` is what was asked for last.
    `base_digests`: only one whose images are on these bases. `current_base`: only one whose bases'
    names still mean the digests that it was built on.
    """

    allowed: bool = True
    latest: bool = False
    base_digests: frozenset[str] | None = None
    current_base: bool = False


ANY = Reuse()
NEVER = Reuse(allowed=False)


def request_build(
    session: Session,
    *,
    environment: str,
    request: Json,
    request_key: str,
    created_by: str = "",
    reuse: Reuse = ANY,
    reuse_key: str | None = None,
    early_key: str | None = None,
    allowance: Allowance | None = None,
    admit: Callable[[Session], None] = lambda _session: None,
) -> tuple[Build, bool]:
    """The build that answers the request, and whether it is a new one.

    An active build with the same `request_key`, or with `early_key`, is joined; else a finished
    version whose key is `reuse_key` (the same unless given) answers, as `reuse` allows; else a
    build is queued. However many ask at once, one build comes of it. It counts for the tenant of
    `allowance`, unless given the namespace; `admit`, alone with that tenant, may raise to refuse a
    new one. Raises InvalidNameError.
    """
    namespace, _ = names.split(environment)
    allowed = allowance or Allowance(of_namespace(namespace))
    lookup_key = reuse_key or request_key
    for _ in range(_ATTEMPTS):
        found = find(session, request_key, reuse=reuse, reuse_key=lookup_key, early_key=early_key)
        if found is not None:
            return found, False
        home = environments.get_or_create(session, environment)
        turns.lock_tenant(session, allowed.tenant)
        admit(session)
        build = Build(
            id=new_id(),
            environment_id=home.id,
            request=dict(request),
            request_key=request_key,
            reuse_key=lookup_key,
            created_by=created_by,
            turn=turns.next_turn(session, LAYERED, allowed.tenant),
            request_id=context.current().get("request"),
            traceparent=tracing.headers().get("traceparent"),
            **asdict(allowed),
        )
        try:
            with session.begin_nested() as attempt:
                session.add(build)
                session.flush()
                # The insert may have waited for the very build that ends now with a version.
                ready_id = _ready_id(lookup_key, reuse)
                ready = None if ready_id is None else session.scalar(select(ready_id))
                if ready is not None:
                    attempt.rollback()
        except IntegrityError:
            continue
        if ready is not None:  # here, since nothing may be read where a rollback has just been
            return get(session, ready), False
        events.append(
            session, build.id, EventKind.STATE, "Queued.", data={"state": BuildState.QUEUED}
        )
        return get(session, build.id), True
    raise RuntimeError(f"Builds of {environment} ended faster than this request could join one.")


def find(
    session: Session,
    request_key: str,
    *,
    reuse: Reuse = ANY,
    reuse_key: str | None = None,
    early_key: str | None = None,
) -> Build | None:
    """The build that `request_build` would return without making one, in one query.

    One query sees one moment, in which a build is either active or ready: two could miss both.
    """
    # Written out, not as parameters, or a database can't tell that the partial index holds them.
    states: BindParameter[list[str]] = bindparam(
        None, in_order(ACTIVE), expanding=True, literal_execute=True
    )
    keys = [request_key] if early_key is None else [request_key, early_key]
    active = and_(Build.request_key.in_(keys), Build.state.in_(states))
    ready = _ready_id(reuse_key or request_key, reuse)
    wanted = active if ready is None else or_(active, Build.id == ready)
    found = session.scalars(select(Build).where(wanted)).all()
    return max(found, key=lambda build: build.state in ACTIVE, default=None)


def _ready_id(key: str, reuse: Reuse) -> ScalarSelect[str] | None:
    """The id of the build that made the newest version which may answer, as a subquery."""
    if not reuse.allowed:
        return None
    statement = (
        select(Version.build_id)
        .where(Version.request_key == key)
        .order_by(Version.number.desc())
        .limit(1)
    )
    images = exists().where(VersionImage.version_id == Version.id)
    if reuse.base_digests is not None:
        statement = statement.where(
            ~images.where(VersionImage.base_digest.not_in(reuse.base_digests))
        )
    if reuse.current_base:
        current = exists().where(
            Base.name == VersionImage.base_name,
            Base.digest == VersionImage.base_digest,
            Base.current,
        )
        statement = statement.where(~images.where(~current))
    if reuse.latest:
        statement = statement.join(Environment, Environment.id == Version.environment_id).where(
            Environment.last_version == Version.number
        )
    return statement.scalar_subquery()


def get(session: Session, build_id: str) -> Build:
    """The build as it is in the database now; raises BuildNotFoundError."""
    build = session.get(Build, build_id, populate_existing=True)
    if build is None:
        raise BuildNotFoundError(
            f"There is no build {build_id[:100]!r}; check the id that `kitbag build` printed."
        )
    return build


def listing(
    session: Session,
    *,
    environment: str | None = None,
    state: BuildState | None = None,
    before: str | None = None,
    limit: int = 100,
) -> Sequence[Build]:
    """Builds, the newest first, with ids below `before`; raises EnvironmentNotFoundError."""
    statement = select(Build)
    if environment is not None:
        home = environments.get(session, environment)
        statement = statement.where(Build.environment_id == home.id)
    if state is not None:
        statement = statement.where(Build.state == state)
    if before is not None:
        statement = statement.where(Build.id < before)
    return session.scalars(statement.order_by(Build.id.desc()).limit(limit)).all()


def newest(session: Session, environment_ids: Collection[int]) -> Mapping[int, Build]:
    """The newest build of each of the environments that has one, in one query."""
    last = (
        select(func.max(Build.id))
        .where(Build.environment_id.in_(environment_ids))
        .group_by(Build.environment_id)
    )
    found = session.scalars(select(Build).where(Build.id.in_(last)))
    return {build.environment_id: build for build in found}


def at_work(session: Session, limit: int) -> Sequence[Build]:
    """At most `limit` builds that have not ended, the newest first."""
    statement = select(Build).where(Build.state.in_(ACTIVE)).order_by(Build.id.desc())
    return session.scalars(statement.limit(limit)).all()


def active(session: Session, environment: str) -> Sequence[Build]:
    """The environment's builds that have not ended; raises EnvironmentNotFoundError."""
    home = environments.get(session, environment)
    statement = select(Build).where(Build.environment_id == home.id, Build.state.in_(ACTIVE))
    return session.scalars(statement.order_by(Build.id)).all()


def request_cancel(session: Session, build_id: str) -> Build:
    """Cancel the build: at once while it is queued, else by telling its worker.

    Asking again changes nothing. Raises BuildNotFoundError, or BuildEndedError for one that is
    ready or failed.
    """
    now = utcnow()
    queued = session.execute(
        update(Build)
        .where(Build.id == build_id, Build.state == BuildState.QUEUED)
        .values(state=BuildState.CANCELLED, cancel_requested_at=now, ended_at=now)
        .returning(Build.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if queued is not None:
        state = BuildState.CANCELLED
        events.append(
            session, build_id, EventKind.DONE, "Cancelled before it began.", data=_ended(state)
        )
        return get(session, build_id)
    session.execute(
        update(Build)
        .where(
            Build.id == build_id,
            Build.state.in_(ACTIVE),
            Build.cancel_requested_at.is_(None),
        )
        .values(cancel_requested_at=now)
        .execution_options(synchronize_session=False)
    )
    build = get(session, build_id)
    if build.state in (BuildState.READY, BuildState.FAILED):
        raise BuildEndedError(
            f"The build {build_id} is already {build.state}; only an active build can be cancelled."
        )
    return build


def _ended(state: BuildState) -> dict[str, object]:
    return {"state": state, "image": None, "version": None, "error": None}
