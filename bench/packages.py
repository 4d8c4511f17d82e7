"""Which environments contain a package in a range, asked of a catalog with many of them.

    python bench/packages.py [--environments 10000] [--requests 50] [--json]

Each environment has two versions of 100 packages; the package that is asked for is in all of them,
in one of forty releases. The questions go to the real API over loopback, on SQLite in a temporary
folder; milliseconds per request.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import uvicorn

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from api.app import create_app  # noqa: E402
from api.settings import ApiSettings  # noqa: E402
from catalog import builds, environments, holders  # noqa: E402
from catalog.engine import make_engine, migrate, writing  # noqa: E402
from catalog.models import Version  # noqa: E402

AT_ONCE = 250


class NoQueue:
    """Nobody is asked to work."""

    def queue_messages(self) -> dict[str, int]:
        return {}


QUESTIONS = {
    "some of the releases": "urllib3<2.5",
    "nearly all of them": "urllib3!=2.7",
    "one release": "urllib3==2.4",
    "a fifth of a package that all have": "package-7==1.3",
    "a package that none has": "nothing>1",
}


def fill(url: str, count: int) -> None:
    """Environments of two versions, all by one build, many to a transaction."""
    engine = make_engine(url)
    with writing(engine) as session:
        build, _ = builds.request_build(
            session, environment="ns/first", request={}, request_key="0" * 64
        )
    for start in range(0, count, AT_ONCE):
        with writing(engine) as session:
            for number in range(start, min(start + AT_ONCE, count)):
                environment = environments.get_or_create(
                    session, f"ns-{number % 100}/env-{number:06d}"
                )
                environment.last_version = 2
                for which in (1, 2):
                    version = version_of(environment.id, build.id, which, 2 * number + which)
                    session.add(version)
                    session.flush()
                    holders.keep_releases(session, version.id, held(2 * number + which))
    engine.dispose()


def held(number: int) -> list[tuple[str, str]]:
    own = ("urllib3", f"2.{number % 40}")
    return [own, *((f"package-{each}", f"1.{number % 5}") for each in range(99))]


def version_of(environment: int, build: str, number: int, unique: int) -> Version:
    digest = f"sha256:{unique:064x}"
    return Version(
        environment_id=environment,
        number=number,
        image=f"registry.example/many/env@{digest}",
        digest=digest,
        request={},
        request_key=digest[7:],
        content_key=digest[7:],
        package_count=100,
        python="3.11",
        accelerator="cpu",
        base_name="auto",
        base_digest=f"sha256:{0:064x}",
        size_bytes=200_000_000,
        platform="linux/amd64",
        build_id=build,
    )


def served(url: str, data: Path) -> tuple[uvicorn.Server, str]:
    app = create_app(ApiSettings(database_url=url, data=data), NoQueue())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return server, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


def measure(http: httpx.Client, requirement: str, requests: int) -> dict[str, float]:
    taken = []
    for _ in range(requests):
        began = time.perf_counter()
        answer = http.get("/v1/packages", params={"requirement": requirement})
        taken.append(1000 * (time.perf_counter() - began))
        answer.raise_for_status()
    taken.sort()
    return {
        "total": answer.json()["total"],
        "median_ms": round(statistics.median(taken), 1),
        "p99_ms": round(taken[int(0.99 * (len(taken) - 1))], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kitbag-bench-") as folder:
        url = f"sqlite:///{folder}/catalog.db"
        migrate(url)
        fill(url, options.environments)
        server, address = served(url, Path(folder))
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as http:
            found = {
                what: measure(http, requirement, options.requests)
                for what, requirement in QUESTIONS.items()
            }
        server.should_exit = True
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{options.environments} environments, 2 versions each")
    print(f"{'question':<34}{'versions':>10}{'median ms':>11}{'p99 ms':>9}")
    for what, told in found.items():
        print(f"{what:<34}{told['total']:>10}{told['median_ms']:>11}{told['p99_ms']:>9}")


if __name__ == "__main__":
    main()
