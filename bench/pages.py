"""What the pages cost the server with many environments, beside its own /healthz.

    python bench/pages.py [--environments 10000] [--requests 50] [--json]

A catalog of that many environments, each with a version of 100 packages and 40 layers, in SQLite
in a temporary folder; one client that asks over loopback. Milliseconds per request.
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
from typing import NoReturn

import httpx
import uvicorn

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from api.app import create_app  # noqa: E402
from api.settings import ApiSettings  # noqa: E402
from catalog import builds, environments, runs, versions  # noqa: E402
from catalog.engine import make_engine, migrate, writing  # noqa: E402
from catalog.states import BuildState  # noqa: E402

HTML = {"Accept": "text/html"}
AT_ONCE = 500


class NoQueue:
    """Pages ask no worker for anything."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"a page asked the queue for {name}")


def facts(number: int) -> versions.VersionFacts:
    digest = f"sha256:{number:064x}"
    return versions.VersionFacts(
        image=f"registry.example/many/env@{digest}",
        digest=digest,
        content_key=f"{number:064x}",
        python="3.11",
        accelerator="cpu",
        base_name="auto",
        base_digest=f"sha256:{0:064x}",
        size_bytes=200_000_000,
        platform="linux/amd64",
        packages=[
            {"name": f"package-{each}", "version": "1.0", "size_bytes": 10_000 * each + 1}
            for each in range(100)
        ],
        layers=[
            {"digest": f"sha256:{each:064x}", "size_bytes": 1_000_000, "packages": ["package-1"]}
            for each in range(40)
        ],
    )


def fill(url: str, count: int) -> None:
    """Environments that were built once, as a worker ends them, many to a transaction."""
    engine = make_engine(url)
    for start in range(0, count, AT_ONCE):
        with writing(engine) as session:
            for number in range(start, min(start + AT_ONCE, count)):
                name = f"ns-{number % 100}/env-{number:06d}"
                environments.get_or_create(session, name)
                request = {"environment": name, "source": {"files": {"requirements.txt": ""}}}
                build, _ = builds.request_build(
                    session,
                    environment=name,
                    request=request,
                    request_key=f"{number:064x}",
                    reuse_key=f"{number:064x}",
                )
                runs.claim(session, build.id, "bench")
                for state in (BuildState.BUILDING, BuildState.PUSHING):
                    runs.transition(session, build.id, state, attempt=1)
                runs.finish_ready(
                    session, build.id, facts(number), attempt=1, way="layered", stats={}
                )
    engine.dispose()


def measure(url: str, paths: dict[str, str], requests: int) -> dict[str, dict[str, float]]:
    found = {}
    with httpx.Client(base_url=url, headers=HTML, timeout=60) as http:
        for name, path in paths.items():
            took = []
            for _ in range(requests + 5):
                began = time.perf_counter()
                response = http.get(path)
                took.append((time.perf_counter() - began) * 1e3)
                assert response.status_code == 200, (path, response.text[:200])
            took = sorted(took[5:])
            found[name] = {
                "p50_ms": round(statistics.median(took), 1),
                "p99_ms": round(took[int(len(took) * 0.99) - 1], 1),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environments", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kitbag-pages-") as name:
        folder = Path(name)
        database = f"sqlite:///{folder}/catalog.db"
        migrate(database)
        fill(database, asked.environments)
        app = create_app(ApiSettings(database_url=database, data=folder), NoQueue())
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        last = f"ns-{(asked.environments - 1) % 100}/env-{asked.environments - 1:06d}"
        paths = {
            "/healthz": "/healthz",
            "first page": "/",
            "a search": f"/?q={asked.environments - 1:06d}",
            "a namespace": "/?namespace=ns-7",
            "an environment": f"/environments/{last}",
            "a version": f"/environments/{last}/versions/1",
            "builds": "/builds",
            "the form": f"/new?like={last}",
        }
        rows = measure(f"http://127.0.0.1:{port}", paths, asked.requests)
        server.should_exit = True
        thread.join(10)
    if asked.json:
        print(json.dumps(rows))
        return
    print(f"| {asked.environments:,} environments | p50 | p99 | p50 ÷ /healthz |")
    print("|---|---:|---:|---:|")
    for name, row in rows.items():
        ratio = row["p50_ms"] / rows["/healthz"]["p50_ms"]
        print(f"| {name} | {row['p50_ms']} ms | {row['p99_ms']} ms | {ratio:.1f} |")


if __name__ == "__main__":
    main()
