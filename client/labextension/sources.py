"""Print one SHA-256 of everything that JupyterLab's extension in a folder is built from."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

HERE = Path(__file__).parent
FILES = (".npmrc", "package.json", "package-lock.json", "tsconfig.json", "src/*", "style/*")


def digest(folder: Path) -> str:
    """Of names and contents, so that a file that is added or renamed counts too."""
    names = sorted(path for pattern in FILES for path in folder.glob(pattern))
    sums = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in names
    )
    return hashlib.sha256("".join(sums).encode()).hexdigest()


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.stdout.write(f"{digest(Path(given[0]) if given else HERE)}\n")
