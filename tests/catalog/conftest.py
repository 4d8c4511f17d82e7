from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from catalog import builds, runs
from catalog.build_models import Build
from catalog.engine import make_engine, migrate, writing
from catalog.models import Version
from catalog.states import BuildState
from catalog.versions import VersionFacts

DIGEST = "sha256:" + "a" * 64


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgresql":
        address: str = request.getfixturevalue("postgres_url")
        return address
    return f"sqlite:///{tmp_path}/catalog.db"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    migrate(url)
    engine = make_engine(url)
    yield engine
    engine.dispose()


class Shop:
    """Asks for builds and drives them, as the API and a worker do."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._numbers = count()

    def facts(self, **changes: Any) -> VersionFacts:
        known: dict[str, Any] = {
            "digest": DIGEST,
            "content_key": "c" * 64,
            "python": "3.11.2",
            "accelerator": "cpu",
            "base_name": "auto",
            "base_digest": "sha256:" + "b" * 64,
            "size_bytes": 1000,
            "platform": "linux/amd64",
            "lock": 'lock-version = "1.0"\n',
            "packages": [{"name": "numpy", "version": "2.0.0", "size_bytes": 900}],
            "layers": [{"digest": "sha256:1", "size_bytes": 900, "packages": ["numpy"]}],
        } | changes
        return VersionFacts(**{"image": f"registry.example/alice/gan@{known['digest']}"} | known)

    def ask(self, key: str = "k", environment: str = "alice/gan", **more: Any) -> Build:
        return self.ask_twice_told(key, environment, **more)[0]

    def ask_twice_told(
        self, key: str = "k", environment: str = "alice/gan", **more: Any
    ) -> tuple[Build, bool]:
        with writing(self.engine) as session:
            return builds.request_build(
                session,
                environment=environment,
                request={"source": {"files": {"requirements.txt": "numpy"}}},
                request_key=key,
                **more,
            )

    def run_to(self, build: Build, state: BuildState) -> Build:
        """Drive a queued build through the phases up to `state`."""
        with writing(self.engine) as session:
            running = runs.claim(session, build.id, "w1")
        assert running is not None
        for phase in (BuildState.BUILDING, BuildState.PUSHING):
            if running.state is state:
                break
            with writing(self.engine) as session:
                running = runs.transition(session, build.id, phase, attempt=running.attempt)
        return running

    def finish(self, build: Build, **changes: Any) -> Version:
        running = self.run_to(build, BuildState.PUSHING)
        with writing(self.engine) as session:
            return runs.finish_ready(
                session, build.id, self.facts(**changes), attempt=running.attempt
            )

    def new_version(self, **changes: Any) -> Version:
        """One more version of alice/gan; the arguments are its facts."""
        return self.finish(self.ask(key=f"version-{next(self._numbers)}"), **changes)


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return Shop(engine)
