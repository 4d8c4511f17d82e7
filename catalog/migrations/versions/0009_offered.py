"""Environments whose newest version is offered where notebooks start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "environments",
        sa.Column("offered", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    # Not as a batch: SQLite would make the table anew, and can't drop one that others refer to.
    op.drop_column("environments", "offered")
