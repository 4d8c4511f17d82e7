"""Which versions hold which packages."""

from __future__ import annotations

import json
import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_AT_ONCE = 500
_SEPARATORS = re.compile(r"[-_.]+")


def upgrade() -> None:
    releases = op.create_table(
        "package_releases",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_package_releases"),
        sa.UniqueConstraint("name", "version", name="uq_package_releases_name_version"),
    )
    held = op.create_table(
        "version_packages",
        sa.Column("release_id", ROW_ID, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["release_id"], ["package_releases.id"], name="fk_version_packages_release_id"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name="fk_version_packages_version_id"
        ),
        sa.PrimaryKeyConstraint("release_id", "version_id", name="pk_version_packages"),
    )
    _fill(releases, held)
    op.create_index("ix_version_packages_version_id", "version_packages", ["version_id"])


def _fill(releases: sa.Table, held: sa.Table) -> None:
    """What the versions that are there hold."""
    ids: dict[tuple[str, str], int] = {}
    pairs: set[tuple[int, int]] = set()
    rows = op.get_bind().execute(
        sa.text("SELECT version_id, packages FROM version_images"),
        execution_options={"yield_per": _AT_ONCE},
    )
    for version_id, packages in rows:
        listed = json.loads(packages) if isinstance(packages, str) else packages
        for package in listed:
            name = _SEPARATORS.sub("-", str(package["name"])).lower()[:255]
            release = (name, str(package["version"])[:255])
            pairs.add((ids.setdefault(release, len(ids) + 1), version_id))
    _insert(releases, [{"id": key, "name": n, "version": v} for (n, v), key in ids.items()])
    _insert(held, [{"release_id": r, "version_id": v} for r, v in sorted(pairs)])
    if op.get_bind().dialect.name == "postgresql" and ids:
        op.execute(
            "SELECT setval(pg_get_serial_sequence('package_releases', 'id'), "
            "(SELECT max(id) FROM package_releases))"
        )


def _insert(table: sa.Table, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), _AT_ONCE):
        op.bulk_insert(table, rows[start : start + _AT_ONCE])


def downgrade() -> None:
    op.drop_table("version_packages")
    op.drop_table("package_releases")
