"""A network that misbehaves: a TCP proxy in front of a real server."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = 64 * 1024


class Proxy:
    """Passes bytes on to 127.0.0.1:`target_port`, until told to do worse.

    The settings may change at any time and hold for open connections too:

    `delay_s`            waits this long before a connection's first byte is passed on
    `bytes_per_s`        passes the client's bytes on no faster than this, for each connection
    `down_bytes_per_s`   passes the server's bytes on no faster than this, for each connection
    `refuse`             resets new connections
    `frozen`             passes nothing on in either direction, and says nothing either
    `die_after_bytes`    resets every connection, and then new ones, once the clients have sent
                         this many bytes, counted from when it is set
    `answers`            raw responses; each answers one new connection's first request instead of
                         the server
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._die_at: int | None = None
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.down_bytes_per_s: float | None = None
        self.refuse = False
        self.frozen = False
        self.answers: list[bytes] = []
        self.connections = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def died(self) -> bool:
        """Whether `die_after_bytes` has come to pass."""
        return self._die_at is not None and self.bytes_up >= self._die_at

    @property
    def die_after_bytes(self) -> int | None:
        return None if self._die_at is None else max(0, self._die_at - self.bytes_up)

    @die_after_bytes.setter
    def die_after_bytes(self, size: int | None) -> None:
        self._die_at = None if size is None else self.bytes_up + size

    def close(self) -> None:
        # The shutdown ends the wait in `accept`: a bare close would leave it waiting on a file
        # descriptor that the next server to listen is given, and take that one's connections.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.reset()

    def reset(self) -> None:
        """Reset every open connection, as a killed server or a firewall does."""
        with self._lock:
            victims = list(self._open)
        for victim in victims:
            _reset(victim)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.refuse or self.died:
                _reset(client)
                client.close()
                continue
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            self._track(stack, client)
            if self.delay_s:
                time.sleep(self.delay_s)
            while self.frozen:
                time.sleep(0.02)
            if self.answers:
                self._answer(client, self.answers.pop(0))
                return
            server = socket.create_connection(("127.0.0.1", self._target_port), timeout=10)
            server.settimeout(None)
            self._track(stack, server)
            self._pump(client, server)

    def _track(self, stack: contextlib.ExitStack, end: socket.socket) -> None:
        with self._lock:
            self._open.add(end)
        stack.callback(end.close)
        stack.callback(self._open.discard, end)

    def _answer(self, client: socket.socket, response: bytes) -> None:
        client.settimeout(5)
        request = client.recv(_CHUNK)
        while request and b"\r\n\r\n" not in request:
            request += client.recv(_CHUNK)
        client.sendall(response)
        client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(TimeoutError):
            while client.recv(_CHUNK):  # closing with unread bytes would reset the answer away
                pass

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while selector.get_map():
                for key, _ in selector.select():
                    source: socket.socket = key.fileobj  # type: ignore[assignment]
                    data = source.recv(_CHUNK)
                    while self.frozen and source.fileno() >= 0:
                        time.sleep(0.02)
                    if not data:
                        selector.unregister(source)
                        key.data.shutdown(socket.SHUT_WR)
                        continue
                    if source is client and not self._may_go_up(len(data)):
                        self.reset()
                        return
                    if source is server and self.down_bytes_per_s:
                        time.sleep(len(data) / self.down_bytes_per_s)
                    key.data.sendall(data)
                    if source is server:
                        self.bytes_down += len(data)

    def _may_go_up(self, size: int) -> bool:
        if self.bytes_per_s:
            time.sleep(size / self.bytes_per_s)
        with self._lock:
            self.bytes_up += size
        return not self.died


@contextmanager
def proxy(target_port: int) -> Iterator[Proxy]:
    made = Proxy(target_port)
    try:
        yield made
    finally:
        made.close()


def http_answer(status: int, reason: str, headers: str = "", body: bytes = b"") -> bytes:
    """A response for `Proxy.answers`; `headers` are whole lines, each ended by CRLF."""
    head = f"HTTP/1.1 {status} {reason}\r\n{headers}Content-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Linger on, zero seconds: the close sends RST. The shutdown wakes whoever reads.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
