"""Run as a program: lets repo2docker render a repository into a folder, and says how that went.

repo2docker changes folders, exits and hooks exceptions as it likes, so it has a process of its own,
which ends with the answer. Its buildpacks are asked in its own order.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

ENTRY_FILES = ("repo2docker-entrypoint", "python3-login")


def render(top: Path, context: Path, base_image: str, platform: str, appendix: str) -> str:
    """Fill `context` with a Dockerfile and what it copies; returns the buildpack's name."""
    from docker.utils.build import exclude_paths
    from repo2docker.app import Repo2Docker
    from repo2docker.buildpacks import base

    os.chdir(top)
    app = Repo2Docker()
    chosen: Any = None
    for kind in app.buildpacks:
        candidate = kind(base_image)
        candidate.platform = platform
        if candidate.detect():
            chosen = candidate
            break
    if chosen is None:
        chosen = app.default_buildpack(base_image)
        chosen.platform = platform
    chosen.appendix = appendix
    text = chosen.render({"NB_UID": "1000", "NB_USER": "jovyan"})
    for name in sorted(chosen.get_build_script_files()):
        # Its own name for the copy holds the path of this machine's site-packages.
        theirs, path = chosen.generate_build_context_filename(name)
        ours = f"build_script_files/{name.strip('/').replace('/', '-')}"
        text = text.replace(theirs, ours)
        (context / ours).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, context / ours)
        (context / ours).chmod(0o755)
    for name in ENTRY_FILES:
        shutil.copyfile(Path(base.__file__).parent / name, context / name)
        (context / name).chmod(0o755)
    ignored = [
        line.strip()
        for file in (".dockerignore", ".containerignore")
        if Path(chosen.binder_path(file)).is_file()
        for line in Path(chosen.binder_path(file)).read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    source = context / "src"
    source.mkdir()
    for name in sorted(exclude_paths(".", ignored)):
        there = Path(name)
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if there.is_dir() and not there.is_symlink():
            target.mkdir(exist_ok=True)
        else:
            shutil.copy2(there, target, follow_symlinks=False)
    (context / "Dockerfile").write_text(f"ARG BASE\n{text.lstrip()}")
    return type(chosen).__name__


def main() -> int:
    """Read the order from stdin, write the answer to stdout."""
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    order = json.load(sys.stdin)
    answer: dict[str, str]
    try:
        answer = {
            "buildpack": render(
                Path(order["top"]),
                Path(order["context"]),
                order["base_image"],
                order["platform"],
                order["appendix"],
            )
        }
    except Exception as error:  # noqa: BLE001 # told to whoever started this process
        answer = {"error": type(error).__name__, "detail": str(error)}
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
