"""A SOCKS proxy on loopback that connects to nothing but what a host policy allows.

A program such as uv looks a name up by itself, so what was checked beforehand may have another
address by then. Through this proxy the name is looked up once, checked, and the connection goes to
the very address that was checked: RFC 1928, CONNECT only, names resolved here (socks5h).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import struct
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from builder.errors import BuildError, InvalidSpecError
from builder.source import HostPolicy

_CHUNK_BYTES = 64 << 10
_CONNECT_S = 20.0
_HANDSHAKE_S = 20.0
_VERSION, _LOGIN_VERSION, _PASSWORD, _CONNECT = 5, 1, 2, 1
_NONE_FITS = 0xFF
_OK, _NOT_ALLOWED, _UNREACHABLE, _BAD_COMMAND, _BAD_ADDRESS = 0, 2, 4, 7, 8


class Guard:
    """A running proxy: its `url` holds a password of its own, so that nobody else can use it.

    `own` are hosts and ports that the policy is not asked about. `refused` is the error of the
    first connection that was not allowed.
    """

    def __init__(self, policy: HostPolicy, own: Collection[tuple[str, int]]) -> None:
        self._policy, self._own = policy, own
        self._user, self._password = secrets.token_hex(8), secrets.token_hex(16)
        self._port = 0
        self.refused: BuildError | None = None

    @property
    def url(self) -> str:
        return f"socks5h://{self._user}:{self._password}@127.0.0.1:{self._port}"

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        """Serve until `stop`; `started` is set once connections are taken, or can't be."""
        try:
            server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=128)
            self._port = server.sockets[0].getsockname()[1]
        finally:
            started.set()
        await stop.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.IncompleteReadError):
            try:
                async with asyncio.timeout(_HANDSHAKE_S):
                    wanted = await self._asked(reader, writer)
                if wanted is not None:
                    await self._carry(*wanted, reader, writer)
            finally:
                writer.close()

    async def _asked(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[str, int] | None:
        """The host and port that the client wants, None once it was told no."""
        version, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if version != _VERSION or _PASSWORD not in methods:
            writer.write(bytes((_VERSION, _NONE_FITS)))
            return None
        writer.write(bytes((_VERSION, _PASSWORD)))
        # RFC 1929: version, length and user, length and password.
        _, length = await reader.readexactly(2)
        user = await reader.readexactly(length)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        right = secrets.compare_digest(user, self._user.encode())
        right &= secrets.compare_digest(password, self._password.encode())
        writer.write(bytes((_LOGIN_VERSION, 0 if right else 1)))
        if not right:
            return None
        _, command, _, kind = await reader.readexactly(4)
        match kind:
            case 1:
                host = str(ipaddress.IPv4Address(await reader.readexactly(4)))
            case 3:
                length = (await reader.readexactly(1))[0]
                host = (await reader.readexactly(length)).decode("ascii", "replace")
            case 4:
                host = str(ipaddress.IPv6Address(await reader.readexactly(16)))
            case _:
                _answer(writer, _BAD_ADDRESS)
                return None
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        if command != _CONNECT:
            _answer(writer, _BAD_COMMAND)
            return None
        return host, port

    async def _carry(
        self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            own = (host.rstrip(".").lower(), port) in self._own
            policy = HostPolicy(private=True) if own else self._policy
            addresses = await asyncio.to_thread(policy.check, host, InvalidSpecError)
        except BuildError as error:
            self.refused = self.refused or error
            _answer(writer, _NOT_ALLOWED)
            return
        for address in addresses:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    far_reader, far_writer = await asyncio.open_connection(str(address), port)
                break
            except (OSError, TimeoutError):
                continue
        else:
            _answer(writer, _UNREACHABLE)
            return
        _answer(writer, _OK)
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.close()


@contextmanager
def guard(policy: HostPolicy, own: Collection[tuple[str, int]] = ()) -> Iterator[Guard]:
    """A guard with this policy that runs, in a thread of its own, until the block ends."""
    made = Guard(policy, own)
    started, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(made.serve(started, stop))

    thread = threading.Thread(target=work, name="guard", daemon=True)
    thread.start()
    started.wait()
    try:
        yield made
    finally:
        with contextlib.suppress(RuntimeError):  # it could not start, and its loop is closed
            loop.call_soon_threadsafe(stop.set)
        thread.join()


def _answer(writer: asyncio.StreamWriter, status: int) -> None:
    # The bound address is of no use to the client: 0.0.0.0:0, as RFC 1928 allows.
    writer.write(bytes((_VERSION, status, 0, 1)) + bytes(6))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
