"""What a container engine says, as steps of the build: live, without secrets, with a limit."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Self

from builder.engines.logs import Redactor
from builder.model import Step

HEAD_BYTES = 1 << 20
HEAD_LINES = 4000
TAIL_LINES = 200
MAX_LINE_CHARS = 2000
_NOISE = re.compile(
    r"#\d+ sha256:[0-9a-f]{64}.*|#\d+ transferring .*|"
    r"[0-9a-f]{12}: (?:Preparing|Waiting|Pulling fs layer|Verifying Checksum|Download complete|"
    r"Pull complete|Already exists|Layer already exists|Mounted from .*|Pushed)"
)
"""What an engine says of each layer, which tells nobody anything."""


class BuildLog:
    """Tells the first lines at once, up to a limit, and of the rest the last ones at the end.

    Calling it takes a line, from any thread; leaving the block tells the tail. `secrets` and
    whatever looks like one are not shown.
    """

    def __init__(self, report: Callable[[Step], None], secrets: Iterable[str] = ()) -> None:
        self._report = report
        self._redact = Redactor(secrets)
        self._lock = threading.Lock()
        self._bytes = self._lines = self._dropped = 0
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            left_out = self._dropped - len(self._tail)
            if left_out > 0:
                self._tell(f"… {left_out} lines are left out here …")
            for line in self._tail:
                if text := self._shown(line):
                    self._tell(text)
            self._tail.clear()

    def __call__(self, line: str) -> None:
        """Take one line of output."""
        with self._lock:
            if self._lines >= HEAD_LINES or self._bytes >= HEAD_BYTES:
                # Of millions of lines, only those that are kept are looked at.
                self._dropped += 1
                self._tail.append(line[: 2 * MAX_LINE_CHARS])
            elif text := self._shown(line):
                self._lines += 1
                self._bytes += len(text)
                self._tell(text)

    def _shown(self, line: str) -> str:
        """What people see of a line, nothing of some."""
        # A line may be longer than anybody reads; it is redacted before it is cut to what is shown.
        text = self._redact(line[: 2 * MAX_LINE_CHARS])
        text = text if len(text) <= MAX_LINE_CHARS else text[: MAX_LINE_CHARS - 1] + "…"
        return "" if not text.strip() or _NOISE.fullmatch(text) else text

    def _tell(self, text: str) -> None:
        self._report(Step("log", "building", text))
