"""Versions: added by a build or a rollback, found by number, `latest`, commit or branch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from sqlalchemy import Select, or_, select, update
from sqlalchemy.orm import Session, selectinload, undefer

from catalog import aliases, environments, holders, mirrors, packages, rollouts
from catalog.errors import EnvironmentExpiredError, ImageNotFoundError, VersionNotFoundError
from catalog.hook_models import CommitAlias
from catalog.models import Environment, Json, Lock, Version, VersionImage, VersionRef
from catalog.text import storable
from catalog.types import utcnow
from catalog.upsert import insert_missing

LATEST = "latest"
_COMMIT_PREFIX = re.compile(r"[0-9a-f]{7,64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a build found out about one of its images; `index_digest` as in `VersionImage`.

    `image` is REGISTRY/REPO@DIGEST; `lock` the text of the pylock.toml or None for the binder way;
    `packages` are {"name", "version", "size_bytes"}; `layers` {"digest", "size_bytes", "packages"}
    in manifest order; `size_bytes` the compressed image.
    """

    image: str
    digest: str
    accelerator: str
    platform: str
    base_name: str
    base_digest: str
    size_bytes: int
    index_digest: str | None = None
    lock: str | None = None
    packages: Sequence[Json] = ()
    layers: Sequence[Json] = ()


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What a build came to: the facts of its image, or of the default one of several.

    Of several, `image` and `digest` may be those of an index, and `images` are all of them, the
    default first; else it is empty. `branches` are the git branches to move here.
    """

    image: str
    digest: str
    content_key: str
    python: str
    accelerator: str
    base_name: str
    base_digest: str
    size_bytes: int
    platform: str
    lock: str | None = None
    packages: Sequence[Json] = ()
    layers: Sequence[Json] = ()
    commit: str | None = None
    branches: Sequence[str] = ()
    images: Sequence[ImageFacts] = ()

    def all_images(self) -> Sequence[ImageFacts]:
        """The images, the default first."""
        names = [field.name for field in fields(ImageFacts) if field.name != "index_digest"]
        return self.images or (ImageFacts(**{name: getattr(self, name) for name in names}),)


def add(
    session: Session,
    environment_id: int,
    facts: VersionFacts,
    *,
    request: Json,
    request_key: str,
    build_id: str,
    created_by: str,
) -> Version:
    """Add the environment's next version, keep its lock and move its branches, all or nothing."""
    version = Version(
        environment_id=environment_id,
        number=_next_number(session, environment_id),
        image=facts.image,
        digest=facts.digest,
        request=request,
        request_key=request_key,
        content_key=facts.content_key,
        lock_sha256=None if facts.lock is None else _keep_lock(session, facts.lock),
        package_count=len(facts.packages),
        commit=facts.commit,
        python=facts.python,
        accelerator=facts.accelerator,
        base_name=facts.base_name,
        base_digest=facts.base_digest,
        size_bytes=facts.size_bytes,
        platform=facts.platform,
        build_id=build_id,
        created_by=created_by,
        images=[
            _image(session, position, image) for position, image in enumerate(facts.all_images())
        ],
    )
    session.add(version)
    held = (package for image in facts.all_images() for package in image.packages)
    namespace = session.get_one(Environment, environment_id).namespace
    packages.keep(session, namespace, (str(package["name"]) for package in held))
    session.flush()
    holders.keep(session, version)
    for branch in facts.branches:
        aliases.point(session, version, branch)
    rollouts.plan(session, version)
    session.refresh(version, ["environment", "refs"])
    mirrors.plan(session, version)
    return version


def _image(session: Session, position: int, facts: ImageFacts) -> VersionImage:
    return VersionImage(
        position=position,
        accelerator=facts.accelerator,
        platform=facts.platform,
        image=facts.image,
        digest=facts.digest,
        index_digest=facts.index_digest,
        base_name=facts.base_name,
        base_digest=facts.base_digest,
        lock_sha256=None if facts.lock is None else _keep_lock(session, facts.lock),
        packages=[dict(package) for package in facts.packages],
        package_count=len(facts.packages),
        layers=[dict(layer) for layer in facts.layers],
        size_bytes=facts.size_bytes,
    )


def copied_images(version: Version) -> list[VersionImage]:
    """New rows with the facts of a version's images; it was loaded whole."""
    names = {column.key for column in VersionImage.__mapper__.column_attrs} - {"version_id"}
    return [
        VersionImage(**{name: getattr(image, name) for name in names}) for image in version.images
    ]


def _next_number(session: Session, environment_id: int) -> int:
    """Counting in the environment's row serialises its writers: an undone one leaves no gap."""
    return session.execute(
        update(Environment)
        .where(Environment.id == environment_id)
        .values(last_version=Environment.last_version + 1, updated_at=utcnow())
        .returning(Environment.last_version)
        .execution_options(synchronize_session=False)
    ).scalar_one()


def _keep_lock(session: Session, text: str) -> str:
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    insert_missing(session, Lock, [{"sha256": sha256, "text": text, "created_at": utcnow()}])
    return sha256


def find(session: Session, full_name: str, wanted: str = LATEST, *, whole: bool = False) -> Version:
    """The version that `wanted` names: a number, `latest`, a commit's first 7 digits or more, or a
    branch, tried in this order.

    A commit that was built again means its newest version. `whole` loads what lists leave out too:
    the request, and the packages and layers of all images. Raises EnvironmentNotFoundError or
    VersionNotFoundError.
    """
    environment = environments.get(session, full_name)
    statement = select(Version).where(Version.environment_id == environment.id)
    if whole:
        statement = statement.options(
            undefer(Version.request),
            selectinload(Version.images).options(
                undefer(VersionImage.packages), undefer(VersionImage.layers)
            ),
        )
    found = _find(session, environment, statement, wanted)
    if found is None:
        have = (
            f"it has 1 to {environment.last_version}" if environment.last_version else "it has none"
        )
        raise VersionNotFoundError(
            f"{environment.full_name} has no version {wanted[:200]!r}: {have}, and the branches "
            "and commits that its history shows."
        )
    return found


def _find(
    session: Session, environment: Environment, statement: Select[Version], wanted: str
) -> Version | None:
    found: Version | None = None
    if wanted == LATEST:
        return session.scalars(
            statement.where(Version.number == environment.last_version)
        ).one_or_none()
    if _NUMBER.fullmatch(wanted):
        found = session.scalars(statement.where(Version.number == int(wanted))).one_or_none()
    if found is None and _COMMIT_PREFIX.fullmatch(wanted):
        found = _by_commit(session, environment, statement, wanted)
    if found is None:
        found = session.scalars(
            statement.join(VersionRef, VersionRef.version_id == Version.id).where(
                VersionRef.environment_id == environment.id, VersionRef.name == wanted
            )
        ).one_or_none()
    return found


def _by_commit(
    session: Session, environment: Environment, statement: Select[Version], prefix: str
) -> Version | None:
    built = select(Version.commit).where(
        Version.environment_id == environment.id, Version.commit.startswith(prefix)
    )
    unchanged = select(CommitAlias.commit).where(
        CommitAlias.environment_id == environment.id, CommitAlias.commit.startswith(prefix)
    )
    commits = session.scalars(built.union(unchanged).limit(2)).all()
    if len(commits) > 1:
        raise VersionNotFoundError(
            f"Several commits of {environment.full_name} begin with {prefix}; give more digits."
        )
    if not commits:
        return None
    of_alias = select(CommitAlias.version_id).where(
        CommitAlias.environment_id == environment.id, CommitAlias.commit == commits[0]
    )
    return session.scalars(
        statement.where(or_(Version.commit == commits[0], Version.id.in_(of_alias)))
        .order_by(Version.number.desc())
        .limit(1)
    ).one()


def lock_text(session: Session, version: Version | VersionImage) -> str | None:
    """The pylock.toml that an image, or a version's first one, was made from; None without one."""
    if version.lock_sha256 is None:
        return None
    return session.get_one(Lock, version.lock_sha256).text


def image_of(
    version: Version, accelerator: str | None = None, platform: str | None = None
) -> VersionImage:
    """The version's image for an accelerator and a platform, the first that fits where one is None.

    Raises ImageNotFoundError.
    """
    for image in version.images:
        if accelerator in (None, image.accelerator) and platform in (None, image.platform):
            return image
    wanted = " on ".join(each for each in (accelerator, platform) if each)
    have = ", ".join(f"{each.accelerator} on {each.platform}" for each in version.images)
    raise ImageNotFoundError(
        f"{version.environment.full_name}:{version.number} has no image for {wanted[:100]}: it has "
        f"{have}; ask for one of these, or build it for that."
    )


def references(version: Version) -> dict[str, str]:
    """What each accelerator of the version stands for, the default first."""
    found: dict[str, str] = {}
    for image in version.images:
        found.setdefault(image.accelerator, image.reference)
    return found


def history(
    session: Session, full_name: str, *, before: int | None = None, limit: int = 100
) -> Sequence[Version]:
    """Versions, the newest first, with numbers below `before`; raises EnvironmentNotFoundError."""
    environment = environments.get(session, full_name)
    statement = select(Version).where(Version.environment_id == environment.id)
    if before is not None:
        statement = statement.where(Version.number < before)
    return session.scalars(statement.order_by(Version.number.desc()).limit(limit)).all()


def resolve(session: Session, name: str) -> Version:
    """The version that NAMESPACE/NAME[:VERSION] means.

    Raises like `find`, and EnvironmentExpiredError.
    """
    full_name, _, wanted = storable(name).partition(":")
    found = find(session, full_name, wanted or LATEST)
    if found.environment.expired:
        raise EnvironmentExpiredError(
            f"{found.environment.full_name} has expired: its pull request was closed, or had no"
            " push for long; push to it, open it again, or name another environment."
        )
    return found


def is_built(session: Session, digest: str) -> bool:
    """Whether an image of some version, or the index of some, has this digest."""
    found = (
        select(VersionImage.version_id).where(column == digest).limit(1)
        for column in (VersionImage.digest, VersionImage.index_digest)
    )
    return any(session.scalar(statement) is not None for statement in found)


def rollback(session: Session, full_name: str, to: str, *, created_by: str = "") -> Version:
    """A new version number with the facts of an old one; raises like `find`."""
    old = find(session, full_name, to, whole=True)
    copied = {
        column.key: getattr(old, column.key)
        for column in Version.__mapper__.column_attrs
        if column.key not in {"id", "number", "created_at", "created_by"}
    }
    number = _next_number(session, old.environment_id)
    images = copied_images(old)
    version = Version(**copied, number=number, created_by=created_by, images=images)
    session.add(version)
    session.flush()
    holders.keep(session, version)
    rollouts.plan(session, version)
    session.refresh(version, ["environment", "refs"])
    mirrors.plan(session, version)
    return version
