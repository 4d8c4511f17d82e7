"""API and worker over PostgreSQL, Redis and a CNCF registry."""

from __future__ import annotations

from e2e.servers import Deployed


def test_inline_files_become_an_image_of_the_registry(deployed: Deployed) -> None:
    build = deployed.build("inline/files", "two")
    assert build["image"].endswith(f"/e2e/inline/files@{build['digest']}")
