"""What docs/operate.md tells an operator to do, done: back up, restore, upgrade under load."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from e2e.servers import ROOT, Deploy, Deployed, Server, SlowIndex, StartEmbedded, share_bases
from rig.postgres import Postgres
from rig.process import Daemon, free_port, program
from rig.registry import Factory

from catalog.engine import migrate

pytestmark = [pytest.mark.rig, pytest.mark.slow]


def tool(name: str) -> str:
    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return program(name, "postgresql-client", also=folders)


def plain(url: str) -> str:
    """The URL as PostgreSQL's own tools read it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def test_a_catalog_that_was_dumped_and_restored_goes_on_where_it_was(
    deploy: Deploy,
    make_registry: Factory,
    postgres: Postgres,
    broker_url: Callable[[], str],
    slow_index: SlowIndex,
    new_folder: Callable[[], Path],
) -> None:
    registry = make_registry()
    catalog, kept = postgres.create_database(), new_folder()
    slow_index.hurry()

    def started() -> Deployed:
        return deploy(
            store=f"registry://{registry.host}/kept",
            database_url=catalog,
            broker_url=broker_url(),
            KITBAG_INDEX_URL=slow_index.url,
        )

    site = started()
    first = site.build("keep/env", "one")
    slow_index.slow()
    running = site.submit("keep/other", "two").json()["id"]
    site.wait_for_state(running, "resolving")  # for as long as the index takes to answer

    dump = ("--format=custom", f"--file={kept}/catalog.dump", plain(catalog))
    subprocess.run([tool("pg_dump"), *dump], check=True)
    shutil.copytree(
        registry.root, kept / "registry"
    )  # after the catalog, so with all that is in it

    slow_index.hurry()
    site.wait(running)
    lost = site.build("keep/env", "three")
    assert lost["version"] == 2
    site.stop()
    registry.stop()
    shutil.rmtree(registry.root)
    postgres.drop_database(catalog)

    catalog = postgres.create_database()
    restore = ("--no-owner", "--exit-on-error", f"--dbname={plain(catalog)}")
    subprocess.run([tool("pg_restore"), *restore, f"{kept}/catalog.dump"], check=True)
    shutil.copytree(kept / "registry", registry.root)
    registry.start()
    site = started()  # with a queue that knows nothing

    assert site.get("/v1/resolve", env="keep/env")["image"] == first["image"]
    assert site.wait(running)["state"] == "ready"  # it ran when the dump was made
    assert site.build("keep/env", "three")["version"] == 2
    verified = site.kitbag("verify", "keep/env:1")
    assert verified.returncode == 0, verified.stderr


def test_a_folder_that_was_copied_is_the_same_server_elsewhere(
    start_embedded: StartEmbedded, new_folder: Callable[[], Path]
) -> None:
    first = start_embedded()
    made = first.build("keep/env", "one")
    first.up.stop()
    archive = new_folder() / "kitbag.tar"
    left_out = {first.data / "cache", first.data / "logs"}
    with tarfile.open(archive, "w") as tar:
        for path in first.data.iterdir():
            if path not in left_out:
                tar.add(path, path.name)
    elsewhere = new_folder() / "data"
    with tarfile.open(archive) as tar:
        tar.extractall(elsewhere, filter="data")

    second = start_embedded(elsewhere)
    assert second.get("/v1/resolve", env="keep/env")["digest"] == made["digest"]
    verified = second.kitbag("verify", "keep/env")
    assert verified.returncode == 0, verified.stderr


@pytest.fixture
def release_before(new_folder: Callable[[], Path]) -> Iterator[Path]:
    """The files of this repository just before its newest migration."""
    git = ("git", "-C", str(ROOT))
    newest = ("log", "--diff-filter=A", "-1", "--format=%H", "--", "catalog/migrations/versions")
    added = subprocess.run([*git, *newest], check=True, capture_output=True, text=True).stdout
    folder = new_folder() / "before"
    tree = subprocess.run(
        [*git, "archive", f"{added.strip()}~1"], check=True, capture_output=True
    ).stdout
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=tree, check=True)
    yield folder


@pytest.mark.wide  # it needs the history, which a checkout may lack
def test_the_release_before_goes_on_while_its_catalog_is_migrated_and_the_next_starts(
    release_before: Path,
    deploy: Deploy,
    make_registry: Factory,
    postgres: Postgres,
    broker_url: Callable[[], str],
    slow_index: SlowIndex,
    new_folder: Callable[[], Path],
    small_settings: dict[str, str],
) -> None:
    registry, catalog = make_registry(), postgres.create_database()
    broker, data = broker_url(), new_folder() / "data"
    variables = {
        **small_settings,
        "KITBAG_DATA": str(data),
        "KITBAG_CACHE": str(data / "cache"),
        "KITBAG_STORE": f"registry://{registry.host}/upgraded",
        "KITBAG_DATABASE_URL": catalog,
        "KITBAG_BROKER_URL": broker,
        "KITBAG_INDEX_URL": slow_index.url,
        "KITBAG_LOCAL": "true",
    }
    slow_index.hurry()
    old = Older(release_before, data, variables, free_port())
    old.run("migrate")
    old.start()
    try:
        old.build("upgrade/env", "one")
        slow_index.slow()
        held = old.submit("upgrade/env", "two").json()["id"]
        old.wait_for_state(held, "resolving")

        migrate(catalog)
        slow_index.hurry()
        assert old.wait(held)["state"] == "ready"
        old.build("upgrade/env", "three")
        new = deploy(
            store=variables["KITBAG_STORE"],
            database_url=catalog,
            broker_url=broker,
            KITBAG_INDEX_URL=slow_index.url,
        )
        assert new.build("upgrade/env", "four")["version"] == 4
        assert old.get("/v1/resolve", env="upgrade/env") == new.get(
            "/v1/resolve", env="upgrade/env"
        )
        old.build("upgrade/env", "one", "four")
    finally:
        old.stop()
    assert new.build("upgrade/env", "two", "four")["version"] == 6


class Older(Server):
    """An API and a worker of other files than these."""

    def __init__(self, tree: Path, data: Path, variables: dict[str, str], port: int) -> None:
        share_bases(data / "cache")
        super().__init__(f"http://127.0.0.1:{port}", data, variables)
        self._tree = tree
        inside = ("sh", "-c", 'cd "$0" && exec "$@"', str(tree))  # Python looks there first
        self._parts = [
            Daemon(
                [*inside, sys.executable, "-m", "server", *arguments],
                log=data.parent / f"older-{arguments[0]}.log",
                ready=(lambda: self._lives()) if arguments[0] == "api" else (lambda: True),
                timeout_s=120,
                env=self._environ,
            )
            for arguments in (("worker",), ("api", "--port", str(port)))
        ]

    @property
    def _environ(self) -> dict[str, str]:
        folders = os.pathsep.join([str(self._tree), str(self._tree / "client")])
        return self.environ | {"PYTHONPATH": folders}

    def run(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "server", *arguments],
            cwd=self._tree,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        for part in self._parts:
            part.start()

    def stop(self) -> None:
        for part in self._parts:
            part.stop()
        self.http.close()

    def _lives(self) -> bool:
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.HTTPError:
            return False
