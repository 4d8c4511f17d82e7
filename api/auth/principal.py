"""Who asks, and what they may do in which namespaces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from api.problems import ProblemError, Slug
from catalog.scope import Scope

EVERYWHERE = "*"


class Role(StrEnum):
    """What somebody is in a namespace; each may do what those before it may.

    A reader looks, follows, resolves, pins and pulls. A user builds, plans, cancels and verifies. A
    maintainer decides what runs: rolls back, offers, sets up webhooks and rollouts, rebases. An
    admin hands out tokens of the namespace.
    """

    READER = "reader"
    USER = "user"
    MAINTAINER = "maintainer"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Its place in the order."""
        return _ORDER[self]

    def covers(self, other: Role) -> bool:
        """Whether it is the other or more."""
        return self.rank >= other.rank


_ORDER = {role: number for number, role in enumerate(Role)}


class Kind(StrEnum):
    """How it is known who asks."""

    LOCAL = "local"
    """Nobody is asked: the server listens on loopback for one user."""
    OPERATOR = "operator"
    """Whoever shows KITBAG_API_TOKEN."""
    PERSON = "person"
    """The identity provider says so."""
    PROXIED = "proxied"
    """A trusted proxy says so, which asked for itself."""
    ACCOUNT = "account"
    """A service account of the cluster."""
    TOKEN = "token"  # noqa: S105 - no secret
    """A token of this server, of a person or of a namespace."""
    SERVER = "server"
    """No person: a request that proves itself otherwise, such as a forge's delivery."""
    NOBODY = "nobody"
    """Anybody, where nothing of anyone is told."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role in the namespaces that a pattern means: a name, `PREFIX*`, or `*`."""

    namespaces: str
    role: Role

    def holds(self, namespace: str) -> bool:
        """Whether the namespace is meant."""
        if self.namespaces.endswith(EVERYWHERE):
            return namespace.startswith(self.namespaces[:-1])
        return namespace == self.namespaces


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks; `user` is the same however and whenever they come, and is who owns what they made.

    Names that begin with `kitbag:` are of the server's own.
    """

    user: str
    kind: Kind
    grants: tuple[Grant, ...] = ()
    groups: frozenset[str] = frozenset()
    token: str | None = None
    """The id of the token that they came with."""

    @property
    def is_operator(self) -> bool:
        """Whether they may do everything everywhere."""
        return any(
            grant.namespaces == EVERYWHERE and grant.role is Role.ADMIN for grant in self.grants
        )

    @property
    def scope(self) -> Scope:
        """The namespaces that they see."""
        patterns = {grant.namespaces for grant in self.grants}
        prefixes = {pattern[:-1] for pattern in patterns if pattern.endswith(EVERYWHERE)}
        names = {pattern for pattern in patterns if not pattern.endswith(EVERYWHERE)}
        return Scope(frozenset(names), tuple(sorted(prefixes)))

    @property
    def cluster_user(self) -> str | None:
        """Whom the cluster knows them as: a name that the cluster's own proxy gave, or nobody."""
        return self.user if self.kind is Kind.PROXIED else None

    def role_in(self, namespace: str) -> Role | None:
        """The most that they are in the namespace; None where they see nothing of it."""
        roles = [grant.role for grant in self.grants if grant.holds(namespace)]
        return max(roles, key=lambda role: role.rank, default=None)

    def require(self, role: Role, namespace: str) -> None:
        """Refuse what needs more than they are in the namespace, in the same words whether there is
        such a namespace or not."""
        own = self.role_in(namespace)
        if own is not None and own.covers(role):
            return
        are = f"are its {own}" if own else "have no part in it"
        raise ProblemError(
            Slug.FORBIDDEN,
            f"This needs the role {role} in the namespace {namespace[:63]}, and you "
            f"({self.user[:100]}) {are}; ask whoever gives out roles for it.",
        )


def limited(
    grants: Iterable[Grant], role: Role, namespaces: Iterable[str] = (EVERYWHERE,)
) -> tuple[Grant, ...]:
    """What is left of grants for who is to be `role` at most, in these namespaces alone."""
    left: dict[Grant, None] = {}
    for grant in grants:
        lower = grant.role if role.covers(grant.role) else role
        for pattern in namespaces:
            # Of two patterns that meet, one is in the other: each is a name or a beginning.
            for inner, outer in ((pattern, grant.namespaces), (grant.namespaces, pattern)):
                if _is_inside(inner, outer):
                    left[Grant(inner, lower)] = None
                    break
    return tuple(left)


def _is_inside(inner: str, outer: str) -> bool:
    if not outer.endswith(EVERYWHERE):
        return inner == outer
    return inner.removesuffix(EVERYWHERE).startswith(outer[:-1])


LOCAL = Principal("kitbag:local", Kind.LOCAL, (Grant(EVERYWHERE, Role.ADMIN),))
OPERATOR = Principal("kitbag:operator", Kind.OPERATOR, (Grant(EVERYWHERE, Role.ADMIN),))
SERVER = Principal("kitbag:server", Kind.SERVER, (Grant(EVERYWHERE, Role.ADMIN),))
NOBODY = Principal("kitbag:nobody", Kind.NOBODY)
