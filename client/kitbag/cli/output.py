"""How the commands print: JSON, columns, sizes, times."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kitbag.builds import Plan
    from kitbag.versions import Diff

# What a build prints comes from strangers; a terminal would obey its escape sequences.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

as_json = click.option("--json", "json_", is_flag=True, help="Print JSON (docs/cli.md).")


def clean(text: str) -> str:
    """The text without anything that a terminal acts on, line ends and tabs excepted.

    Bytes of file names that are not UTF-8 become question marks.
    """
    return _encodable(_CONTROLS.sub("", _ESCAPES.sub("", text)))


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON document on stdout."""
    click.echo(_encodable(json.dumps(value, indent=2, ensure_ascii=False)))


def print_json_line(value: Mapping[str, Any]) -> None:
    """One JSON document on one line of stdout."""
    click.echo(_encodable(json.dumps(value, ensure_ascii=False)))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns, left-aligned and two spaces apart, the header bold on a terminal."""
    lines = [tuple(header), *(tuple(map(clean, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        text = "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        click.secho(text, bold=number == 0)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line; those without a value are left out."""
    shown = [(name, clean(value)) for name, value in fields if value]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"{name.ljust(width)}  {value}")


def print_changes(found: Plan | Diff) -> None:
    """Packages added, removed and changed, one a line, with the sizes of their wheels."""
    for sign, packages, colour in (("+", found.added, "green"), ("-", found.removed, "red")):
        for package in packages:
            line = f"{sign} {package.name} {package.version}{_in_brackets(package.size_bytes)}"
            click.secho(clean(line), fg=colour)
    for change in found.changed:
        line = f"~ {change.name} {change.before} -> {change.after}"
        click.secho(
            clean(line + _in_brackets(change.before_bytes, change.after_bytes)), fg="yellow"
        )


def _in_brackets(*sizes_bytes: int | None) -> str:
    """(1.2 MB), or (1.2 MB -> 1.3 MB); empty where a size is not known."""
    if not all(sizes_bytes):
        return ""
    return f" ({' -> '.join(dict.fromkeys(map(size, sizes_bytes)))})"


def print_bars(rows: Sequence[tuple[str, int]], *, width: int = 40) -> None:
    """Names and sizes in bytes as bars, the first being the longest: sort them before."""
    if not rows:
        return
    widest = max(len(clean(name)) for name, _ in rows)
    for name, amount in rows:
        eighths = round(amount / rows[0][1] * width * 8) if rows[0][1] else 0
        bar = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
        click.echo(f"{clean(name).ljust(widest)}  {size(amount).rjust(8)}  {bar or '▏'}")


def size(size_bytes: int | None) -> str:
    """A size for people, such as 1.2 MB; empty for None."""
    if size_bytes is None:
        return ""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.95:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def ago(when: datetime | None) -> str:
    """How long ago that was, in one unit; empty for None."""
    if when is None:
        return ""
    seconds = max(0, int((datetime.now(when.tzinfo) - when).total_seconds()))
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def counted(number: int, noun: str) -> str:
    """A number and its noun, such as 1 package or 2 packages."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def short(digest: str) -> str:
    """As much of a digest as tells images apart in a table."""
    return digest[:19]
