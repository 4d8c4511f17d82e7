"""Which HTTP request asked for a build, and the trace that the build is part of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("request_id", "traceparent"):
        op.add_column("builds", sa.Column(name, sa.String(length=64), nullable=True))


def downgrade() -> None:
    for name in ("traceparent", "request_id"):
        op.drop_column("builds", name)
