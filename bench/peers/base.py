"""The base image of the peers, where their engine and its registry have it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rig.docker import DockerEngine


def push_base(engine: DockerEngine, registry_host: str, tar: Path) -> str:
    """Import a root file system and push it; returns the reference to build FROM."""
    reference = f"{registry_host}/peers/debian-python:bookworm"
    engine.docker("import", str(tar), reference)
    engine.docker("push", reference)
    return reference
