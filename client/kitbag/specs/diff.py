"""What a pin changes, as a unified diff."""

from __future__ import annotations

import difflib


def diff(before: bytes, after: bytes, filename: str = "-") -> str:
    """A unified diff of two versions of a file; empty when they are the same.

    Line ends other than LF are kept in the lines, and a missing final newline is said as git says
    it. Bytes that are not UTF-8 are shown as replacement characters.
    """
    if before == after:
        return ""
    old, new = (
        data.decode("utf-8", "replace").splitlines(keepends=True)
        if b"\r" not in data
        else [part + "\n" for part in data.decode("utf-8", "replace").split("\n")]
        for data in (before, after)
    )
    lines = difflib.unified_diff(old, new, f"a/{filename}", f"b/{filename}")
    return "".join(
        line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines
    )
