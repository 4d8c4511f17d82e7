"""A scope: what is outside isn't there, whatever is asked for and however."""

from __future__ import annotations

import pytest

from catalog import builds, environments, hooks, rollouts, runs, versions
from catalog.engine import reading, writing
from catalog.errors import BuildNotFoundError, EnvironmentNotFoundError, HookNotFoundError
from catalog.models import Environment, Version
from catalog.rollouts import Order
from catalog.scope import EVERYTHING, NOTHING, Scope, within
from catalog.states import BuildState
from catalog.target_models import EVERYWHERE
from catalog.targets import add, listing


@pytest.fixture
def made(shop, engine) -> dict[str, str]:
    """An environment with a version, a build under way, a hook and a rollout for each of three;
    returns the builds that made the versions by namespace."""
    ids = {}
    for namespace in ("alice", "bob", "bobby"):
        name = f"{namespace}/gan"
        ids[namespace] = shop.finish(shop.ask(f"of {name}", name)).build_id
        with writing(engine) as session:
            builds.request_build(session, environment=name, request={}, request_key=name)
            hooks.add(
                session, name, forge="gitea", repository="h/r", url="https://h/r", branches=[]
            )
            rollouts.add(session, name, Order(namespace, selector="a=b"))
            add(session, namespace, "near", f"registry://{namespace}.example")
    with writing(engine) as session:
        add(session, EVERYWHERE, "far", "registry://far.example")
    return ids


def test_nothing_is_found_that_is_outside(made, engine):
    inside = within(engine, Scope(frozenset({"bob"})))
    with reading(inside) as session:
        assert [row[0].full_name for row in environments.search(session)] == ["bob/gan"]
        assert {build.environment.namespace for build in builds.listing(session)} == {"bob"}
        assert {build.environment.namespace for build in builds.at_work(session, 9)} == {"bob"}
        assert environments.stamps(session, ["alice/gan", "bob/gan"]).keys() == {"bob/gan"}
        assert versions.resolve(session, "bob/gan").environment.full_name == "bob/gan"
        assert builds.get(session, made["bob"]).state is BuildState.READY
        assert [target.name for target in listing(session)] == ["far", "near"]
        for namespace in ("alice", "bobby"):
            with pytest.raises(EnvironmentNotFoundError):
                versions.resolve(session, f"{namespace}/gan")
            with pytest.raises(BuildNotFoundError):
                builds.get(session, made[namespace])
            with pytest.raises(EnvironmentNotFoundError):
                hooks.of(session, f"{namespace}/gan")
            assert builds.find(session, f"{namespace}/gan") is None


def test_nothing_is_changed_that_is_outside(made, engine):
    inside = within(engine, Scope(frozenset({"bob"})))
    with reading(engine) as session:
        (alices,) = hooks.of(session, "alice/gan")
        (waiting,) = builds.active(session, "alice/gan")
    with pytest.raises(BuildNotFoundError), writing(inside) as session:
        builds.request_cancel(session, waiting.id)
    with pytest.raises(HookNotFoundError), writing(inside) as session:
        hooks.remove(session, alices.id)
    with pytest.raises(EnvironmentNotFoundError), writing(inside) as session:
        rollouts.remove(session, "alice/gan", 1)
    with writing(inside) as session:
        assert runs.claim(session, waiting.id, "worker") is None
    with reading(engine) as session:
        assert builds.get(session, waiting.id).state is BuildState.QUEUED


def test_a_prefix_means_the_namespaces_that_begin_so(made, engine):
    with reading(within(engine, Scope(prefixes=("bob",)))) as session:
        found = [row[0].namespace for row in environments.search(session)]
    assert found == ["bob", "bobby"]


def test_a_prefix_is_no_pattern(made, engine):
    with reading(within(engine, Scope(prefixes=("%", "b_b")))) as session:
        assert not environments.search(session)


def test_an_empty_scope_holds_nothing_and_the_whole_one_everything(made, engine):
    with reading(within(engine, NOTHING)) as session:
        assert not environments.search(session)
        assert not builds.listing(session)
    with reading(within(engine, EVERYTHING)) as session:
        assert len(environments.search(session)) == 3


def test_what_is_inside_can_be_made_and_built_on(made, shop, engine):
    inside = within(engine, Scope(frozenset({"carol"})))
    with writing(inside) as session:
        build, created = builds.request_build(
            session, environment="carol/new", request={}, request_key="k", created_by="carol"
        )
    assert created
    with reading(engine) as session:
        assert session.get_one(Environment, build.environment_id).full_name == "carol/new"


def test_what_hangs_on_what_was_found_is_loaded(made, engine):
    with reading(within(engine, Scope(frozenset({"bob"})))) as session:
        version = versions.find(session, "bob/gan", whole=True)
        assert version.packages[0]["name"] == "numpy"
        assert isinstance(session.get(Version, version.id), Version)
