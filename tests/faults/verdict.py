"""What must be right when the storm is over, counted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
from e2e.servers import ENDED
from faults.parts import Site
from faults.storm import Storm, pool
from rig.process import children

EXPLAINED = {
    "store-unreachable": ("registry", "worker-registry", "disk-registry"),
    # A registry that was killed while it wrote a manifest takes that one no more.
    "store-refused": ("disk-registry", "registry"),
    "disk-full": ("disk",),
    "unavailable": ("worker-index",),
    "engine-unreachable": ("engine",),
}
"""Which harm is a reason for a build to fail, by the problem that it fails with."""
PATIENCE_S = 600


@dataclass
class Verdict:
    """The wrong things, a sentence each, under what must be 0."""

    wrong: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in NAMES})
    accepted: int = 0
    ready: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    requeued: int = 0

    @property
    def right(self) -> bool:
        return not any(self.wrong.values())


LOST = "accepted, and not in a right end"
DOUBLE = "duplicates"
EARLY = "ready before it is all there"
MISSING = "published, and not whole"
LEFT = "left over after the sweep"
NAMES = (LOST, DOUBLE, EARLY, MISSING, LEFT)


class Watch:
    """Looks, all the while, whether what is said to be ready is in the registry then."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._over = threading.Event()
        self._seen: set[str] = set()
        self.early: list[str] = []
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        with httpx.Client(base_url=self._site.kitbag.url, timeout=5, trust_env=False) as http:
            while not self._over.wait(0.1):
                with contextlib.suppress(httpx.HTTPError):
                    answer = http.get("/v1/builds", params={"state": "ready", "limit": 20})
                    if answer.status_code == 200:
                        self._look(answer.json()["items"])

    def _look(self, builds: list[dict[str, Any]]) -> None:
        for build in builds:
            if build["id"] not in self._seen:
                self._seen.add(build["id"])
                self.early += missing(self._site, build["image"], whole=False)


def settle(site: Site, storm: Storm) -> None:
    """Return when all that was accepted has ended; whatever has not by then is lost."""
    site.kitbag.wait_until_ready()
    deadline = time.monotonic() + PATIENCE_S
    waiting = {request.build for request in storm.accepted}
    while waiting and time.monotonic() < deadline:
        for build in list(waiting):
            if site.kitbag.get(f"/v1/builds/{build}")["state"] in ENDED:
                waiting.discard(build)
        time.sleep(0.5)


def judge(site: Site, storm: Storm, watch: Watch) -> Verdict:
    """Count what is wrong, once everything has settled and no harm is done any more."""
    verdict = Verdict()
    builds = {build["id"]: build for build in every(site, "/v1/builds")}
    verdict.accepted = len({request.build for request in storm.accepted})
    verdict.wrong[EARLY] = watch.early
    _ends(site, storm, builds, verdict)
    _versions(site, storm, builds, verdict)
    verdict.wrong[LEFT] = list(left(site))
    return verdict


def _ends(site: Site, storm: Storm, builds: dict[str, dict[str, Any]], verdict: Verdict) -> None:
    """Everything accepted is ready, or failed for a reason that there was; and said so once."""
    lost = verdict.wrong[LOST]
    for build_id in sorted({request.build for request in storm.accepted}):
        build = builds.get(build_id)
        if build is None:
            lost.append(f"{build_id} is not there")
        elif build["state"] == "ready":
            verdict.ready += 1
        elif build["state"] == "failed":
            slug = str(build["error"]["type"]).rpartition("/")[2]
            verdict.failed[slug] = verdict.failed.get(slug, 0) + 1
            began = datetime.fromisoformat(build["created_at"])
            ended = datetime.fromisoformat(build["ended_at"])
            if not storm.explains(began, ended, EXPLAINED.get(slug, ())):
                lost.append(f"{build_id} failed: {build['error']}")
            if build["version"] is not None:
                verdict.wrong[MISSING].append(f"{build_id} failed and has a version")
        else:
            lost.append(f"{build_id} is {build['state']}")
    for build_id in builds:
        events = site.kitbag.events(build_id)
        kinds = [event["kind"] for event in events]
        verdict.requeued += _lost_a_worker(events)
        if kinds.count("done") != 1 or kinds[-1] != "done":
            verdict.wrong[DOUBLE].append(f"{build_id} says done {kinds.count('done')} times")


def requeued(site: Site) -> int:
    """How many builds lost their worker on the way, and were queued again."""
    site.kitbag.wait_until_ready()
    found = [site.kitbag.events(build["id"]) for build in every(site, "/v1/builds")]
    return sum(map(_lost_a_worker, found))


def _lost_a_worker(events: Sequence[dict[str, Any]]) -> bool:
    return any("queued again" in event["message"] for event in events)


def _versions(
    site: Site, storm: Storm, builds: dict[str, dict[str, Any]], verdict: Verdict
) -> None:
    """Versions are 1…n, one of each build, none like the one before, each with its whole image."""
    double = verdict.wrong[DOUBLE]
    asked = {request.build: request.files for request in storm.accepted}
    whole: set[str] = set()
    for environment in every(site, "/v1/environments"):
        found = list(every(site, f"/v1/environments/{environment['name']}/versions"))
        numbers = sorted(version["number"] for version in found)
        if numbers != list(range(1, len(numbers) + 1)):
            double.append(f"{environment['name']} has the versions {numbers}")
        if len({version["build"] for version in found}) != len(found):
            double.append(f"{environment['name']} has two versions of one build")
        in_order = sorted(found, key=lambda version: int(version["number"]))
        for one, next_one in pairwise(in_order):
            # What is the latest already is not built again, nor is what is being built.
            files = asked.get(one["build"])
            if files is not None and files == asked.get(next_one["build"]):
                double.append(f"{environment['name']} has {files} twice in a row")
        for version in found:
            if builds[version["build"]]["state"] != "ready":
                verdict.wrong[MISSING].append(f"{version['image']} is of a build that isn't ready")
            if version["image"] not in whole:
                whole.add(version["image"])
                verdict.wrong[MISSING] += missing(site, version["image"])


_known: dict[str, int] = {}


def missing(site: Site, image: str, *, whole: bool = True) -> Iterator[str]:
    """What the registry's disk lacks of an image; `whole` reads every blob and checks its hash."""
    repository, _, digest = image.partition("/")[2].partition("@")
    root = site.registry.root / "docker/registry/v2/repositories" / repository
    manifest = site.registry.blob_path(digest)
    if not (root / "_manifests/revisions" / digest.replace(":", "/") / "link").exists():
        yield f"{image} has no manifest in its repository"
        return
    if not manifest.exists():
        yield f"{image} has no manifest"
        return
    if whole and not _is(manifest, digest):
        yield f"{image} is not what its digest says"
        return
    said = json.loads(manifest.read_bytes())
    for part in (said["config"], *said["layers"]):
        blob = site.registry.blob_path(part["digest"])
        link = root / "_layers" / part["digest"].replace(":", "/") / "link"
        if not link.exists() or not blob.exists() or blob.stat().st_size != part["size"]:
            yield f"{image} lacks {part['digest']}"
        elif whole and part["digest"] not in _known:
            _known[part["digest"]] = part["size"]
            if not _is(blob, part["digest"]):
                yield f"{image}: {part['digest']} is damaged"


def _is(path: Path, digest: str) -> bool:
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}" == digest


def left(site: Site, patience_s: float = 60) -> Iterator[str]:
    """What nobody owns any more, once living workers had time to sweep."""
    worker = site.kitbag.workers[0]
    worker.kill()
    worker.start()  # a worker that starts cleans up
    deadline = time.monotonic() + patience_s
    found = _left(site)
    while found and time.monotonic() < deadline:
        time.sleep(0.5)
        found = _left(site)
    yield from found


def _left(site: Site) -> list[str]:
    cache = Path(site.kitbag.variables["KITBAG_CACHE"])
    scratch = cache / "scratch"
    found = [str(path) for path in (*scratch.glob("*/build-*"), *scratch.glob("*/wheels/*"))]
    alive = sum(len(pool(each)) for each in site.kitbag.workers)
    folders = list(scratch.iterdir())
    if len(folders) > alive:
        found.append(f"{len(folders)} scratch folders of {alive} processes")
    if site.engine is not None:
        for what in (
            ("ps", "--all", "--quiet"),
            ("images", "--quiet", "kitbag.dev/build"),
            ("network", "ls", "--quiet", "--filter=label=kitbag.dev/build"),
        ):
            listed = site.engine.docker(*what).stdout.split()
            found += [f"docker {' '.join(what)}: {each}" for each in listed]
    return found + [f"process {pid}: {command}" for pid, command in strays(site)]


def strays(site: Site) -> Iterator[tuple[int, str]]:
    """Processes that work in the site's folders, and are no living part's."""
    own: set[int] = set()
    for part in (site.kitbag.api, *site.kitbag.workers):
        if part.pid is not None:
            own |= {part.pid, *children(part.pid)}
    folders = {str(site.kitbag.data), site.kitbag.variables["TMPDIR"]}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (
                (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            if int(process.name) not in own and any(folder in command for folder in folders):
                yield int(process.name), command[:200]


def every(site: Site, path: str) -> Iterator[dict[str, Any]]:
    """All items of a list that comes in pages."""
    cursor: str | None = None
    while True:
        more = {"before": cursor} if cursor else {}
        page = site.kitbag.get(path, limit=100, **more)
        yield from page["items"]
        cursor = page.get("next")
        if cursor is None:
            return
