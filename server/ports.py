"""Ports of this machine."""

from __future__ import annotations

import errno
import socket

from server.errors import PortInUseError


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_port(host: str, port: int) -> None:
    """Raise PortInUseError unless a server can listen there now."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise PortInUseError(f"{host} is no address of this machine; correct --host.") from error
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(
                    f"Port {port} of {host} is in use; stop what listens there, or give another "
                    "with --port."
                ) from error
            raise PortInUseError(
                f"Port {port} of {host} can't be opened ({error.strerror}); give another with "
                "--port."
            ) from error
