"""Layers may be packed as Zstandard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def upgrade() -> None:
    # The default is for the rows that are there; new ones say what they are.
    column = sa.Column("media_type", sa.String(100), nullable=False, server_default=_GZIP)
    op.add_column("layers", column)


def downgrade() -> None:
    op.drop_column("layers", "media_type")
