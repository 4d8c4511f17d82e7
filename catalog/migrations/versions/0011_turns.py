"""Whom a build counts for, what it may use, and when its turn comes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_builds_state_lane_turn": ["state", "lane", "turn"],
    "ix_builds_tenant_state": ["tenant", "state"],
    "ix_builds_tenant_created_at": ["tenant", "created_at"],
}


def _new() -> list[sa.Column[Any]]:
    return [
        sa.Column("tenant", sa.Text(), nullable=False, server_default=""),
        sa.Column("lane", sa.String(length=63), nullable=False, server_default="layered"),
        sa.Column("turn", sa.Float(), nullable=False, server_default="0"),
        sa.Column("weight", sa.Float(), nullable=False, server_default="1"),
        sa.Column("concurrent", sa.Integer(), nullable=True),
        sa.Column("build_seconds", sa.Float(), nullable=True),
        sa.Column("image_bytes", sa.BigInteger(), nullable=True),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default="0"),
    ]


def upgrade() -> None:
    op.create_table(
        "lanes",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("turn", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_lanes"),
    )
    # Not in a batch: that would copy the table, and SQLite adds such columns in no time.
    for column in _new():
        op.add_column("builds", column)
    op.execute("UPDATE builds SET lane = 'engine' WHERE state = 'queued' AND way = 'binder'")
    for name, columns in INDEXES.items():
        op.create_index(name, "builds", columns)


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "builds")
    for column in _new():
        op.drop_column("builds", column.name)
    op.drop_table("lanes")
