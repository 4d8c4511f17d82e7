"""A registry that is slow, refuses, or dies half-way costs a retry or gives one clear sentence."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from rig.proxy import Proxy, http_answer
from rig.registry import Factory, Registry

from builder.errors import StoreUnreachableError

pytestmark = pytest.mark.rig
MIB = 1 << 20


@contextmanager
def cut_once(proxy: Proxy, after_bytes: int) -> Iterator[None]:
    """Break every connection once the client has sent so many bytes; then the line is good."""
    proxy.die_after_bytes = after_bytes
    done = threading.Event()

    def heal() -> None:
        while not done.is_set():
            if proxy.died:
                proxy.die_after_bytes = None
                return
            time.sleep(0.005)

    healer = threading.Thread(target=heal)
    healer.start()
    try:
        yield
        healed = not healer.is_alive()
    finally:
        done.set()
        healer.join()
    assert healed, "the line was never cut"


def test_a_push_cut_off_in_the_middle_is_sent_again(registry, make_proxy, make_store, make_blob):
    proxy, blob = make_proxy(registry.port), make_blob(4 * MIB)
    store = make_store(proxy.host)
    with cut_once(proxy, 2 * MIB):
        put = store.put_blob("lines/once", blob.descriptor, blob.open)
    assert put.moved_bytes >= len(blob.data)
    assert b"".join(store.blob("lines/once", blob.digest)) == blob.data


def test_chunks_that_arrived_are_not_sent_again(registry, make_front, make_store, make_blob):
    front, blob = make_front(registry.port), make_blob(4 * MIB)
    store = make_store(front.host, chunk_bytes=MIB)
    broken = iter([False, False, True])

    def unavailable(asked):
        if asked.method == "PATCH" and next(broken, False):
            return front.answer(503)
        return None

    front.rule = unavailable
    assert store.put_blob("lines/resumed", blob.descriptor, blob.open).moved_bytes == 5 * MIB
    sent = [a.headers["content-range"].split("-")[0] for a in front.asked if a.method == "PATCH"]
    assert sent == ["0", f"{MIB}", f"{2 * MIB}", f"{2 * MIB}", f"{3 * MIB}"]
    assert b"".join(store.blob("lines/resumed", blob.digest)) == blob.data


@pytest.mark.parametrize("cut_at", [1.0, 2.5, 3.9])
def test_a_line_cut_inside_a_chunk_ends_with_the_whole_blob(
    registry, make_proxy, make_store, make_blob, cut_at
):
    proxy, blob = make_proxy(registry.port), make_blob(4 * MIB)
    store = make_store(proxy.host, chunk_bytes=MIB)
    with cut_once(proxy, int(cut_at * MIB)):
        store.put_blob("lines/chunks", blob.descriptor, blob.open)
    assert b"".join(store.blob("lines/chunks", blob.digest)) == blob.data


def test_an_answer_lost_after_the_registry_stored_all_moves_nothing_twice(
    registry, make_front, make_store, make_blob
):
    front, blob = make_front(registry.port), make_blob(100_000)
    store = make_store(front.host)
    front.change = lambda asked, said: front.answer(502) if asked.method == "PUT" else said
    assert store.put_blob("lines/lost", blob.descriptor, blob.open).moved_bytes == 100_000
    assert front.count("PUT") == 1


def test_a_download_goes_on_where_the_line_broke(registry, make_store, make_blob):
    blob = make_blob(3 * MIB)
    make_store(registry.host).put_blob("lines/down", blob.descriptor, blob.open)
    with half_deaf(registry.port, breaks_after=MIB) as (port, carried):
        store = make_store(f"127.0.0.1:{port}")
        assert b"".join(store.blob("lines/down", blob.digest)) == blob.data
    assert len(carried) >= 3
    assert sum(carried) < 4 * MIB


def test_a_registry_that_is_not_there_is_one_sentence(make_store):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        store = make_store(host, retries=1)
        with pytest.raises(StoreUnreachableError, match=f"{host} did not answer.*no connection"):
            store.missing("lines/none", [f"sha256:{'0' * 64}"])


def test_a_registry_that_dies_in_mid_push_publishes_nothing(
    make_registry: Factory, make_proxy, make_store, make_blob, push_image
):
    registry: Registry = make_registry()
    proxy = make_proxy(registry.port)
    store = make_store(proxy.host, retries=1)
    proxy.die_after_bytes = 3 * MIB
    with pytest.raises(StoreUnreachableError, match="check that it is up"):
        push_image(store, "lines/dead", [make_blob(MIB), make_blob(4 * MIB)], "v1")
    assert make_store(registry.host).manifest("lines/dead", "v1") is None
    assert sorted(registry.blobs().values()) == [MIB]


def test_a_registry_killed_and_started_again_gets_the_rest(
    make_registry: Factory, make_store, make_blob, push_image
):
    registry: Registry = make_registry()
    store = make_store(registry.host, retries=6)
    push_image(store, "lines/again", [make_blob(1000)], "v1")
    registry.kill()
    with ThreadPoolExecutor(1) as thread:
        pushing = thread.submit(push_image, store, "lines/again", [make_blob(2000)], "v2")
        time.sleep(0.3)
        assert not pushing.done()
        registry.start()
        pushed = pushing.result()
    assert store.manifest("lines/again", "v2") == pushed


def test_a_registry_that_answers_nothing_is_given_up_on_time(registry, make_proxy, make_store):
    proxy = make_proxy(registry.port)
    proxy.delay_s = 5
    store = make_store(proxy.host, timeout_s=0.2, retries=1)
    began = time.monotonic()
    with pytest.raises(StoreUnreachableError, match="timed out"):
        store.manifest("lines/silent", "v1")
    assert time.monotonic() - began < 4


def test_a_push_that_is_slow_but_moves_ends_at_its_deadline(
    registry, make_proxy, make_store, make_blob
):
    proxy, blob = make_proxy(registry.port), make_blob(20 * MIB)
    proxy.bytes_per_s = MIB
    store = make_store(proxy.host, timeout_s=5, deadline_s=1.5)
    with pytest.raises(StoreUnreachableError, match="was too slow"):
        store.put_blob("lines/slow", blob.descriptor, blob.open)


def test_too_many_requests_wait_as_long_as_the_registry_says(registry, make_proxy, make_store):
    proxy = make_proxy(registry.port)
    proxy.answers.append(http_answer(429, "Too Many Requests", "Retry-After: 1\r\n"))
    store = make_store(proxy.host)
    began = time.monotonic()
    assert store.manifest("lines/busy", "v1") is None
    assert time.monotonic() - began >= 1


def test_a_wait_longer_than_anyone_would_is_an_error_at_once(registry, make_proxy, make_store):
    proxy = make_proxy(registry.port)
    proxy.answers.append(http_answer(429, "Too Many Requests", "Retry-After: 3600\r\n"))
    began = time.monotonic()
    with pytest.raises(StoreUnreachableError, match="asks to wait 3600 s"):
        make_store(proxy.host).manifest("lines/busy", "v1")
    assert time.monotonic() - began < 5


def test_an_answer_without_end_is_cut_off(registry, make_proxy, make_store):
    proxy = make_proxy(registry.port)
    proxy.answers.append(http_answer(200, "OK", "Content-Type: text/plain\r\n", b"x" * (5 * MIB)))
    with pytest.raises(Exception, match="over 4 MiB"):
        make_store(proxy.host).manifest("lines/endless", "v1")


def test_other_bytes_than_asked_for_never_reach_their_end(
    registry, make_proxy, make_store, make_blob
):
    proxy, blob = make_proxy(registry.port), make_blob(10)
    proxy.answers.append(http_answer(200, "OK", "", b"something else"))
    got = []
    with pytest.raises(StoreUnreachableError, match="sent other bytes"):
        got.extend(make_store(proxy.host).blob("lines/lies", blob.digest))
    assert got == []


def test_a_manifest_that_is_not_the_one_asked_for_is_refused(registry, make_proxy, make_store):
    proxy = make_proxy(registry.port)
    proxy.answers.append(http_answer(200, "OK", "", b'{"schemaVersion": 2}'))
    with pytest.raises(StoreUnreachableError, match="sent a manifest of lines/lies that is not"):
        make_store(proxy.host).manifest("lines/lies", f"sha256:{'1' * 64}")


@contextmanager
def half_deaf(port: int, *, breaks_after: int) -> Iterator[tuple[int, list[int]]]:
    """A line that breaks each connection once the server has sent so many bytes."""
    carried: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            server.sendall(client.recv(65536))
            server.settimeout(0.5)
            left = breaks_after
            with contextlib.suppress(TimeoutError):
                while left > 0 and (data := server.recv(min(65536, left))):
                    client.sendall(data)
                    left -= len(data)
            carried.append(breaks_after - left)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            carry(client)

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()[1], carried
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
