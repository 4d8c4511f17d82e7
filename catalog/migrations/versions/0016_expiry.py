"""Environments that expire, and tags that are built."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("environments", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.add_column(
        "environments",
        sa.Column("expired", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index("ix_environments_expires_at", "environments", ["expires_at"])
    op.add_column("hooks", sa.Column("tags", JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("hooks", "tags")
    op.drop_index("ix_environments_expires_at", table_name="environments")
    for name in ("expired", "expires_at"):
        op.drop_column("environments", name)
