"""The layer below the packages: an empty environment, the notebook user, and what starts the image.

It depends on the base alone, so every environment on that base shares it.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from builder.layers import archive, install, splice
from builder.model import Base

PREFIX = "/opt/env"
HOME = "/home/jovyan"
USER = "jovyan"
OWN = "/opt/kitbag"
START = f"{OWN}/start"
LOCK_PATH = f"{OWN}/pylock.toml"
FACTS_PATH = f"{OWN}/environment.json"

_FILES = Path(__file__).with_name("files")


def prefix_of(base: Base) -> install.Prefix:
    """Where packages go in images on this base."""
    return install.Prefix(PREFIX, base.python.minor)


def write(out: BinaryIO, base: Base) -> archive.Written:
    """The skeleton's layer: an empty virtual environment, the user, the start script."""
    writer = archive.LayerWriter(out)
    prefix = prefix_of(base)
    root = PREFIX.strip("/")
    splice.start(writer, prefix)
    writer.mark()
    for folder in ("bin", "lib", f"lib/python{prefix.python}", prefix.site_packages):
        writer.folder(f"{root}/{folder}")
    for name, target in (
        ("bin/python", base.python.path),
        ("bin/python3", "python"),
        (f"bin/python{prefix.python}", "python"),
        ("lib64", "lib"),
    ):
        writer.link(f"{root}/{name}", target)
    home_of_python = base.python.path.rpartition("/")[0]
    settings = (
        f"home = {home_of_python}\n"
        "implementation = CPython\n"
        f"version_info = {base.python.version}\n"
        "include-system-site-packages = false\n"
    )
    writer.file(f"{root}/pyvenv.cfg", settings.encode())
    writer.file(f"{root}/bin/activate", (_FILES / "activate").read_bytes())
    writer.folder(OWN.strip("/"), uid=0, gid=0)
    writer.file(START.strip("/"), (_FILES / "start").read_bytes(), 0o755, uid=0, gid=0)
    writer.mark()
    _user(writer, base)
    return writer.finish()


def _user(writer: archive.LayerWriter, base: Base) -> None:
    """Add the notebook user to the base's own tables, and a home."""
    tables = {}
    if not _has(base.passwd, archive.UID):
        entry = f"{USER}:x:{archive.UID}:{archive.GID}:{USER}:{HOME}:/bin/bash"
        tables["etc/passwd"] = _with_line(base.passwd, entry)
    if not _has(base.group, archive.GID):
        tables["etc/group"] = _with_line(base.group, f"users:x:{archive.GID}:")
    if tables:
        writer.folder("etc", uid=0, gid=0)
    for path, data in tables.items():
        writer.file(path, data, uid=0, gid=0)
    writer.folder("home", uid=0, gid=0)
    writer.folder(HOME.strip("/"))


def _has(table: str, number: int) -> bool:
    """Whether a line of /etc/passwd or /etc/group has that id."""
    return any(line.split(":")[2:3] == [str(number)] for line in table.splitlines())


def _with_line(text: str, line: str) -> bytes:
    lines = text.splitlines() or ["root:x:0:0:root:/root:/bin/sh"]
    return ("\n".join([*lines, line]) + "\n").encode()
