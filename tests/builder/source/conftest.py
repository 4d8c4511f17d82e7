"""A repository with some history."""

from __future__ import annotations

import itertools

import pytest
from rig.git import GitServer, Repository

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def repository(git_server: GitServer) -> Repository:
    """Three commits on main, a branch, a light and an annotated tag; don't change it."""
    made = git_server.repository(f"source-{next(NUMBERS)}", {"requirements.txt": "one\n"})
    made.tag("v1")
    made.commit({"requirements.txt": "two\n", "run.sh": "#!/bin/sh\n"})
    made.tag("v2", annotated=True)
    made.commit({"requirements.txt": "three\n"})
    made.commit({"requirements.txt": "branch\n"}, ref="feature/x")
    made.git("checkout", "-q", "main")
    return made
