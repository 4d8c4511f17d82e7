"""The catalog's layer tables as the builder's layer index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Engine

from builder.index import Known
from builder.model import Descriptor, Layer
from catalog import layers
from catalog.engine import reading, writing
from worker.patience import patiently


class CatalogIndex:
    """Layers that any worker made, remembered in the catalog.

    A catalog that is away is waited for.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def known(self, keys: Sequence[str], store: str) -> dict[str, Known]:
        return patiently(lambda: self._known(keys, store))

    def record(self, made: Iterable[tuple[str, Layer]], store: str, repo: str) -> None:
        listed = list(made)
        patiently(lambda: self._record(listed, store, repo))

    def lost(self, digest: str, store: str, repo: str) -> None:
        patiently(lambda: self._lost(digest, store, repo))

    def _lost(self, digest: str, store: str, repo: str) -> None:
        with writing(self._engine) as session:
            layers.forget(session, [layers.Place(digest, store, repo)])

    def _known(self, keys: Sequence[str], store: str) -> dict[str, Known]:
        with reading(self._engine) as session:
            rows = layers.known(session, keys)
            places = layers.places(session, [row.digest for row in rows.values()], store)
        return {
            key: Known(
                Layer(Descriptor(row.media_type, row.digest, row.size_bytes), row.diff_id),
                tuple(places.get(row.digest, ())),
            )
            for key, row in rows.items()
        }

    def _record(self, made: Sequence[tuple[str, Layer]], store: str, repo: str) -> None:
        with writing(self._engine) as session:
            layers.record(
                session,
                [
                    layers.KnownLayer(
                        key,
                        layer.descriptor.digest,
                        layer.diff_id,
                        layer.descriptor.size_bytes,
                        layer.descriptor.media_type,
                    )
                    for key, layer in made
                ],
            )
            layers.place(
                session,
                [layers.Place(layer.descriptor.digest, store, repo) for _, layer in made],
            )
