"""A version has an image for each accelerator and platform, a base's name one a platform."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CURRENT = sa.text("current")


def upgrade() -> None:
    op.create_table(
        "version_images",
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("accelerator", sa.String(length=16), nullable=False),
        sa.Column("platform", sa.String(length=64), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("index_digest", sa.String(length=80), nullable=True),
        sa.Column("base_name", sa.Text(), nullable=False),
        sa.Column("base_digest", sa.String(length=80), nullable=False),
        sa.Column("lock_sha256", sa.String(length=64), nullable=True),
        sa.Column("packages", JSON, nullable=False),
        sa.Column("package_count", sa.Integer(), nullable=False),
        sa.Column("layers", JSON, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name="fk_version_images_version_id"
        ),
        sa.ForeignKeyConstraint(
            ["lock_sha256"], ["locks.sha256"], name="fk_version_images_lock_sha256"
        ),
        sa.PrimaryKeyConstraint("version_id", "position", name="pk_version_images"),
        sa.UniqueConstraint(
            "version_id",
            "accelerator",
            "platform",
            name="uq_version_images_version_id_accelerator_platform",
        ),
    )
    op.create_index("ix_version_images_digest", "version_images", ["digest"])
    op.execute(
        "INSERT INTO version_images (version_id, position, accelerator, platform, image, digest,"
        " base_name, base_digest, lock_sha256, packages, package_count, layers, size_bytes)"
        " SELECT id, 0, accelerator, platform, image, digest, base_name, base_digest,"
        " lock_sha256, packages, package_count, layers, size_bytes FROM versions"
    )
    op.drop_column("versions", "packages")
    op.drop_column("versions", "layers")
    _add_platforms()


def _add_platforms() -> None:
    op.add_column(
        "bases",
        sa.Column("platform", sa.String(length=64), nullable=False, server_default="linux/amd64"),
    )
    bases = sa.table(
        "bases", sa.column("id", ROW_ID), sa.column("record", JSON), sa.column("platform")
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(bases.c.id, bases.c.record)).all():
        known = (row.record or {}).get("platform")
        if known:
            name = f"{known['os']}/{known['arch']}"
            connection.execute(sa.update(bases).where(bases.c.id == row.id).values(platform=name))
    op.drop_index("uq_bases_current_name", table_name="bases")
    op.create_index(
        "uq_bases_current_name_platform",
        "bases",
        ["name", "platform"],
        unique=True,
        sqlite_where=CURRENT,
        postgresql_where=CURRENT,
    )


def downgrade() -> None:
    """Only the first image of a version is kept, and the bases of linux/amd64 stay current."""
    for name in ("packages", "layers"):
        op.add_column("versions", sa.Column(name, JSON, nullable=False, server_default="[]"))
    op.execute(
        "UPDATE versions SET (packages, layers) = (SELECT packages, layers FROM version_images"
        " WHERE version_id = versions.id AND position = 0)"
    )
    op.drop_table("version_images")
    op.drop_index("uq_bases_current_name_platform", table_name="bases")
    op.execute(
        "UPDATE bases SET current = false WHERE platform <> 'linux/amd64' AND name IN"
        " (SELECT name FROM bases WHERE current AND platform = 'linux/amd64')"
    )
    op.create_index(
        "uq_bases_current_name",
        "bases",
        ["name"],
        unique=True,
        sqlite_where=CURRENT,
        postgresql_where=CURRENT,
    )
    op.drop_column("bases", "platform")
