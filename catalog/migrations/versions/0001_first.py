"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A migration is history: it spells its types out, so that changing a model doesn't change it.
TIME = sa.DateTime(timezone=True)
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
ACTIVE = sa.text("state IN ('queued', 'resolving', 'building', 'pushing')")
STATE = sa.Enum(
    *("queued", "resolving", "building", "pushing", "ready", "failed", "cancelled"),
    name="buildstate",
    native_enum=False,
    create_constraint=True,
    length=16,
)
KIND = sa.Enum(
    *("state", "phase", "progress", "log", "warning", "done"),
    name="eventkind",
    native_enum=False,
    create_constraint=True,
    length=16,
)
TABLES = (
    "bases",
    "layer_places",
    "layers",
    "locks",
    "namespaces",
    "tokens",
    "environments",
    "builds",
    "events",
    "versions",
    "version_refs",
)


def upgrade() -> None:
    _create_places()
    _create_environments()
    _create_builds()
    _create_versions()


def _create_places() -> None:
    op.create_table(
        "bases",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("record", JSON, nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bases"),
        sa.UniqueConstraint("name", "digest", name="uq_bases_name_digest"),
    )
    op.create_index(
        "uq_bases_current_name",
        "bases",
        ["name"],
        unique=True,
        sqlite_where=sa.text("current"),
        postgresql_where=sa.text("current"),
    )
    op.create_table(
        "layer_places",
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("store", sa.String(length=255), nullable=False),
        sa.Column("repo", sa.String(length=255), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", "store", "repo", name="pk_layer_places"),
    )
    op.create_table(
        "layers",
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("diff_id", sa.String(length=80), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_layers"),
    )
    op.create_index("ix_layers_digest", "layers", ["digest"])
    op.create_index("ix_layers_last_used_at", "layers", ["last_used_at"])
    op.create_table(
        "locks",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_locks"),
    )


def _create_environments() -> None:
    op.create_table(
        "namespaces",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_namespaces"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("sha256", name="uq_tokens_sha256"),
    )
    op.create_table(
        "environments",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace"], ["namespaces.name"], name="fk_environments_namespace"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_environments"),
        sa.UniqueConstraint("namespace", "name", name="uq_environments_namespace_name"),
    )


def _create_builds() -> None:
    op.create_table(
        "builds",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("environment_id", ROW_ID, nullable=False),
        sa.Column("request", JSON, nullable=False),
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("reuse_key", sa.String(length=64), nullable=False),
        sa.Column("state", STATE, nullable=False),
        sa.Column("way", sa.String(length=16), nullable=True),
        sa.Column("commit", sa.String(length=64), nullable=True),
        sa.Column("error", JSON, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("heartbeat_at", TIME, nullable=True),
        sa.Column("cancel_requested_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("queued_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=80), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("stats", JSON, nullable=True),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_builds_environment_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_builds"),
    )
    op.create_index("ix_builds_environment_id_id", "builds", ["environment_id", "id"])
    op.create_index("ix_builds_state_id", "builds", ["state", "id"])
    op.create_index(
        "uq_builds_active_request_key",
        "builds",
        ["request_key"],
        unique=True,
        sqlite_where=ACTIVE,
        postgresql_where=ACTIVE,
    )
    op.create_table(
        "events",
        sa.Column("build_id", sa.String(length=26), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("kind", KIND, nullable=False),
        sa.Column("phase", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.ForeignKeyConstraint(["build_id"], ["builds.id"], name="fk_events_build_id"),
        sa.PrimaryKeyConstraint("build_id", "seq", name="pk_events"),
    )


def _create_versions() -> None:
    op.create_table(
        "versions",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("environment_id", ROW_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("request", JSON, nullable=False),
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("content_key", sa.String(length=80), nullable=False),
        sa.Column("lock_sha256", sa.String(length=64), nullable=True),
        sa.Column("packages", JSON, nullable=False),
        sa.Column("package_count", sa.Integer(), nullable=False),
        sa.Column("layers", JSON, nullable=False),
        sa.Column("commit", sa.String(length=64), nullable=True),
        sa.Column("python", sa.String(length=32), nullable=False),
        sa.Column("accelerator", sa.String(length=16), nullable=False),
        sa.Column("base_name", sa.Text(), nullable=False),
        sa.Column("base_digest", sa.String(length=80), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.String(length=64), nullable=False),
        sa.Column("build_id", sa.String(length=26), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["build_id"], ["builds.id"], name="fk_versions_build_id"),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_versions_environment_id"
        ),
        sa.ForeignKeyConstraint(["lock_sha256"], ["locks.sha256"], name="fk_versions_lock_sha256"),
        sa.PrimaryKeyConstraint("id", name="pk_versions"),
        sa.UniqueConstraint("environment_id", "number", name="uq_versions_environment_id_number"),
    )
    op.create_index("ix_versions_build_id", "versions", ["build_id"])
    op.create_index("ix_versions_content_key", "versions", ["content_key"])
    op.create_index("ix_versions_digest", "versions", ["digest"])
    op.create_index("ix_versions_environment_id_commit", "versions", ["environment_id", "commit"])
    op.create_index("ix_versions_request_key_number", "versions", ["request_key", "number"])
    op.create_table(
        "version_refs",
        sa.Column("environment_id", ROW_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("moved_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name="fk_version_refs_environment_id"
        ),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_version_refs_version_id"),
        sa.PrimaryKeyConstraint("environment_id", "name", name="pk_version_refs"),
    )
    op.create_index("ix_version_refs_version_id", "version_refs", ["version_id"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
