"""Webhooks: rules, deliveries, heads of branches, statuses of commits, aliases of commits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "hooks",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("environment_id", ROW_ID, sa.ForeignKey("environments.id"), nullable=False),
        sa.Column("forge", sa.String(16), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("subdir", sa.Text()),
        sa.Column("branches", JSON, nullable=False),
        sa.Column("pulls", sa.Boolean(), nullable=False),
        sa.Column("options", JSON, nullable=False),
        sa.Column("status_secret", sa.String(63)),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_index("ix_hooks_environment_id", "hooks", ["environment_id"])
    op.create_table(
        "hook_deliveries",
        sa.Column("hook_id", sa.String(26), sa.ForeignKey("hooks.id"), primary_key=True),
        sa.Column("delivery", sa.String(128), primary_key=True),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("outcome", JSON, nullable=False),
    )
    op.create_index("ix_hook_deliveries_received_at", "hook_deliveries", ["received_at"])
    op.create_table(
        "hook_heads",
        sa.Column("hook_id", sa.String(26), sa.ForeignKey("hooks.id"), primary_key=True),
        sa.Column("ref", sa.String(255), primary_key=True),
        sa.Column("environment", sa.String(127), nullable=False),
        sa.Column("wanted", sa.String(64)),
        sa.Column("request", JSON),
        sa.Column("request_key", sa.String(64)),
        sa.Column("reuse_key", sa.String(64)),
        sa.Column("build_id", sa.String(26), sa.ForeignKey("builds.id")),
        sa.Column("building", sa.String(64)),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer()),
        sa.Column("pushes", JSON, nullable=False),
    )
    op.create_index("ix_hook_heads_build_id", "hook_heads", ["build_id"])
    op.create_index("ix_hook_heads_settled", "hook_heads", ["settled"])
    op.create_table(
        "hook_statuses",
        sa.Column("hook_id", sa.String(26), sa.ForeignKey("hooks.id"), primary_key=True),
        sa.Column("commit", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("build_id", sa.String(26)),
        sa.Column("sent", sa.String(16)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_index("ix_hook_statuses_next_at", "hook_statuses", ["next_at"])
    op.create_table(
        "commit_aliases",
        sa.Column("environment_id", ROW_ID, sa.ForeignKey("environments.id"), primary_key=True),
        sa.Column("commit", sa.String(64), primary_key=True),
        sa.Column("version_id", ROW_ID, sa.ForeignKey("versions.id"), nullable=False),
    )
    op.create_index("ix_commit_aliases_version_id", "commit_aliases", ["version_id"])


def downgrade() -> None:
    for table in ("commit_aliases", "hook_statuses", "hook_heads", "hook_deliveries", "hooks"):
        op.drop_table(table)
