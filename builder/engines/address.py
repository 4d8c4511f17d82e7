"""Where an engine answers, and how we show it who we are."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from builder.errors import InvalidSpecError

_TCP = re.compile(r"tcp://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]{0,253}):\d{1,5}")
_UNIX = re.compile(r"unix://(/[^\0\n]{1,100})")


@dataclass(frozen=True, slots=True)
class Address:
    """`unix:///PATH` or `tcp://HOST:PORT`; `certs` holds ca.pem, cert.pem and key.pem for TLS."""

    url: str
    certs: Path | None = None

    def __post_init__(self) -> None:
        if not (_TCP.fullmatch(self.url) or _UNIX.fullmatch(self.url)):
            raise InvalidSpecError(
                "The engine's address can't be read: write unix:///PATH or tcp://HOST:PORT"
            )
        if self.certs is not None and self.socket is None:
            for name in ("ca.pem", "cert.pem", "key.pem"):
                if not (self.certs / name).is_file():
                    raise InvalidSpecError(
                        f"The folder of the engine's certificates has no {name}: "
                        "it needs ca.pem, cert.pem and key.pem"
                    )

    @property
    def socket(self) -> Path | None:
        """The path of a unix socket, None for TCP."""
        match = _UNIX.fullmatch(self.url)
        return Path(match[1]) if match else None

    @property
    def http(self) -> str:
        """The beginning of the URLs of an HTTP API there."""
        if self.socket is not None:
            return "http://engine"
        return self.url.replace("tcp", "https" if self.certs else "http", 1)

    def tls(self) -> ssl.SSLContext | bool:
        """What to check the other side with."""
        if self.certs is None or self.socket is not None:
            return True
        context = ssl.create_default_context(cafile=str(self.certs / "ca.pem"))
        context.load_cert_chain(self.certs / "cert.pem", self.certs / "key.pem")
        return context
