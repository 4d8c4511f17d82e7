"""Which namespaces a caller sees: a fence around every query of a session.

The scope travels with the engine (`within`), so that code which asks the catalog needs no argument
for it and none can forget it: what is outside is not found, as if it weren't there. It fences what
is read, updated and deleted; who may add what is for the caller to decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, event, false, or_, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.orm.attributes import InstrumentedAttribute
from sqlalchemy.orm.util import LoaderCriteriaOption

from catalog.build_models import Build
from catalog.hook_models import Hook
from catalog.models import Environment, Namespace, PackageName, Version
from catalog.rollout_models import Rollout
from catalog.target_models import EVERYWHERE, Target

_OPTION = "kitbag_scope"


@dataclass(frozen=True, slots=True)
class Scope:
    """Namespaces by name, and by what their names begin with."""

    names: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether every namespace is inside."""
        return "" in self.prefixes

    def holds(self, namespace: str) -> bool:
        """Whether the namespace is inside."""
        return namespace in self.names or namespace.startswith(self.prefixes or ("\0",))

    def clause(self, column: InstrumentedAttribute[str]) -> ColumnElement[bool]:
        """The same as a condition of a query."""
        clauses: list[ColumnElement[bool]] = [
            column.startswith(prefix, autoescape=True) for prefix in self.prefixes
        ]
        if self.names:
            clauses.append(column.in_(sorted(self.names)))
        return or_(*clauses) if clauses else false()


EVERYTHING = Scope(prefixes=("",))
NOTHING = Scope()


def within(engine: Engine, scope: Scope) -> Engine:
    """The same connections, for sessions that see what is in the scope."""
    return engine if scope.is_everything else engine.execution_options(**{_OPTION: scope})


def session_of(engine: Engine, *, expire_on_commit: bool, autoflush: bool) -> Session:
    """A session on the engine, fenced where the engine has a scope."""
    fenced = _OPTION in engine.get_execution_options()
    kind = _Fenced if fenced else Session
    return kind(engine, expire_on_commit=expire_on_commit, autoflush=autoflush)


class _Fenced(Session):
    """Adds the scope's conditions to every statement."""


@event.listens_for(_Fenced, "do_orm_execute")
def _fence(state: ORMExecuteState) -> None:
    # What is loaded for an object that was found has its options already.
    if not (state.is_column_load or state.is_relationship_load):
        scope: Scope = state.session.get_bind().get_execution_options()[_OPTION]
        state.statement = state.statement.options(*_criteria(scope))


def _criteria(scope: Scope) -> Sequence[LoaderCriteriaOption]:
    inside = scope.clause(Environment.namespace)
    environments = select(Environment.id).where(inside)
    owned = (Build, Version, Hook, Rollout)
    return [
        with_loader_criteria(Namespace, scope.clause(Namespace.name)),
        with_loader_criteria(Environment, inside),
        with_loader_criteria(PackageName, scope.clause(PackageName.namespace)),
        with_loader_criteria(
            Target, or_(Target.namespace == EVERYWHERE, scope.clause(Target.namespace))
        ),
        *(with_loader_criteria(kind, kind.environment_id.in_(environments)) for kind in owned),
    ]
