"""A site's certificate authorities for the steps of a build, and never for its image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.engines.protocol import Engine

ID = "kitbag-ca"
TARGET = "/dev/shm/kitbag-ca.pem"  # noqa: S108  # inside of a step: /dev is never part of an image
"""Where steps find the file. Elsewhere older engines leave an empty file of that name behind."""

VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
)
"""What the usual clients look at: OpenSSL and uv, pip, requests, curl, git, Node."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """What a Dockerfile needs for steps that reach an index behind a company's authority.

    `RUN {run}COMMAND` mounts the file and sets the variables for that one step; both are empty
    without a bundle. `secrets` belong into the job.
    """

    mount: str = ""
    exports: str = ""
    secrets: Mapping[str, Path] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The path of the file in the step, empty without a bundle."""
        return TARGET if self.mount else ""

    @property
    def run(self) -> str:
        """What comes between `RUN` and the command of the step, a shell's."""
        return f"{self.mount}{self.exports}"


def authorities(engine: Engine, bundle: Path | None) -> Authorities:
    """For an engine and a bundle; an engine that can't mount gets none, so that its steps know
    the image's own authorities only."""
    if bundle is None or not engine.mounts:
        return Authorities()
    return Authorities(
        mount=f"--mount=type=secret,id={ID},target={TARGET},mode=0444 ",
        exports=f"export {' '.join(f'{name}={TARGET}' for name in VARIABLES)}; ",
        secrets={ID: bundle},
    )
