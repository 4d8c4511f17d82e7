"""Certificates that sign for themselves, made by openssl."""

from __future__ import annotations

import subprocess
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
