"""The layer index: what was made before from the same input, and where it lies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from catalog.models import LayerPlace, LayerRow
from catalog.types import utcnow
from catalog.upsert import ROWS_AT_ONCE, insert_missing, insert_or_update

MAX_PLACES = 8
"""Repositories that are noted of one blob in one store; a mount needs one that still has it."""


@dataclass(frozen=True, slots=True)
class KnownLayer:
    """A layer made before: `digest` of the compressed blob, `diff_id` of the tar inside."""

    key: str
    digest: str
    diff_id: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Place:
    """A repository of a store, named as `Store.name` names it, that holds a blob."""

    digest: str
    store: str
    repo: str


def known(session: Session, keys: Iterable[str]) -> dict[str, KnownLayer]:
    """The layers of those keys that were made before, by key."""
    found: dict[str, KnownLayer] = {}
    for some in _chunks(keys):
        rows = session.scalars(select(LayerRow).where(LayerRow.key.in_(some)))
        found |= {
            row.key: KnownLayer(row.key, row.digest, row.diff_id, row.size_bytes, row.media_type)
            for row in rows
        }
    return found


def record(session: Session, layers: Iterable[KnownLayer]) -> None:
    """Keep what the keys came to; the newest result of a key wins, and counts as used now."""
    now = utcnow()
    newest = {layer.key: layer for layer in layers}
    rows = [
        asdict(newest[key]) | {"created_at": now, "last_used_at": now}
        # In the order of keys, so that two transactions never wait for each other's rows.
        for key in sorted(newest)
    ]
    insert_or_update(
        session,
        LayerRow,
        *rows,
        key=("key",),
        update=("digest", "diff_id", "size_bytes", "media_type", "last_used_at"),
    )


def touch(session: Session, keys: Iterable[str]) -> None:
    """Note that the layers were used, which garbage collection goes by."""
    now = utcnow()
    for some in _chunks(sorted(keys)):
        session.execute(
            update(LayerRow)
            .where(LayerRow.key.in_(some))
            .values(last_used_at=now)
            .execution_options(synchronize_session=False)
        )


def place(session: Session, places: Collection[Place]) -> None:
    """Note where blobs lie now, up to MAX_PLACES of each in a store.

    A blob that every environment has lies in all their repositories, and a few of them do.
    """
    now = utcnow()
    room = {(item.digest, item.store): MAX_PLACES for item in places}
    for store in {item.store for item in places}:
        for some in _chunks(item.digest for item in places if item.store == store):
            counted = session.execute(
                select(LayerPlace.digest, func.count())
                .where(LayerPlace.store == store, LayerPlace.digest.in_(some))
                .group_by(LayerPlace.digest)
            )
            for digest, count in counted:
                room[digest, store] -= count
    rows = []
    for item in sorted(set(places), key=lambda item: (item.digest, item.store, item.repo)):
        if room[item.digest, item.store] > 0:
            room[item.digest, item.store] -= 1
            rows.append(asdict(item) | {"created_at": now})
    insert_missing(session, LayerPlace, rows)


def places(session: Session, digests: Iterable[str], store: str) -> dict[str, list[str]]:
    """For each digest that the store holds somewhere, some repositories, the newest first."""
    found: dict[str, list[str]] = {}
    for some in _chunks(digests):
        rows = session.execute(
            select(LayerPlace.digest, LayerPlace.repo)
            .where(LayerPlace.store == store, LayerPlace.digest.in_(some))
            .order_by(LayerPlace.digest, LayerPlace.created_at.desc(), LayerPlace.repo)
        )
        for digest, repo in rows:
            found.setdefault(digest, []).append(repo)
    return found


def forget(session: Session, lost: Iterable[Place]) -> None:
    """Drop places that turned out not to hold their blob."""
    for item in lost:
        session.execute(
            delete(LayerPlace)
            .where(
                LayerPlace.digest == item.digest,
                LayerPlace.store == item.store,
                LayerPlace.repo == item.repo,
            )
            .execution_options(synchronize_session=False)
        )


def _chunks(values: Iterable[str]) -> Iterator[Sequence[str]]:
    every = list(dict.fromkeys(values))
    for start in range(0, len(every), ROWS_AT_ONCE):
        yield every[start : start + ROWS_AT_ONCE]
