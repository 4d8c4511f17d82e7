"""Which versions hold a package: kept with each version, asked by PEP 508 requirements."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from catalog.errors import InvalidRequirementError
from catalog.models import Environment, Version
from catalog.package_models import PackageRelease, VersionPackage
from catalog.upsert import ROWS_AT_ONCE, insert_many, insert_missing

_MAX_CHARS = 255
_Rows: TypeAlias = Select[str, str, int, str, int]


@dataclass(frozen=True, slots=True)
class Holder:
    """A version of an environment, and which releases of the package its images hold."""

    environment: str
    number: int
    image: str
    releases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Holders:
    """`total` are all versions that hold it; `items` a page of them, by name, newest first."""

    total: int
    items: Sequence[Holder]
    more: bool


def keep(session: Session, version: Version) -> None:
    """Note what the images of a new version hold, with the version's own commit."""
    held = {
        (canonicalize_name(str(package["name"]))[:_MAX_CHARS], str(package["version"])[:_MAX_CHARS])
        for image in version.images
        for package in image.packages
    }
    keep_releases(session, version.id, held)


def keep_releases(session: Session, version_id: int, held: Iterable[tuple[str, str]]) -> None:
    """Note that a version holds these releases: pairs of a normalised name and a version."""
    wanted = set(held)
    known = _ids(session, wanted)
    # In one order, so that two builds don't wait for each other.
    new = [{"name": name, "version": version} for name, version in sorted(wanted - known.keys())]
    insert_missing(session, PackageRelease, new)
    if new:
        known = _ids(session, wanted)
    rows = [{"release_id": known[each], "version_id": version_id} for each in sorted(wanted)]
    insert_many(session, VersionPackage, rows)


def _ids(session: Session, held: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The ids of the releases that are known."""
    names = sorted({name for name, _ in held})
    found: dict[tuple[str, str], int] = {}
    for start in range(0, len(names), ROWS_AT_ONCE):
        rows = session.execute(
            select(PackageRelease.id, PackageRelease.name, PackageRelease.version).where(
                PackageRelease.name.in_(names[start : start + ROWS_AT_ONCE])
            )
        )
        found |= {(row.name, row.version): row.id for row in rows}
    return found


def holding(
    session: Session,
    requirement: str,
    *,
    every: bool = False,
    after: tuple[str, int] | None = None,
    limit: int = 100,
) -> Holders:
    """The latest versions, or `every` version, that hold a release which satisfies it.

    `requirement` is a name with or without a specifier, such as `urllib3<2.5`; pre-releases count
    like any other release. `after` is the name and number of a page's last. Raises
    InvalidRequirementError.
    """
    releases = _releases(session, parsed(requirement))
    if not releases:
        return Holders(0, (), more=False)
    held = select(VersionPackage.version_id).where(VersionPackage.release_id.in_(releases))
    rows = (
        select(Environment.namespace, Environment.name, Version.number, Version.image, Version.id)
        .select_from(Version)
        .join(Environment, Environment.id == Version.environment_id)
        .where(Version.id.in_(held))
    )
    if not every:
        rows = rows.where(Version.number == Environment.last_version)
    total = session.scalar(select(func.count()).select_from(rows.subquery())) or 0
    page = session.execute(_paged(rows, after).limit(limit + 1)).all()
    found = _held(session, [row.id for row in page[:limit]], releases)
    items = [
        Holder(f"{row.namespace}/{row.name}", row.number, row.image, found[row.id])
        for row in page[:limit]
    ]
    return Holders(total, items, more=len(page) > limit)


def parsed(requirement: str) -> Requirement:
    """A name and its specifier; raises InvalidRequirementError for anything more or less."""
    try:
        read = Requirement(requirement)
    except InvalidRequirement:
        read = None
    if read is None or read.url or read.marker or read.extras:
        raise InvalidRequirementError(
            f"{requirement[:200]!r} is no package and range of versions; write it like urllib3<2.5."
        )
    return read


def _releases(session: Session, wanted: Requirement) -> dict[int, str]:
    """The releases that satisfy it, by id."""
    name = canonicalize_name(wanted.name)
    rows = session.execute(
        select(PackageRelease.id, PackageRelease.version).where(PackageRelease.name == name)
    )
    return {row.id: row.version for row in rows if _fits(wanted, row.version)}


def _fits(wanted: Requirement, version: str) -> bool:
    try:
        return wanted.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return not wanted.specifier


def _paged(rows: _Rows, after: tuple[str, int] | None) -> _Rows:
    if after is not None:
        namespace, _, name = after[0].partition("/")
        rows = rows.where(
            or_(
                Environment.namespace > namespace,
                and_(Environment.namespace == namespace, Environment.name > name),
                and_(
                    Environment.namespace == namespace,
                    Environment.name == name,
                    Version.number < after[1],
                ),
            )
        )
    return rows.order_by(Environment.namespace, Environment.name, Version.number.desc())


def _held(
    session: Session, versions: Sequence[int], releases: dict[int, str]
) -> dict[int, tuple[str, ...]]:
    rows = session.execute(
        select(VersionPackage.version_id, VersionPackage.release_id).where(
            VersionPackage.version_id.in_(versions), VersionPackage.release_id.in_(releases)
        )
    )
    found: dict[int, set[str]] = {}
    for row in rows:
        found.setdefault(row.version_id, set()).add(releases[row.release_id])
    return {version: tuple(sorted(held)) for version, held in found.items()}
