"""What names stand for, many times a second: the catalog is asked only whether it is still so."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from anyio import Lock, fail_after, to_thread
from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as CatalogTimeoutError

from api.auth.principal import Principal
from api.environments import service
from api.environments.schemas import Resolved, ResolvedName, ResolveMany
from api.problems.kinds import slug_of
from api.problems.model import ProblemError
from catalog import environments
from catalog.engine import reading
from catalog.environments import Stamp
from catalog.errors import CatalogError

_MAX_KEPT = 20_000
_MAX_ASKED = 500  # environments in one question
_Key = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a name stands for, its JSON, and the entity tag of that."""

    resolved: Resolved
    body: bytes
    tag: str

    @classmethod
    def of(cls, resolved: Resolved) -> Answer:
        """The answer as it goes out."""
        tag = f'"{resolved.version}-{resolved.digest}{_place(resolved)}"'
        return cls(resolved, resolved.model_dump_json().encode(), tag)


def _place(resolved: Resolved) -> str:
    """What tells an answer from that before its target's registry or pull secret changed."""
    if resolved.target is None:
        return ""
    told = f"{resolved.image} {resolved.pull_secret}"
    return f"-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


@dataclass(slots=True)
class _Question:
    """Environments that are asked for together, and what the catalog says."""

    stamps: asyncio.Future[dict[str, Stamp]]
    names: set[str] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


class Resolver:
    """Answers of one server; used from the event loop.

    An answer is never older than its request: each waits for a question to the catalog that was
    put after it came. All that come while one is under way share the next, which only compares
    stamps, so that thousands of requests a second are some hundreds of small questions.
    """

    def __init__(self, engine: Engine, *, patience_s: float = 10.0) -> None:
        self._engine = engine
        self._patience_s = patience_s
        self._kept: OrderedDict[_Key, tuple[Stamp, Answer]] = OrderedDict()
        self._locks: dict[_Key, Lock] = {}
        self._next: _Question | None = None
        self._turn = Lock()

    async def resolve(self, who: Principal, name: str, accelerator: str | None = None) -> Answer:
        """What NAMESPACE/NAME[:VERSION] stands for; raises like `service.resolve`.

        A catalog that says nothing for `patience_s` is SQLAlchemy's TimeoutError. What `who` does
        not see isn't there.
        """
        _require_seen(who, name)
        key = (name, accelerator)
        stamp = await self._stamp(name.partition(":")[0])
        found = self._known(key, stamp)
        if found is not None:
            return found
        lock = self._locks.setdefault(key, Lock())
        try:
            async with lock:
                found = self._known(key, stamp)
                if found is None:
                    found = Answer.of(await to_thread.run_sync(service.resolve, self._engine, *key))
                    self._keep(key, stamp, found)
        finally:
            if not lock.statistics().tasks_waiting:
                self._locks.pop(key, None)
        return found

    async def near(self, who: Principal, name: str, accelerator: str | None, target: str) -> Answer:
        """What it stands for at a target, which the catalog is asked each time; raises likewise."""
        _require_seen(who, name)
        found = await to_thread.run_sync(service.resolve, self._engine, name, accelerator, target)
        return Answer.of(found)

    def _known(self, key: _Key, stamp: Stamp | None) -> Answer | None:
        kept = self._kept.get(key)
        return kept[1] if kept is not None and kept[0] == stamp else None

    def _keep(self, key: _Key, stamp: Stamp | None, answer: Answer) -> None:
        if stamp is None:
            return  # it was made since
        self._kept[key] = (stamp, answer)
        self._kept.move_to_end(key)
        while len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)

    async def _stamp(self, environment: str) -> Stamp | None:
        """The environment's stamp now; None where there is no such environment."""
        question = self._next
        if question is None or len(question.names) >= _MAX_ASKED:
            question = self._next = _Question(asyncio.get_running_loop().create_future())
            question.task = asyncio.create_task(self._put(question))
        question.names.add(environment)
        stamps = await asyncio.shield(question.stamps)
        return stamps.get(environment)

    async def _put(self, question: _Question) -> None:
        """Ask in turn: until the question before is answered, more environments may join."""
        async with self._turn:
            if self._next is question:
                self._next = None
            try:
                # A connection that hangs must not keep the next question from being put.
                with fail_after(self._patience_s):
                    stamps = await to_thread.run_sync(
                        self._read, sorted(question.names), abandon_on_cancel=True
                    )
            except TimeoutError:
                question.stamps.set_exception(CatalogTimeoutError("no answer in time"))
            except Exception as error:  # noqa: BLE001 - each of those who asked gets it
                question.stamps.set_exception(error)
            else:
                question.stamps.set_result(stamps)

    def _read(self, names: list[str]) -> dict[str, Stamp]:
        with reading(self._engine) as session:
            return environments.stamps(session, names)


def _require_seen(who: Principal, name: str) -> None:
    environment = name.partition(":")[0]
    if who.role_in(environment.partition("/")[0]) is None:
        raise environments.missing(environment)


async def many(resolver: Resolver, who: Principal, asked: ResolveMany) -> list[ResolvedName]:
    """What each of the names stands for: one question to the catalog, and one for each new name."""

    async def one(name: str) -> ResolvedName:
        try:
            if asked.target is None:
                found = await resolver.resolve(who, name, asked.accelerator)
            else:
                found = await resolver.near(who, name, asked.accelerator, asked.target)
        except CatalogError as error:
            told = ProblemError(slug_of(error.type), str(error)).as_problem()
            return ResolvedName(name=name, problem=told)
        return ResolvedName(name=name, resolved=found.resolved)

    return list(await asyncio.gather(*map(one, asked.names)))
