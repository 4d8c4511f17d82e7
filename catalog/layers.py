"""The layer index: what was made before from the same input, and where it lies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from catalog.models import LayerPlace, LayerRow
from catalog.types import utcnow
from catalog.upsert import ROWS_AT_ONCE, insert_missing, insert_or_update


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
    # In the order of keys, so that two transactions never wait for each other's rows.
    for layer in sorted(layers, key=lambda layer: layer.key):
        insert_or_update(
            session,
            LayerRow,
            {
                "key": layer.key,
                "digest": layer.digest,
                "diff_id": layer.diff_id,
                "size_bytes": layer.size_bytes,
                "media_type": layer.media_type,
                "created_at": now,
                "last_used_at": now,
            },
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
    """Note where blobs lie now."""
    now = utcnow()
    insert_missing(
        session,
        LayerPlace,
        [
            {"digest": item.digest, "store": item.store, "repo": item.repo, "created_at": now}
            for item in sorted(places, key=lambda item: (item.digest, item.store, item.repo))
        ],
    )


def places(session: Session, digests: Iterable[str], store: str) -> dict[str, list[str]]:
    """For each digest that the store holds somewhere, the repositories in order."""
    found: dict[str, list[str]] = {}
    for some in _chunks(digests):
        rows = session.execute(
            select(LayerPlace.digest, LayerPlace.repo)
            .where(LayerPlace.store == store, LayerPlace.digest.in_(some))
            .order_by(LayerPlace.digest, LayerPlace.repo)
        )
        for digest, repo in rows:
            found.setdefault(digest, []).append(repo)
    return found


def forget(session: Session, digests: Iterable[str], store: str) -> None:
    """Drop what was noted about blobs that the store turned out not to hold."""
    for some in _chunks(digests):
        session.execute(
            delete(LayerPlace)
            .where(LayerPlace.store == store, LayerPlace.digest.in_(some))
            .execution_options(synchronize_session=False)
        )


def _chunks(values: Iterable[str]) -> Iterator[Sequence[str]]:
    every = list(dict.fromkeys(values))
    for start in range(0, len(every), ROWS_AT_ONCE):
        yield every[start : start + ROWS_AT_ONCE]
