"""What goes wrong in a build says so in one sentence, at once, and leaves nothing published."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rig.http import QuietHandler, serve
from rig.registry import Registry
from rig.wheels import WheelFactory

from builder.download import Downloader
from builder.errors import (
    BadWheelError,
    CancelledError,
    DiskFullError,
    IndexRefusedError,
    IndexUnreachableError,
    NoWheelError,
)
from builder.model import LockedWheel
from builder.source import HostPolicy
from builder.stores.layout import LayoutStore
from builder.stores.registry import RegistryStore

CONTENT = hashlib.shake_256(b"wheel").digest(3_000_000)


class Index:
    """An index that serves one wheel, as badly as it is told to."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.die_after: list[int] = []
        self.ranges = True
        self.stall = threading.Event()
        self.stall_after: int | None = None
        self.redirect: str | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.port = 0

    def locked(self, content: bytes = CONTENT, **changes: Any) -> LockedWheel:
        wheel = LockedWheel(
            name="thing",
            version="1.0",
            filename="thing-1.0-py3-none-any.whl",
            url=f"http://127.0.0.1:{self.port}/thing-1.0-py3-none-any.whl",
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
        )
        return replace(wheel, **changes)


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            index.asked.append((self.path, dict(self.headers)))
            if index.redirect:
                self.send_response(302)
                self.send_header("Location", index.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if index.statuses:
                self.send_response(index.statuses.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body, status = CONTENT, 200
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted and index.ranges else 0
            self.send_response(206 if start else status)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            body = body[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if index.stall_after is not None:
                self.wfile.write(body[: index.stall_after])
                self.wfile.flush()
                index.stall.wait(20)
                self.close_connection = True
            elif index.die_after:
                self.wfile.write(body[: index.die_after.pop(0)])
                self.close_connection = True
            else:
                self.wfile.write(body)

    with serve(Handler) as port:
        index.port = port
        yield index
        index.stall.set()


@pytest.fixture
def downloader(tmp_path: Path) -> Iterator[Downloader]:
    made = Downloader(tmp_path / "wheels", HostPolicy(private=True), timeout_s=5)
    yield made
    made.close()
    assert list((tmp_path / "wheels").iterdir()) == [], "nothing half-fetched is left"


def test_a_wheel_comes_whole_under_its_own_name(index: Index, downloader: Downloader) -> None:
    sizes: list[int] = []
    with downloader.wheel(index.locked(), sizes.append) as path:
        assert path.name == "thing-1.0-py3-none-any.whl"
        assert path.read_bytes() == CONTENT
    assert sum(sizes) == len(CONTENT)
    assert index.asked[0][1]["Accept-Encoding"] == "identity"


def test_what_broke_off_is_fetched_on_from_there(index: Index, downloader: Downloader) -> None:
    index.die_after = [1_000_000, 700_000]
    sizes: list[int] = []
    with downloader.wheel(index.locked(), sizes.append) as path:
        assert path.read_bytes() == CONTENT
    assert len(index.asked) == 3
    assert sum(sizes) < len(CONTENT) + 600_000
    assert "Range" in index.asked[1][1]


def test_an_index_that_knows_no_ranges_sends_all_again(
    index: Index, downloader: Downloader
) -> None:
    index.die_after, index.ranges = [1_000_000], False
    with downloader.wheel(index.locked()) as path:
        assert path.read_bytes() == CONTENT


def test_busy_answers_are_asked_again(index: Index, downloader: Downloader) -> None:
    index.statuses = [503, 429]
    with downloader.wheel(index.locked()) as path:
        assert path.read_bytes() == CONTENT


def test_an_index_that_keeps_failing_is_named(index: Index, downloader: Downloader) -> None:
    index.statuses = [500] * 9
    with pytest.raises(IndexUnreachableError, match=r"127\.0\.0\.1 did not deliver thing-1\.0"):  # noqa: SIM117
        with downloader.wheel(index.locked()):
            pass
    assert len(index.asked) == 4


def test_an_index_that_always_dies_is_given_up(index: Index, downloader: Downloader) -> None:
    index.die_after, index.ranges = [1_500_000] * 50, False
    with pytest.raises(IndexUnreachableError), downloader.wheel(index.locked()):
        pass
    assert len(index.asked) < 12


@pytest.mark.parametrize("status", [404, 410, 403])
def test_a_wheel_that_is_gone_is_named(status: int, index: Index, downloader: Downloader) -> None:
    index.statuses = [status]
    with (
        pytest.raises(NoWheelError, match=r"thing-1\.0") as caught,
        downloader.wheel(index.locked()),
    ):
        pass
    assert caught.value.extra["package"] == "thing"
    assert len(index.asked) == 1


def test_an_index_that_wants_credentials_for_a_wheel_is_named(
    index: Index, downloader: Downloader
) -> None:
    index.statuses = [401]
    with (
        pytest.raises(IndexRefusedError, match="ask the operator for a secret"),
        downloader.wheel(index.locked()),
    ):
        pass
    assert len(index.asked) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "0" * 64},
        {"size_bytes": 1000},
        {"filename": "../../thing-1.0-py3-none-any.whl"},
        {"filename": "/etc/thing.whl"},
        {"filename": "thing.whl\n"},
        {"filename": ""},
        {"filename": "x" * 400 + ".whl"},
    ],
)
def test_other_bytes_or_another_name_than_locked_are_refused(
    changes: dict[str, Any], index: Index, downloader: Downloader
) -> None:
    with pytest.raises(BadWheelError), downloader.wheel(replace(index.locked(), **changes)):
        pass


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y.whl", "", "/y.whl", "http://a:b:c/"]
)
def test_only_http_addresses_are_fetched(url: str, index: Index, downloader: Downloader) -> None:
    with pytest.raises(NoWheelError), downloader.wheel(index.locked(url=url)):
        pass


def test_redirects_lead_to_allowed_hosts_only(index: Index, tmp_path: Path) -> None:
    strict = Downloader(
        tmp_path / "strict", HostPolicy(), own=[f"http://127.0.0.1:{index.port}/simple/"]
    )
    with contextlib.closing(strict):
        for target in ("http://169.254.169.254/x", "http://localhost:1/x", "file:///etc/passwd"):
            index.redirect = target
            with pytest.raises(NoWheelError), strict.wheel(index.locked()):
                pass


def test_redirects_in_a_circle_end(index: Index, downloader: Downloader) -> None:
    index.redirect = f"http://127.0.0.1:{index.port}/again"
    with pytest.raises(NoWheelError, match="circle"), downloader.wheel(index.locked()):
        pass
    assert len(index.asked) <= 6


def test_a_cancelled_download_stops_within_a_second_also_when_the_index_stalls(
    index: Index,
    builder: Any,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    no_threads_left: None,
) -> None:
    index.stall_after = 100_000
    lock = lock_of(few_wheels)
    lock = replace(lock, wheels=(*lock.wheels, index.locked()))
    base, tools = put_base(layout), builder.tools(layout)
    published = layout_index(layout)
    cancelled = threading.Event()
    threading.Timer(1.0, cancelled.set).start()
    started = time.monotonic()
    with pytest.raises(CancelledError):
        builder.build(lock, base, tools, cancelled=cancelled.is_set)
    assert 0.9 < time.monotonic() - started < 2.0
    assert layout_index(layout) == published
    index.stall.set()


def layout_index(layout: LayoutStore) -> Any:
    return json.loads((layout._root / "index.json").read_bytes())


def test_a_cancelled_push_stops_within_a_second_and_publishes_nothing(
    builder: Any,
    registry: Registry,
    make_proxy: Callable[..., Any],
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    no_threads_left: None,
) -> None:
    proxy = make_proxy(registry.port)
    with RegistryStore(proxy.host, plain_http=True, deadline_s=20) as store:
        base, tools = put_base(store, "cancels/tiny"), builder.tools(store)
        lock = lock_of(few_wheels)
        proxy.bytes_per_s = 100_000
        cancelled = threading.Event()
        threading.Timer(2.0, cancelled.set).start()
        started = time.monotonic()
        with pytest.raises(CancelledError):
            builder.build(lock, base, tools, "cancels/env", cancelled=cancelled.is_set)
        assert time.monotonic() - started < 3.5
        proxy.bytes_per_s = None
        manifests = registry.root / "docker/registry/v2/repositories/cancels/env/_manifests"
        assert not manifests.exists()
        image, _ = builder.build(lock, base, tools, "cancels/env")
        assert store.manifest("cancels/env", image.digest) is not None


def test_a_wheel_that_is_not_the_locked_one_fails_the_build_by_name(
    builder: Any,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    wheel_factory: WheelFactory,
) -> None:
    wheel_factory.lie_about(few_wheels[3])
    base, lock = put_base(layout), lock_of(few_wheels)
    before = layout_index(layout)
    with pytest.raises(BadWheelError, match=r"small_3-1\.0") as caught:
        builder.build(lock, base, builder.tools(layout))
    assert caught.value.extra["package"] == "small-3"
    assert layout_index(layout) == before


def test_a_damaged_wheel_fails_the_build_by_its_own_name(
    builder: Any,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    wheel_factory: WheelFactory,
) -> None:
    path = wheel_factory.wheel("torn", raw={"../outside": b"x"})
    with pytest.raises(BadWheelError) as caught:
        builder.build(lock_of([path]), put_base(layout), builder.tools(layout))
    assert caught.value.detail.startswith("torn-1.0-py3-none-any.whl")
    assert caught.value.extra["package"] == "torn"


_FULL = """
import resource, sys
from pathlib import Path
from builder.download import Downloader
from builder.errors import DiskFullError
from builder.layers.cache import LayerCache
from builder.layers.archive import Written
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
def write(out):
    out.write(bytes(100_000))
    return Written("d", "i", 100_000, 1, 2, 3)
try:
    LayerCache(Path(sys.argv[1])).make("ab" * 32, write)
except DiskFullError as error:
    print(error)
"""


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path / "cache")],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "No space is left" in done.stdout
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_build_on_a_full_disk_fails_and_the_next_one_works(
    builder: Any,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root")
    try:
        base, lock, tools = put_base(layout), lock_of(few_wheels), builder.tools(layout)
        with pytest.raises(DiskFullError, match="No space is left"):
            builder.build(lock, base, tools)
        deadline = time.monotonic() + 10
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        image, _ = builder.build(lock, base, tools)
        assert time.monotonic() < deadline
        assert layout.manifest("ns/env", image.digest) is not None
    finally:
        builder.stack.close()
        subprocess.run(["umount", "-l", str(folder)], check=True)


_BUILD_ONE = """
import sys
from pathlib import Path
from builder.download import Downloader
from builder.layers.cache import LayerCache, Recipe
from builder.making import Maker
from builder.model import LockedWheel
from builder.source import HostPolicy
folder, url, sha256, size = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
wheel = LockedWheel("w", "1", url.rpartition("/")[2], url, sha256, size)
downloader = Downloader(folder / "wheels", HostPolicy(private=True))
recipe = Recipe("/opt/env", "3.11", None)
cache = LayerCache(folder / "layers")
with Maker(recipe, cache, downloader, None, lambda: None, lambda _: None) as maker:
    print(maker.layer([wheel], maker.begin([wheel]))[1].digest)
"""


def test_two_processes_that_need_the_same_wheel_fetch_and_splice_it_once(
    few_wheels: list[Path], lock_of: Any, wheel_factory: WheelFactory, tmp_path: Path
) -> None:
    wheel = next(w for w in lock_of(few_wheels).wheels if w.name == "large-a")
    arguments = [str(tmp_path), wheel.url, wheel.sha256, str(wheel.size_bytes)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _BUILD_ONE, *arguments],
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    digests = {process.communicate()[0] for process in started}
    assert len(digests) == 1
    assert digests != {b""}
    assert [path for path in wheel_factory.requests if path.startswith("/files/")] == [
        f"/files/{wheel.filename}"
    ]
