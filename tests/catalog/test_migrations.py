"""Migrations only add: what ran before an upgrade goes on beside what runs after it.

`kitbag-server migrate` comes first, while the release before still serves and builds; so each step
must leave that release what it reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect

from catalog.engine import make_engine

BEFORE_UPGRADES = "0010"
"""Steps up to this one were made while nobody had anything to upgrade."""


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", "catalog:migrations")
    return made


def steps() -> list[str]:
    """Every revision, the first first."""
    script = ScriptDirectory.from_config(config())
    return [each.revision for each in script.walk_revisions()][::-1]


def move(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        at = config()
        at.attributes["connection"] = connection
        command.upgrade(at, revision)


def schema(engine: Engine) -> dict[str, dict[str, Any]]:
    """Columns, unique constraints, indexes and foreign keys of every table."""
    found = inspect(engine)
    return {
        table: {
            "columns": {column["name"]: column for column in found.get_columns(table)},
            "unique": {tuple(each["column_names"]) for each in found.get_unique_constraints(table)}
            | {tuple(i["column_names"]) for i in found.get_indexes(table) if i["unique"]},
            "foreign": {
                tuple(each["constrained_columns"]) for each in found.get_foreign_keys(table)
            },
        }
        for table in found.get_table_names()
    }


def narrower(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What the release before could do, and can't any more."""
    for table, was in before.items():
        if table not in after:
            yield f"the table {table} is gone"
            continue
        columns = after[table]["columns"]
        for name, column in was["columns"].items():
            if name not in columns:
                yield f"{table}.{name} is gone"
            elif str(columns[name]["type"]) != str(column["type"]):
                yield f"{table}.{name} is {columns[name]['type']}, and was {column['type']}"
            elif column["nullable"] and not columns[name]["nullable"]:
                yield f"{table}.{name} may not be NULL any more"
        for name in columns.keys() - was["columns"].keys():
            new = columns[name]
            if not new["nullable"] and new["default"] is None:
                yield f"{table}.{name} must be given, and the release before does not know it"
        for kind in ("unique", "foreign"):
            for key in after[table][kind] - was[kind]:
                if set(key) <= was["columns"].keys():
                    yield f"{table}{key} is {kind} now"


def test_every_step_leaves_the_release_before_what_it_reads_and_writes(url: str) -> None:
    engine = make_engine(url)
    known = steps()
    first = next(number for number, each in enumerate(known) if each.startswith(BEFORE_UPGRADES))
    move(engine, known[first])
    before = schema(engine)
    wrong = {}
    for revision in known[first + 1 :]:
        move(engine, revision)
        after = schema(engine)
        if found := list(narrower(before, after)):
            wrong[revision] = found
        before = after
    engine.dispose()
    assert wrong == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("ALTER TABLE builds DROP COLUMN stats", "builds.stats is gone"),
        ("ALTER TABLE builds ADD COLUMN must TEXT NOT NULL", "builds.must must be given"),
        ("ALTER TABLE builds ALTER COLUMN way SET NOT NULL", "builds.way may not be NULL"),
        ("ALTER TABLE builds ALTER COLUMN attempt TYPE TEXT", "builds.attempt is TEXT"),
        ("ALTER TABLE builds ADD UNIQUE (digest)", "builds('digest',) is unique"),
        ("DROP TABLE events", "the table events is gone"),
    ],
)
def test_a_step_that_takes_something_away_is_noticed(
    postgres_url: str, change: str, says: str
) -> None:
    engine = make_engine(postgres_url)
    move(engine, "head")
    before = schema(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(change)
    assert any(each.startswith(says) for each in narrower(before, schema(engine)))
    engine.dispose()
