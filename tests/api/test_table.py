"""Every route says what it needs, or the server does not start."""

from __future__ import annotations

import pytest

from api.app import create_app
from api.auth import table
from api.auth.principal import EVERYWHERE, Grant, Kind, Principal, Role
from api.problems import ProblemError


def test_a_route_that_does_not_say_what_it_needs_keeps_the_server_from_starting(
    make_site, monkeypatch
):
    settings = make_site().settings
    short = {name: need for name, need in table.TABLE.items() if name != "GET /v1/builds"}
    monkeypatch.setattr(table, "TABLE", short)
    with pytest.raises(RuntimeError, match="it lacks GET /v1/builds, and has nothing"):
        create_app(settings)


def test_an_entry_that_is_no_route_keeps_it_from_starting_too(make_site, monkeypatch):
    settings = make_site().settings
    monkeypatch.setattr(
        table, "TABLE", {**table.TABLE, "GET /v1/gone": table.Need(table.Where.PATH)}
    )
    with pytest.raises(RuntimeError, match="has GET /v1/gone"):
        create_app(settings)


def test_a_role_may_what_those_before_it_may():
    assert [role for role in Role if role.covers(Role.USER)] == [
        Role.USER, Role.MAINTAINER, Role.ADMIN,
    ]  # fmt: skip


def test_the_most_that_somebody_is_in_a_namespace_counts():
    ana = Principal(
        "ana",
        Kind.NOBODY,
        (Grant("hep", Role.READER), Grant("hep*", Role.USER), Grant("ml", Role.ADMIN)),
    )
    roles = [ana.role_in(name) for name in ("hep", "hep-ml", "ml", "mlx", "other")]
    assert roles == [Role.USER, Role.USER, Role.ADMIN, None, None]
    assert ana.scope.holds("hep-ml")
    assert not ana.scope.holds("mlx")
    assert not ana.is_operator


def test_only_an_admin_of_everything_is_an_operator():
    assert Principal("o", Kind.NOBODY, (Grant(EVERYWHERE, Role.ADMIN),)).is_operator
    assert not Principal("o", Kind.NOBODY, (Grant(EVERYWHERE, Role.MAINTAINER),)).is_operator
    assert not Principal("o", Kind.NOBODY, (Grant("a*", Role.ADMIN),)).is_operator


def test_a_refusal_says_the_same_of_a_namespace_that_is_there_and_of_one_that_is_not():
    ana = Principal("ana", Kind.NOBODY, (Grant("hep", Role.READER),))
    told = []
    for namespace in ("bob", "nobody-has-this"):
        with pytest.raises(ProblemError) as refused:
            ana.require(Role.USER, namespace)
        told.append(refused.value.detail.replace(namespace, "…"))
    assert told[0] == told[1]
    with pytest.raises(ProblemError, match="are its reader"):
        ana.require(Role.USER, "hep")
    ana.require(Role.READER, "hep")
