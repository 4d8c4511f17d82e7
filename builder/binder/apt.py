"""Read an apt.txt: names of packages, versions, architectures, and nothing that a shell knows."""

from __future__ import annotations

import re
from pathlib import Path

from builder.detect.files import read_text
from builder.detect.lines import short
from builder.errors import InvalidSpecError, TooLargeError

MAX_PACKAGES = 500

# Debian policy 5.6.1 and 5.6.12; apt would take a name that ends in a dash for "remove it".
_PACKAGE = re.compile(
    r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9]+(-[a-z0-9]+)*)?(=[0-9][A-Za-z0-9.+:~-]*)?"
)


def read_apt(root: Path, name: str) -> tuple[str, ...]:
    """The packages, sorted, each once; `#` begins a comment and a line may list several.

    Raises InvalidSpecError (file and line) for anything else than NAME[:ARCH][=VERSION].
    """
    found: set[str] = set()
    for number, line in enumerate(read_text(root, name).splitlines(), 1):
        for word in line.partition("#")[0].split():
            if not _PACKAGE.fullmatch(word):
                raise InvalidSpecError(
                    f"{name}, line {number}: '{short(word)}' is no package; write its name, and "
                    "perhaps a version, as in git=1:2.39.5-0.",
                    file=name,
                    line=number,
                )
            found.add(word)
    if len(found) > MAX_PACKAGES:
        raise TooLargeError(f"'{name}' lists more than {MAX_PACKAGES} packages; list fewer.")
    return tuple(sorted(found))
