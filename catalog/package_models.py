"""Which versions hold which packages, in a form that a question about one package is quick to."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from catalog.models import Model
from catalog.types import RowId


class PackageRelease(Model):
    """A release of a package that some version holds or held; `name` is normalised (PEP 503)."""

    __tablename__ = "package_releases"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    version: Mapped[str] = mapped_column(String(255))


class VersionPackage(Model):
    """That an image of the version holds the release."""

    __tablename__ = "version_packages"
    __table_args__ = (Index(None, "version_id"),)

    release_id: Mapped[int] = mapped_column(ForeignKey("package_releases.id"), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), primary_key=True)
