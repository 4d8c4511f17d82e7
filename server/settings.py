"""The settings of `kitbag-server up`: everything of one server under one folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Embedded:
    """A whole server on loopback: its folder, its addresses, and the variables its parts read."""

    data: Path
    port: int
    valkey_port: int
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def variables(self) -> dict[str, str]:
        """KITBAG_… for the parts; what the caller set already wins, but for the addresses."""
        chosen = {
            "KITBAG_DATA": str(self.data),
            "KITBAG_DATABASE_URL": f"sqlite:///{self.data / 'catalog.db'}",
            "KITBAG_LAYOUT": str(self.data / "layout"),
            "KITBAG_PUBLIC_HOST": f"127.0.0.1:{self.port}",
            "KITBAG_PUBLIC_URL": self.url,
            "KITBAG_LOCAL": "true",
            # One user's own machine: this only stops a loop that went wild.
            "KITBAG_RATE_LIMIT": "2000",
            "KITBAG_RATE_BURST": "20000",
        }
        given = {key: value for key, value in self.environ.items() if key.startswith("KITBAG_")}
        merged = chosen | given
        merged["KITBAG_BROKER_URL"] = f"redis://127.0.0.1:{self.valkey_port}/0"
        elsewhere = not given.get("KITBAG_STORE", "oci:").startswith("oci:")
        if elsewhere and "KITBAG_LAYOUT" not in given:
            del merged["KITBAG_LAYOUT"]  # images are pulled from the registry that holds them
        return merged


def default_data() -> Path:
    """Where `up` keeps everything unless told otherwise: $XDG_DATA_HOME/kitbag."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "kitbag"
