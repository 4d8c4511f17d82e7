"""Certificates that sign for themselves, made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from rig.process import program


@dataclass(frozen=True, slots=True)
class Certificate:
    """A key and its certificate for 127.0.0.1, both PEM files; who trusts it names it as the CA."""

    key: Path
    path: Path


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
