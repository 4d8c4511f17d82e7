"""Versions that were rebased say from which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("rebased_from", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("versions", "rebased_from")
