"""A worker with podman makes what one with Docker makes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rig.podman import Podman

from .conftest import Workshop

pytestmark = pytest.mark.rig


def test_a_repository_is_built_by_podman_and_runs_in_docker(
    make_workshop: Callable[..., Workshop], podman_service: Podman
) -> None:
    site = make_workshop(
        engine="podman", engine_address=podman_service.address, engine_memory_bytes=512 << 20
    )
    files = {
        "requirements.txt": "two\n",
        "postBuild": "#!/bin/bash\npython -c 'import two, one'\nid -u > who\n",
    }
    version = site.build(files, "podman/repo")
    assert site.run(version, "cat", "who").stdout.strip() == "1000"
    names = podman_service.podman("images", "--all", "--format={{.Repository}}").split()
    assert not [name for name in names if "/kitbag/stage/" in name or "kitbag.dev/build" in name]
    assert podman_service.podman("ps", "--all", "--external", "--quiet") == ""
