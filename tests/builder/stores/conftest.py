"""Blobs, images, stores, and a front that makes the real registry behave like others do."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import BinaryIO

import pytest
from rig.http import serve

from builder.model import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, Descriptor
from builder.stores.protocol import Manifest, Store
from builder.stores.registry import RegistryStore


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes, their descriptor, and a count of how often they were opened."""

    data: bytes
    media_type: str = LAYER_TYPE
    opened: list[int] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.data))

    def open(self) -> BinaryIO:
        self.opened.append(1)
        return io.BytesIO(self.data)


MakeBlob = Callable[..., Blob]
MakeStore = Callable[..., RegistryStore]
PushImage = Callable[..., Manifest]


@pytest.fixture
def make_blob(request: pytest.FixtureRequest) -> MakeBlob:
    """Makes a blob of so many bytes, new in each test and the same in each run."""
    rng = random.Random(request.node.nodeid)
    return lambda size: Blob(rng.randbytes(size))


@pytest.fixture
def make_store() -> Iterator[MakeStore]:
    """Makes a store for a host, with little patience unless told otherwise."""
    with ExitStack() as stack:

        def make(host: str, **options: object) -> RegistryStore:
            known: dict[str, object] = {"timeout_s": 10, "deadline_s": 60, "retries": 3, **options}
            return stack.enter_context(RegistryStore(host, **known))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def push_image() -> PushImage:
    """Pushes layers, a config and a manifest, the way a build does; returns the manifest."""

    def push(
        store: Store, repo: str, layers: list[Blob], *tags: str, arch: str = "amd64"
    ) -> Manifest:
        config = Blob(json.dumps({"os": "linux", "architecture": arch}).encode(), CONFIG_TYPE)
        for blob in (*layers, config):
            store.put_blob(repo, blob.descriptor, blob.open)
        manifest = image_manifest(config, layers)
        store.put_manifest(repo, manifest, tags=tags)
        return manifest

    return push


def image_manifest(config: Blob, layers: list[Blob]) -> Manifest:
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.descriptor.as_oci(),
            "layers": [layer.descriptor.as_oci() for layer in layers],
        }
    ).encode()
    return Manifest(MANIFEST_TYPE, f"sha256:{hashlib.sha256(data).hexdigest()}", data)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in, without its body."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response instead of the real registry's."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Rule = Callable[[Asked], Answer | None]
Change = Callable[[Asked, Answer], Answer]


@dataclass(slots=True)
class Front:
    """Stands before a real registry: `rule` answers instead of it, `change` changes its answer."""

    port: int = 0
    rule: Rule = lambda _: None
    change: Change = lambda _, answer: answer
    asked: list[Asked] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @staticmethod
    def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
        """An answer for a rule; `_` in header names stands for `-`."""
        return Answer(status, {k.replace("_", "-"): v for k, v in headers.items()}, body)

    def count(self, method: str) -> int:
        return sum(asked.method == method for asked in self.asked)


@pytest.fixture
def make_front() -> Iterator[Callable[[int], Front]]:
    """Puts a front before a registry's port."""
    with ExitStack() as stack:

        def make(target_port: int) -> Front:
            front = Front()
            front.port = stack.enter_context(serve(_handler(front, target_port)))
            return front

        yield make


def _handler(front: Front, target_port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
            front.asked.append(asked)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = front.rule(asked) or front.change(asked, self._ask(body))
            self.send_response(answer.status)
            length = {"Content-Length": str(len(answer.body))} if self.command != "HEAD" else {}
            for name, value in {**length, **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815

        def _ask(self, body: bytes) -> Answer:
            connection = http.client.HTTPConnection("127.0.0.1", target_port, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            response = connection.getresponse()
            data = response.read()
            connection.close()
            kept = {k: v for k, v in response.getheaders() if k.lower() != "content-length"}
            if self.command == "HEAD":
                kept = dict(response.getheaders())
            return Answer(response.status, kept, data)

        def log_request(self, *args: object) -> None:
            """Nothing: `asked` is the log."""

    return Handler
