from __future__ import annotations

import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

import catalog.audit_models
import catalog.build_models
import catalog.hook_models
import catalog.rollout_models  # noqa: F401 - these register their tables
from catalog import names
from catalog.engine import make_engine, migrate, writing
from catalog.ids import new_id
from catalog.models import Environment, Model, Namespace

LEFT_FOR_THE_RELEASE_BEFORE = {"package_names"}
"""Tables that nothing here uses: a later migration may remove them."""


def test_the_migrations_make_exactly_the_models(engine):
    def compared(_object, name, kind, *_):
        return not (kind == "table" and name in LEFT_FOR_THE_RELEASE_BEFORE)

    with engine.connect() as connection:
        opts = {"compare_type": True, "include_object": compared}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, Model.metadata) == []


def test_migrating_again_changes_nothing(url, engine):
    with writing(engine) as session:
        session.add(Namespace(name="alice"))
    migrate(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT name FROM namespaces")).scalars().all() == ["alice"]


def test_what_raised_is_undone(engine):
    with pytest.raises(KeyError), writing(engine) as session:
        session.add(Namespace(name="alice"))
        session.flush()
        raise KeyError
    with engine.connect() as connection:
        assert connection.execute(select(Namespace)).all() == []


def test_sqlite_is_in_wal_mode_with_foreign_keys_in_a_folder_made_for_it(tmp_path):
    engine = make_engine(f"sqlite:///{tmp_path}/new/folder/catalog.db")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://u@h/d"])
def test_a_database_that_can_not_hold_the_catalog_is_refused(url):
    with pytest.raises(ValueError, match="catalog"):
        make_engine(url)


def test_the_short_postgres_scheme_is_understood(postgres_url):
    url = postgres_url.replace("postgresql+psycopg://", "postgres://")
    migrate(url)
    engine = make_engine(url)
    with writing(engine) as session:
        session.add(Namespace(name="alice"))
        session.flush()
        session.add(Environment(namespace="alice", name="gan"))
    engine.dispose()


def test_ids_sort_by_time():
    ids = []
    for _ in range(5):
        ids.append(new_id())
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert all(len(value) == 26 for value in ids)


@given(st.text(max_size=200))
def test_a_derived_name_is_valid_or_none(text):
    part = names.derived(text)
    assert part is None or names.split(f"a/{part}") == ("a", part)


@pytest.mark.parametrize(
    ("text", "part"), [("3DGAN.git", "3dgan"), ("my.repo_x", "my-repo-x"), ("--", None)]
)
def test_a_name_is_derived_from_a_repository(text, part):
    assert names.derived(text) == part


def test_a_client_that_goes_silent_in_a_transaction_does_not_keep_its_locks(
    postgres_url, monkeypatch
):
    migrate(postgres_url)
    monkeypatch.setattr("catalog.engine._IDLE_MS", 500)
    silent = make_engine(postgres_url)
    held = silent.connect()  # a connection is told when it is opened
    held.execute(text("SELECT pg_advisory_xact_lock(1)"))
    monkeypatch.undo()
    other = make_engine(postgres_url)
    with other.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(1)"))
    with pytest.raises(DBAPIError):
        held.execute(text("SELECT 1"))
    held.invalidate()
    silent.dispose()
    other.dispose()
