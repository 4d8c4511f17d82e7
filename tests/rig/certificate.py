"""Certificates that sign for themselves, and authorities that sign others, made by openssl."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.process import program


@dataclass(frozen=True, slots=True)
class Certificate:
    """A key and its certificate for 127.0.0.1, both PEM files."""

    key: Path
    path: Path
    authority: Path | None = None
    """The PEM file of whoever signed it, None where it signs for itself."""


def self_signed(folder: Path, name: str) -> Certificate:
    """Make a certificate in `folder` that is good for two days."""
    made = Certificate(folder / f"{name}.key", folder / f"{name}.crt")
    subprocess.run(
        [
            *(program("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-days", "2", "-subj", "/CN=kitbag-rig", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(made.key), "-out", str(made.path)),
        ],
        check=True,
        capture_output=True,
    )
    return made


def signed(folder: Path, name: str) -> Certificate:
    """Make an authority in `folder` and a certificate that it signed, good for two days.

    Stricter clients than OpenSSL, such as uv's, take no certificate that signs for itself.
    """
    authority = Certificate(folder / f"{name}-ca.key", folder / f"{name}-ca.crt")
    made = Certificate(folder / f"{name}.key", folder / f"{name}.crt", authority.path)
    request = folder / f"{name}.csr"
    extensions = folder / f"{name}.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    for command in (
        [
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=kitbag-rig-authority"),
            *("-keyout", str(authority.key), "-out", str(authority.path)),
        ],
        [
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=kitbag-rig"),
            *("-keyout", str(made.key), "-out", str(request)),
        ],
        [
            *("x509", "-req", "-days", "2", "-in", str(request), "-extfile", str(extensions)),
            *("-CA", str(authority.path), "-CAkey", str(authority.key), "-CAcreateserial"),
            *("-out", str(made.path)),
        ],
    ):
        subprocess.run([program("openssl", "openssl"), *command], check=True, capture_output=True)
    return made


class Authority:
    """A certificate authority in a folder of its own; its keys are quick to make (P-256)."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.certificate = Certificate(folder / f"{name}.key", folder / f"{name}.crt")
        _openssl(
            *("req", "-x509", *_QUICK, "-days", "2", "-subj", f"/CN=kitbag-rig-{name}"),
            *("-keyout", str(self.certificate.key), "-out", str(self.certificate.path)),
        )

    @property
    def path(self) -> Path:
        """The PEM file by which its certificates are trusted."""
        return self.certificate.path

    def issue(
        self, name: str, *, groups: Sequence[str] = (), hosts: Sequence[str] = ("localhost",)
    ) -> Certificate:
        """A certificate for 127.0.0.1, `hosts` and, as a client, the user `name` of `groups`."""
        stem = "".join(char if char.isalnum() else "-" for char in name)
        made = Certificate(self._folder / f"{stem}.key", self._folder / f"{stem}.crt", self.path)
        request, extensions = self._folder / f"{stem}.csr", self._folder / f"{stem}.ext"
        names = ",".join(("IP:127.0.0.1", *(f"DNS:{host}" for host in hosts)))
        extensions.write_text(
            f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n"
            "extendedKeyUsage=serverAuth,clientAuth\n"
        )
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={name}"
        _openssl(
            *("req", *_QUICK, "-subj", subject, "-keyout", str(made.key), "-out", str(request))
        )
        _openssl(
            *("x509", "-req", "-days", "2", "-in", str(request), "-extfile", str(extensions)),
            *("-CA", str(self.path), "-CAkey", str(self.certificate.key)),
            *("-set_serial", str(secrets.randbits(64)), "-out", str(made.path)),
        )
        return made


_QUICK = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*arguments: str) -> None:
    subprocess.run([program("openssl", "openssl"), *arguments], check=True, capture_output=True)
