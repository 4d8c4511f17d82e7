"""The names of all packages, for completion."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_AT_ONCE = 500


def upgrade() -> None:
    table = op.create_table("package_names", sa.Column("name", sa.String(255), primary_key=True))
    connection = op.get_bind()
    names: set[str] = set()
    # Of this statement alone: a connection keeps its options, and PostgreSQL has no cursor for the
    # UPDATE of alembic_version that comes after.
    rows = connection.execute(
        sa.text("SELECT packages FROM versions"), execution_options={"yield_per": _AT_ONCE}
    )
    for (packages,) in rows:
        listed = json.loads(packages) if isinstance(packages, str) else packages
        names.update(str(package["name"])[:255] for package in listed)
    ordered = [{"name": name} for name in sorted(names)]
    for start in range(0, len(ordered), _AT_ONCE):
        op.bulk_insert(table, ordered[start : start + _AT_ONCE])


def downgrade() -> None:
    op.drop_table("package_names")
