"""A build's output as people may see it: without secrets, and never more than so much of it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

HIDDEN = "****"
MAX_LINE = 4000
HEAD_BYTES = 512 << 10
TAIL_BYTES = 512 << 10

_SECRET_BYTES = 1 << 20
_MIN_SECRET = 4
# Shorter values would hide half of every line; nobody's token is that short.

_IN_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{1,15}://)[^\s/@'\"]+@")
_TOKENS = re.compile(
    r"""(?x)
      gh[pousr]_[A-Za-z0-9]{16,255} | github_pat_[A-Za-z0-9_]{20,255}  # GitHub
    | glpat-[A-Za-z0-9_-]{16,255}                                      # GitLab
    | pypi-[A-Za-z0-9_-]{16,1000}                                      # PyPI
    | xox[abprs]-[A-Za-z0-9-]{10,255}                                  # Slack
    | hf_[A-Za-z0-9]{20,255}                                           # Hugging Face
    | (?:AKIA|ASIA)[A-Z0-9]{16}                                        # AWS
    | eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,4000}  # a JWT
    """
)
_HEADER = re.compile(r"(?i)(authorization:\s*(?:basic|bearer|token)\s+)\S+")
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]"
)


def secret_texts(files: Iterable[Path]) -> list[str]:
    """What must not be shown of files that steps mount: all of each, but for certificates.

    Those are public, and a site's authorities are thousands of lines to look for in every line.
    """
    texts = []
    for path in files:
        with path.open("rb") as file:
            text = file.read(_SECRET_BYTES).decode(errors="replace")
        if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY" in text:
            texts.append(text)
    return texts


class Redactor:
    """Hides secrets in lines: those given, credentials in URLs and headers, well-known tokens.

    A secret of several lines is hidden line by line, since lines are what the output comes in.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        values = {part.strip() for each in secrets for part in (each, *each.splitlines())}
        known = sorted((v for v in values if len(v) >= _MIN_SECRET), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, line: str) -> str:
        """The line, its secrets replaced by ****."""
        if self._known is not None:
            line = self._known.sub(HIDDEN, line)
        line = _IN_URL.sub(rf"\g<scheme>{HIDDEN}@", line)
        line = _HEADER.sub(rf"\g<1>{HIDDEN}", line)
        return _TOKENS.sub(HIDDEN, line)


class LogSink:
    """Keeps the beginning and the end of an output, redacted, and passes lines on as they come.

    Lines over `max_line` characters are cut; terminal codes are left out. Of the rest the first
    `head_bytes` and the last `tail_bytes` are kept: `lines` says in one line between them how many
    are missing. `live` gets lines of the beginning only, then one that says where the rest is.
    """

    def __init__(
        self,
        live: Callable[[str], None] = lambda _: None,
        *,
        secrets: Iterable[str] = (),
        max_line: int = MAX_LINE,
        head_bytes: int = HEAD_BYTES,
        tail_bytes: int = TAIL_BYTES,
    ) -> None:
        self._live = live
        self._redact = Redactor(secrets)
        self._max_line = max_line
        self._head_left, self._tail_bytes = head_bytes, tail_bytes
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._tail_held = 0
        self._full = False
        self._left_out = 0

    def __call__(self, line: str) -> None:
        """Take one line of output."""
        # Redacted before it is cut, or half a secret could remain at the cut.
        shown = self._redact(_CONTROL.sub("", line))
        if len(shown) > self._max_line:
            cut = len(shown) - self._max_line
            shown = f"{shown[: self._max_line]} … {cut} characters more"
        size = len(shown.encode()) + 1
        if not self._full and size <= self._head_left:
            self._head_left -= size
            self._head.append(shown)
            self._live(shown)
            return
        if not self._full:
            self._full = True
            self._live("… more output than is shown live; its end is kept with the build")
        self._tail.append(shown)
        self._tail_held += size
        while self._tail_held > self._tail_bytes:
            self._tail_held -= len(self._tail.popleft().encode()) + 1
            self._left_out += 1

    @property
    def lines(self) -> list[str]:
        """What is kept, in order."""
        gap = [f"… {self._left_out} lines left out …"] if self._left_out else []
        return [*self._head, *gap, *self._tail]

    @property
    def text(self) -> str:
        """What is kept, as one text."""
        return "".join(f"{line}\n" for line in self.lines)
