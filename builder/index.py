"""What is remembered of layers between builds: the layer index, and one kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from builder.model import Layer


@dataclass(frozen=True, slots=True)
class Known:
    """A layer that was made before, and some repositories of this store that held it then."""

    layer: Layer
    repos: tuple[str, ...]


class LayerIndex(Protocol):
    """Layer key → layer. It may forget, and may remember what a registry has lost since."""

    def known(self, keys: Sequence[str], store: str) -> dict[str, Known]:
        """What is known of these keys; unknown ones are left out."""

    def record(self, made: Iterable[tuple[str, Layer]], store: str, repo: str) -> None:
        """Remember layers that are in this repository of the store now; knowing them is fine."""

    def lost(self, digest: str, store: str, repo: str) -> None:
        """Forget that this repository of the store held the layer."""


class MemoryIndex:
    """A layer index for one process, for builds without a catalog."""

    def __init__(self) -> None:
        self._layers: dict[str, Layer] = {}
        self._places: dict[tuple[str, str], list[str]] = {}
        self._lock = threading.Lock()

    def known(self, keys: Sequence[str], store: str) -> dict[str, Known]:
        with self._lock:
            return {
                key: Known(self._layers[key], tuple(self._places.get((key, store), ())))
                for key in keys
                if key in self._layers
            }

    def record(self, made: Iterable[tuple[str, Layer]], store: str, repo: str) -> None:
        with self._lock:
            for key, layer in made:
                self._layers[key] = layer
                places = self._places.setdefault((key, store), [])
                if repo not in places:
                    places.append(repo)

    def lost(self, digest: str, store: str, repo: str) -> None:
        with self._lock:
            for (key, where), repos in self._places.items():
                if where == store and self._layers[key].descriptor.digest == digest:
                    self._places[key, where] = [each for each in repos if each != repo]
