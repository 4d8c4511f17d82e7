"""A limit on what several threads do ahead of what they write, which lets none of them stop."""

from __future__ import annotations

import threading


class Ahead:
    """Counts the bytes that are ahead, over all threads.

    Nobody waits for it: who finds it full begins nothing more before something of their own is
    written, and who has nothing ahead may always begin.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        return self._bytes >= self._most_bytes

    def add(self, size_bytes: int) -> None:
        """Count these bytes, or with a negative number no longer."""
        with self._lock:
            self._bytes += size_bytes
