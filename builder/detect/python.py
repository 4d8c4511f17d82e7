"""Which Python a source asks for."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from builder.detect.files import read_text, read_toml
from builder.detect.lines import short
from builder.detect.model import Kind
from builder.errors import InvalidSpecError

_PIN = re.compile(r"(?:python-|cpython-|cpython@)?(3\.\d{1,2}(?:\.\d{1,2})?)")
MAX_UV_LOCK_BYTES = 16 << 20


def pinned_python(root: Path, name: str) -> str | None:
    """The version in a runtime.txt or .python-version, such as 3.11; None when it is empty.

    A .python-version may also name a virtual environment, which says nothing here. Raises
    InvalidSpecError for a runtime.txt with anything but a version of CPython 3.
    """
    lines = (line.partition("#")[0].strip() for line in read_text(root, name).splitlines())
    text = next((line for line in lines if line), "")
    if not text:
        return None
    pin = _PIN.fullmatch(text)
    if pin is None and name.endswith(".python-version"):
        return None
    if pin is None:
        raise InvalidSpecError(
            f"{name} asks for '{short(text)}', which is no Python; write a version such as 3.12.",
            file=name,
            line=1,
        )
    return pin[1]


def requires_python(root: Path, kind: Kind, name: str) -> str | None:
    """The version specifier that a pyproject.toml, uv.lock or pylock.toml names, such as >=3.10."""
    match kind:
        case Kind.PYPROJECT:
            value = read_toml(root, name).get("project", {}).get("requires-python")
        case Kind.UV_LOCK | Kind.PYLOCK:
            value = read_toml(root, name, MAX_UV_LOCK_BYTES).get("requires-python")
        case _:
            return None
    if value is None:
        return None
    try:
        return str(SpecifierSet(value))
    except (InvalidSpecifier, TypeError, AttributeError) as error:
        raise InvalidSpecError(
            f"{name}: requires-python is no version specifier; write one such as >=3.10.", file=name
        ) from error
