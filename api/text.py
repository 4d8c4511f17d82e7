"""Values as people read them, and text that can be stored."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def human(size_bytes: int) -> str:
    """A size such as 64 MiB."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("it holds a NUL character, which no text file does")
    return text


Text = Annotated[str, AfterValidator(_no_nul)]
"""A string that every database can hold."""
