"""What a commit and a pull request say: which packages changed, and where they are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.diff import Change, PackageDiff
from catalog.models import Json

_MOST = 100
_TITLE_CHARS = 100
_NAME_CHARS = 120
TRAILER = "Kitbag-Version"


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a change: `before` is the version that was named, None where it is unknown.

    `packages` is the difference, None where there is no version before; `files` are the changed.
    """

    environment: str
    number: int
    image: str
    before: int | None
    packages: PackageDiff | None
    files: Sequence[str]
    base: tuple[str, str] | None = None
    link: str | None = None

    @property
    def title(self) -> str:
        """One line: the version, and its changes as far as there is room."""
        start = f"{self.environment}:{self.number}"
        if self.packages is None:
            return start
        parts = [*map(_moved, self.packages.changed)]
        parts += [f"{_name(one)} added" for one in self.packages.added]
        parts += [f"{_shown(one['name'])} removed" for one in self.packages.removed]
        if not parts:
            return f"{start}: the same packages"
        return f"{start}: {_fitting(parts, _TITLE_CHARS - len(start))}"

    @property
    def body(self) -> str:
        """All changes, the files, and the digest; plain text that Markdown shows as it is."""
        came = "" if self.before is None else f" instead of {self.environment}:{self.before}"
        parts = [f"{self.environment}:{self.number}{came}"]
        if self.packages is not None:
            parts += _sections(self.packages)
        if self.base is not None:
            parts.append(f"Base:\n    {self.base[0]} -> {self.base[1]}")
        parts.append("Files:\n" + _lines([_shown(file) for file in self.files]))
        if self.link is not None:
            parts.append(self.link)
        return "\n\n".join(parts)

    @property
    def commit(self) -> str:
        """The whole commit message, with trailers (git-interpret-trailers) for programs."""
        trailers = f"{TRAILER}: {self.environment}:{self.number}\nKitbag-Image: {self.image}"
        return f"{self.title}\n\n{self.body}\n\n{trailers}\n"


def _sections(packages: PackageDiff) -> list[str]:
    found = []
    for title, lines in (
        ("Added", [_name(one) for one in packages.added]),
        ("Removed", [_name(one) for one in packages.removed]),
        ("Changed", [_moved(one) for one in packages.changed]),
    ):
        if lines:
            found.append(f"{title}:\n{_lines(lines)}")
    return found or ["The packages are the same."]


def _lines(lines: Sequence[str]) -> str:
    """Indented by four, which is a block of code in Markdown: no name in it means anything."""
    shown = [*lines[:_MOST]]
    if len(lines) > _MOST:
        shown.append(f"and {len(lines) - _MOST} more")
    return "\n".join(f"    {line}" for line in shown)


def _fitting(parts: Sequence[str], room: int) -> str:
    """As many as fit, and how many more there are."""
    taken: list[str] = []
    for part in parts:
        if taken and len(", ".join([*taken, part])) > room:
            break
        taken.append(part[:_NAME_CHARS])
    left = len(parts) - len(taken)
    return ", ".join(taken) + (f" and {left} more" if left else "")


def _moved(change: Change) -> str:
    return f"{_shown(change.name)} {_shown(change.before)} -> {_shown(change.after)}"


def _name(package: Json) -> str:
    return f"{_shown(package['name'])} {_shown(package['version'])}"


def _shown(text: object) -> str:
    """A name or a version as one short line, whatever a wheel's author wrote into it."""
    kept = "".join(letter if letter.isprintable() else "?" for letter in str(text))
    return kept[:_NAME_CHARS].encode(errors="replace").decode()
