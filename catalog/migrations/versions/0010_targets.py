"""Targets, and the copies of versions in their registries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STATE = sa.Enum(
    *("pending", "copying", "done"),
    name="mirrorstate",
    native_enum=False,
    create_constraint=True,
    length=16,
)


def upgrade() -> None:
    op.create_table(
        "targets",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("accelerator", sa.String(length=16), nullable=True),
        sa.Column("pull_secret", sa.String(length=253), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_targets"),
        sa.UniqueConstraint("namespace", "name", name="uq_targets_namespace_name"),
    )
    op.create_table(
        "mirrors",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("target_id", ROW_ID, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("state", STATE, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("copied_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("done_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name="fk_mirrors_target_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_mirrors_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_mirrors"),
        sa.UniqueConstraint("target_id", "version_id", name="uq_mirrors_target_id_version_id"),
    )
    op.create_index("ix_mirrors_state_due_at", "mirrors", ["state", "due_at"])
    op.create_index("ix_mirrors_version_id", "mirrors", ["version_id"])


def downgrade() -> None:
    for table in ("mirrors", "targets"):
        op.drop_table(table)
