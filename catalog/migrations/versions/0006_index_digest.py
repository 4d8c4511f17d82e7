"""Whether an image was built here is asked for the indexes of all accelerators."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_version_images_index_digest", "version_images", ["index_digest"])


def downgrade() -> None:
    op.drop_index("ix_version_images_index_digest", table_name="version_images")
