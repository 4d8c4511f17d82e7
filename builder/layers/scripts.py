"""The commands of a wheel: entry points become console scripts, `#!python` scripts get a home.

Source of the rules: the entry points and binary distribution format specifications of
packaging.python.org, and for the text of a console script what uv writes.
"""

from __future__ import annotations

import configparser
import re
from typing import BinaryIO

from builder.errors import BadWheelError
from builder.layers import wheel

MAX_TEXT_BYTES = 1 << 20
MAX_SCRIPTS = 10_000

_ENTRY_POINT = re.compile(
    r"(?P<module>[\w.\-]+)\s*:\s*(?P<function>[\w.\-]+)(\s*\[(?P<extras>[^\[\]]*)\])?"
)
_RESERVED = re.compile(r"python(\d+(\.\d+)?)?")
_VERSIONED_PIP = re.compile(r"pip3\.\d+")
_PLACEHOLDER = b"#!python"
_END_OF_LINE = re.compile(rb"\r\n?|\n")


def entry_points(
    source: wheel.Wheel, file: BinaryIO, interpreter: str, python: str
) -> dict[str, bytes]:
    """The name and text of every console and GUI script that entry_points.txt asks for.

    `python` is the minor version, after which pip names one of its own. Raises BadWheelError.
    """
    entry = source.entry(f"{source.dist_info}/entry_points.txt")
    if entry is None:
        return {}
    if entry.size_bytes > MAX_TEXT_BYTES:
        raise BadWheelError(f"{source.path.name}: entry_points.txt is over the limit of 1 MiB.")
    text = b"".join(wheel.contents(file, entry, source.path.name))
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign] # names keep their case
    try:
        parser.read_string(text.decode("utf-8"))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise BadWheelError(f"{source.path.name}: entry_points.txt can't be read.") from error
    points: dict[str, str] = {}
    for section in ("console_scripts", "gui_scripts"):
        if parser.has_section(section):
            points |= dict(parser.items(section))
    if len(points) > MAX_SCRIPTS:
        raise BadWheelError(f"{source.path.name} has over {MAX_SCRIPTS:,} scripts.")
    if source.dist_info.startswith("pip-"):
        # What pip and uv do: pip's versioned command follows the environment's Python.
        points = {key: value for key, value in points.items() if not _VERSIONED_PIP.fullmatch(key)}
        if "pip3" in points:
            points[f"pip{python}"] = points["pip3"]
    return {
        check_name(source, name): _console_script(source, name, value, interpreter)
        for name, value in sorted(points.items())
    }


def check_name(source: wheel.Wheel, name: str) -> str:
    """The name of a script if it may be one: a plain file name, and not the interpreter's."""
    if "/" in name or not wheel.is_safe(name) or _RESERVED.fullmatch(name):
        raise BadWheelError(f"{source.path.name}: a script may not be named {name[:200]!r}.")
    return name


def with_interpreter(
    source: wheel.Wheel, file: BinaryIO, entry: wheel.Entry, interpreter: str
) -> bytes | None:
    """The text of a `#!python` script with the environment's interpreter, or None for others.

    Whatever else is on that line is dropped, as every installer does.
    """
    if entry.size_bytes > MAX_TEXT_BYTES:
        return None
    text = b"".join(wheel.contents(file, entry, source.path.name))
    if not text.startswith(_PLACEHOLDER):
        return None
    rest = _END_OF_LINE.split(text, maxsplit=1)[1:]
    return b"".join((b"#!", interpreter.encode(), b"\n", *rest))


def _console_script(source: wheel.Wheel, name: str, value: str, interpreter: str) -> bytes:
    found = _ENTRY_POINT.fullmatch(value.strip())
    if found is None:
        raise BadWheelError(
            f"{source.path.name}: the entry point {name[:200]!r} can't be understood."
        )
    function = found["function"]
    return (
        f"#!{interpreter}\n"
        "# -*- coding: utf-8 -*-\n"
        "import sys\n"
        f"from {found['module']} import {function.partition('.')[0]}\n"
        'if __name__ == "__main__":\n'
        '    if sys.argv[0].endswith("-script.pyw"):\n'
        "        sys.argv[0] = sys.argv[0][:-11]\n"
        '    elif sys.argv[0].endswith(".exe"):\n'
        "        sys.argv[0] = sys.argv[0][:-4]\n"
        f"    sys.exit({function}())\n"
    ).encode()
