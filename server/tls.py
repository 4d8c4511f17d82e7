"""Serving over TLS with a certificate that may be replaced while the server runs."""

from __future__ import annotations

import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from server.errors import ServerError

log = logging.getLogger(__name__)
_LOOK_S = 5.0


@dataclass(frozen=True, slots=True)
class Tls:
    """The PEM files of a certificate chain and its key, and of who signs the callers' certificates.

    Without `client_ca` callers need no certificate; with it nobody else gets past the handshake.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def of(cls, certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
        """None for a server without TLS; raises ServerError for half of it."""
        if certificate is None and key is None and client_ca is None:
            return None
        if certificate is None or key is None:
            raise ServerError("Give --tls-cert and --tls-key together; one is no use alone.")
        return cls(certificate, key, client_ca)

    def protect(self, config: uvicorn.Config) -> None:
        """Let the server speak TLS only; raises ServerError for files that don't fit together."""
        config.ssl_certfile, config.ssl_keyfile = self.certificate, self.key
        if self.client_ca is not None:
            config.ssl_ca_certs = str(self.client_ca)
            config.ssl_cert_reqs = ssl.CERT_REQUIRED
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise ServerError(
                f"The TLS files can't be used ({error}); check --tls-cert, --tls-key and "
                "--tls-client-ca."
            ) from error
        assert config.ssl is not None
        context = config.ssl
        threading.Thread(target=self._follow, args=(context,), daemon=True, name="tls").start()

    def _follow(self, context: ssl.SSLContext) -> None:
        """Take up a renewed certificate: connections that are open keep the one they have."""
        seen = self._times()
        while True:
            threading.Event().wait(_LOOK_S)
            now = self._times()
            if now == seen or now is None:
                continue
            try:
                context.load_cert_chain(self.certificate, self.key)
            except (OSError, ssl.SSLError) as error:
                # Half of a renewal: the other file comes in a moment.
                log.warning("the renewed TLS certificate can't be used yet: %s", error)
                continue
            seen = now
            log.warning("the TLS certificate was renewed")

    def _times(self) -> tuple[int, int] | None:
        try:
            return self.certificate.stat().st_mtime_ns, self.key.stat().st_mtime_ns
        except OSError:
            return None
