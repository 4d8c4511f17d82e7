"""Rollouts, the way of each version to their objects, and what became of those."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
STATE = sa.Enum(
    *("pending", "running", "done", "superseded"),
    name="runstate",
    native_enum=False,
    create_constraint=True,
    length=16,
)


def upgrade() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("environment_id", ROW_ID, nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("objects", JSON, nullable=False),
        sa.Column("restart", sa.Boolean(), nullable=False),
        sa.Column("clone", sa.Boolean(), nullable=False),
        sa.Column("force_conflicts", sa.Boolean(), nullable=False),
        sa.Column("container", sa.String(length=253), nullable=True),
        sa.Column("acts_as", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_rollouts_environment_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rollouts"),
    )
    op.create_index("ix_rollouts_environment_id_id", "rollouts", ["environment_id", "id"])
    op.create_table(
        "rollout_runs",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("rollout_id", ROW_ID, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", STATE, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("heartbeat_at", TIME, nullable=True),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollouts.id"], name="fk_rollout_runs_rollout_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_rollout_runs_version_id"),
        sa.PrimaryKeyConstraint("id", name="pk_rollout_runs"),
        sa.UniqueConstraint("rollout_id", "number", name="uq_rollout_runs_rollout_id_number"),
    )
    op.create_index("ix_rollout_runs_state_due_at", "rollout_runs", ["state", "due_at"])
    op.create_index("ix_rollout_runs_version_id", "rollout_runs", ["version_id"])
    op.create_table(
        "rollout_results",
        sa.Column("run_id", ROW_ID, nullable=False),
        sa.Column("api_version", sa.String(length=317), nullable=False),
        sa.Column("kind", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("say", sa.Text(), nullable=False),
        sa.Column("before", JSON, nullable=False),
        sa.Column("copy", sa.String(length=253), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["rollout_runs.id"], name="fk_rollout_results_run_id"),
        sa.PrimaryKeyConstraint("run_id", "api_version", "kind", "name", name="pk_rollout_results"),
    )


def downgrade() -> None:
    for table in ("rollout_results", "rollout_runs", "rollouts"):
        op.drop_table(table)
