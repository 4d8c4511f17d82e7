"""The image that a build alone builds on, for as long as the store may have it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

IS_STAGED = sa.text("stage IS NOT NULL")


def upgrade() -> None:
    op.add_column("builds", sa.Column("stage", sa.String(length=80), nullable=True))
    op.create_index(
        "ix_builds_stage",
        "builds",
        ["stage"],
        sqlite_where=IS_STAGED,
        postgresql_where=IS_STAGED,
    )


def downgrade() -> None:
    op.drop_index("ix_builds_stage", table_name="builds")
    op.drop_column("builds", "stage")
