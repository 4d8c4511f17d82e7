"""Tokens of people and namespaces, commands that wait to be let in, who owns a webhook, and the
names of packages by namespace."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON(none_as_null=True).with_variant(
    sa.dialects.postgresql.JSONB(none_as_null=True), "postgresql"
)
_AT_ONCE = 500


def upgrade() -> None:
    # Not in a batch: that would copy the table, and SQLite adds such columns in no time.
    for column in (
        sa.Column("user", sa.String(255), nullable=False, server_default=""),
        sa.Column("groups", JSON, nullable=False, server_default="[]"),
        sa.Column("namespace", sa.String(63), nullable=True),
        sa.Column("role", sa.String(16), nullable=False, server_default=""),
        sa.Column("namespaces", JSON, nullable=False, server_default="[]"),
        sa.Column("created_by", sa.String(255), nullable=False, server_default=""),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("last_used_at", TIME, nullable=True),
    ):
        op.add_column("tokens", column)
    op.create_index("ix_tokens_user", "tokens", ["user"])
    op.create_index("ix_tokens_namespace", "tokens", ["namespace"])
    op.create_table(
        "logins",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("code", sa.String(9), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("device", sa.String(100), nullable=False),
        sa.Column("user", sa.String(255), nullable=True),
        sa.Column("groups", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_logins"),
        sa.UniqueConstraint("code", name="uq_logins_code"),
    )
    op.create_index("ix_logins_created_at", "logins", ["created_at"])
    op.add_column("hooks", sa.Column("created_by", sa.Text(), nullable=False, server_default=""))
    _names()


def _names() -> None:
    # Beside the table of before, which the release before writes into until it is replaced.
    table = op.create_table(
        "namespace_packages",
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name", name="pk_namespace_packages"),
    )
    op.create_index("ix_namespace_packages_name", "namespace_packages", ["name"])
    names: set[tuple[str, str]] = set()
    # Of this statement alone: a connection keeps its options, and PostgreSQL has no cursor for the
    # UPDATE of alembic_version that comes after.
    rows = op.get_bind().execute(
        sa.text(
            "SELECT environments.namespace, version_images.packages FROM version_images "
            "JOIN versions ON versions.id = version_images.version_id "
            "JOIN environments ON environments.id = versions.environment_id"
        ),
        execution_options={"yield_per": _AT_ONCE},
    )
    for namespace, packages in rows:
        listed = json.loads(packages) if isinstance(packages, str) else packages
        names.update((namespace, str(package["name"])[:255]) for package in listed)
    ordered = [{"namespace": namespace, "name": name} for namespace, name in sorted(names)]
    for start in range(0, len(ordered), _AT_ONCE):
        op.bulk_insert(table, ordered[start : start + _AT_ONCE])


def downgrade() -> None:
    op.drop_table("namespace_packages")
    op.drop_column("hooks", "created_by")
    op.drop_table("logins")
    op.drop_index("ix_tokens_user", "tokens")
    op.drop_index("ix_tokens_namespace", "tokens")
    for column in (
        *("user", "groups", "namespace", "role", "namespaces", "created_by"),
        *("expires_at", "last_used_at"),
    ):
        op.drop_column("tokens", column)
