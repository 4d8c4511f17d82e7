"""Namespaces, environments and what was made of them: versions, locks, bases, layers, tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from catalog.types import JsonColumn, RowId, UtcDateTime, utcnow

Json = Mapping[str, Any]


class Model(DeclarativeBase):
    """The declarative base; constraint names are fixed so that a migration can name them."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        Json: JsonColumn,
        list[Json]: JsonColumn,
    }


class Namespace(Model):
    """A person's or a group's corner; its name is the first half of an environment's."""

    __tablename__ = "namespaces"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Environment(Model):
    """A named line of versions; `last_version` counts them, so numbers have no gaps.

    Of one that is `offered` the newest version is in the list where notebooks start. One that is of
    use for a while, such as a pull request's, has an end, `expires_at`; once it is `expired` its
    names stand for nothing, and its versions may go.
    """

    __tablename__ = "environments"
    __table_args__ = (UniqueConstraint("namespace", "name"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    namespace: Mapped[str] = mapped_column(ForeignKey("namespaces.name"))
    name: Mapped[str] = mapped_column(String(63))
    description: Mapped[str] = mapped_column(Text, default="")
    last_version: Mapped[int] = mapped_column(Integer, default=0)
    offered: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    expired: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)

    @property
    def full_name(self) -> str:
        """NAMESPACE/NAME."""
        return f"{self.namespace}/{self.name}"


class Lock(Model):
    """The text of a pylock.toml, kept once however many versions were made from it."""

    __tablename__ = "locks"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Version(Model):
    """An immutable build result, numbered 1, 2, 3… within its environment.

    It holds one image for each accelerator and platform that was asked for; what is said here is
    that of the first one, the default, but for `image` and `digest`: where it is for several
    platforms, these are the index of them. `rebased_from` is the number of the version whose
    packages were put on another base, None for what was built. A rollback is a new number with the
    facts of the old one, `build_id` included.
    """

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("environment_id", "number"),
        Index(None, "request_key", "number"),
        Index(None, "environment_id", "commit"),
        Index(None, "digest"),
        Index(None, "content_key"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    number: Mapped[int] = mapped_column(Integer)
    image: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(80))
    request: Mapped[Json] = mapped_column(deferred=True)
    request_key: Mapped[str] = mapped_column(String(64))
    content_key: Mapped[str] = mapped_column(String(80))
    lock_sha256: Mapped[str | None] = mapped_column(ForeignKey("locks.sha256"))
    package_count: Mapped[int] = mapped_column(Integer)
    commit: Mapped[str | None] = mapped_column(String(64))
    python: Mapped[str] = mapped_column(String(32))
    accelerator: Mapped[str] = mapped_column(String(16))
    base_name: Mapped[str] = mapped_column(Text)
    base_digest: Mapped[str] = mapped_column(String(80))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    platform: Mapped[str] = mapped_column(String(64))
    build_id: Mapped[str] = mapped_column(ForeignKey("builds.id"), index=True)
    rebased_from: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    created_by: Mapped[str] = mapped_column(Text, default="")

    environment: Mapped[Environment] = relationship(lazy="joined", innerjoin=True)
    lock: Mapped[Lock | None] = relationship(lazy="raise")
    refs: Mapped[list[VersionRef]] = relationship(
        lazy="selectin", order_by="VersionRef.name", viewonly=True
    )
    images: Mapped[list[VersionImage]] = relationship(
        lazy="selectin", order_by="VersionImage.position"
    )

    @property
    def packages(self) -> list[Json]:
        """Those of the first image; only of a version that was loaded whole."""
        return self.images[0].packages

    @property
    def layers(self) -> list[Json]:
        """Those of the first image; only of a version that was loaded whole."""
        return self.images[0].layers


class VersionImage(Model):
    """An image of a version, for one accelerator and platform; `position` 0 is the default.

    `packages` lists {"name", "version", "size_bytes"}; `layers` lists {"digest", "size_bytes",
    "packages": [names]} in manifest order. `index_digest` is the index that has it beside those for
    other platforms, None where there are none.
    """

    __tablename__ = "version_images"
    __table_args__ = (UniqueConstraint("version_id", "accelerator", "platform"),)

    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    accelerator: Mapped[str] = mapped_column(String(16))
    platform: Mapped[str] = mapped_column(String(64))
    image: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(80), index=True)
    index_digest: Mapped[str | None] = mapped_column(String(80), index=True)
    base_name: Mapped[str] = mapped_column(Text)
    base_digest: Mapped[str] = mapped_column(String(80))
    lock_sha256: Mapped[str | None] = mapped_column(ForeignKey("locks.sha256"))
    packages: Mapped[list[Json]] = mapped_column(deferred=True)
    package_count: Mapped[int] = mapped_column(Integer)
    layers: Mapped[list[Json]] = mapped_column(deferred=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)

    @property
    def reference(self) -> str:
        """What its accelerator stands for: REGISTRY/REPO@DIGEST of the index, or else its own."""
        if self.index_digest is None:
            return self.image
        return f"{self.image.rpartition('@')[0]}@{self.index_digest}"


class VersionRef(Model):
    """A git branch of the source, pointing at the newest version made from it; or a tag.

    Commits need no row: `Version.commit` is indexed, and a commit never moves.
    """

    __tablename__ = "version_refs"

    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
    moved_at: Mapped[datetime] = mapped_column(default=utcnow)


class PackageName(Model):
    """A package that some version in the namespace holds or held."""

    __tablename__ = "namespace_packages"

    namespace: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True, index=True)


class LayerRow(Model):
    """A layer that was made before: what it was made from (`key`) and what came out."""

    __tablename__ = "layers"

    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    digest: Mapped[str] = mapped_column(String(80), index=True)
    diff_id: Mapped[str] = mapped_column(String(80))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    last_used_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)


class LayerPlace(Model):
    """A repository of a store that holds a blob, from which it can be mounted."""

    __tablename__ = "layer_places"

    digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    store: Mapped[str] = mapped_column(String(255), primary_key=True)
    repo: Mapped[str] = mapped_column(String(255), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Base(Model):
    """A named image to build on; `current` marks what a name means now on a platform, the rest is
    history.

    `record` is the JSON value of `builder.model.Base`.
    """

    __tablename__ = "bases"
    __table_args__ = (
        UniqueConstraint("name", "digest"),
        Index(
            "uq_bases_current_name_platform",
            "name",
            "platform",
            unique=True,
            sqlite_where=text("current"),
            postgresql_where=text("current"),
        ),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    platform: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(80))
    image: Mapped[str] = mapped_column(Text)
    record: Mapped[Json]
    current: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class Token(Model):
    """A caller's credential, kept as the SHA-256 of its secret.

    `user` is whose it is and `groups` what they were in when they were last seen; the token of a
    `namespace` is nobody's and stays when people go. It is good for `role` at most, in the
    namespaces that the patterns of `namespaces` mean.
    """

    __tablename__ = "tokens"
    __table_args__ = (Index(None, "user"), Index(None, "namespace"))

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    user: Mapped[str] = mapped_column(String(255), default="")
    groups: Mapped[list[str]] = mapped_column(JsonColumn, default=list)
    namespace: Mapped[str | None] = mapped_column(String(63))
    role: Mapped[str] = mapped_column(String(16), default="")
    namespaces: Mapped[list[str]] = mapped_column(JsonColumn, default=list)
    created_by: Mapped[str] = mapped_column(String(255), default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Login(Model):
    """A command that waits to be let in: `code` is what a person compares, `sha256` that of the
    secret with which the command asks; `user` and `groups` are whoever let it in."""

    __tablename__ = "logins"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    code: Mapped[str] = mapped_column(String(9), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    device: Mapped[str] = mapped_column(String(100))
    user: Mapped[str | None] = mapped_column(String(255))
    groups: Mapped[list[str]] = mapped_column(JsonColumn, default=list)
    created_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)
