"""Rollouts to git repositories."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("git", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("rollouts", "git")
