"""The engine that the operator's settings name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from builder.engines.address import Address
from builder.engines.buildkit import BuildKitEngine
from builder.engines.client import Builder
from builder.engines.docker import DockerEngine
from builder.engines.podman import PodmanEngine
from builder.engines.protocol import Engine


class EngineKind(StrEnum):
    """The kinds of container engines that are spoken to."""

    DOCKER = "docker"
    BUILDKIT = "buildkit"
    PODMAN = "podman"


DEFAULT_ADDRESSES = {
    EngineKind.DOCKER: "unix:///var/run/docker.sock",
    EngineKind.BUILDKIT: "unix:///run/buildkit/buildkitd.sock",
    EngineKind.PODMAN: "unix:///run/podman/podman.sock",
}


def open_engine(
    kind: EngineKind,
    address: str = "",
    *,
    certs: Path | None = None,
    builder: Builder = Builder.AUTO,
    network: str = "default",
    scratch: Path | None = None,
) -> Engine:
    """The engine at an address, or where such engines usually are; nothing is asked of it yet.

    `certs` holds ca.pem, cert.pem and key.pem for TLS. `builder` is a Docker Engine's own, and
    `network` podman's too. `scratch` is where images lie on their way into a layout. Raises
    InvalidSpecError for an address or a folder of certificates that can't be used.
    """
    place = Address(address or DEFAULT_ADDRESSES[kind], certs)
    match kind:
        case EngineKind.DOCKER:
            return DockerEngine(place, builder=builder, network=network, scratch=scratch)
        case EngineKind.BUILDKIT:
            return BuildKitEngine(place, scratch=scratch)
        case EngineKind.PODMAN:
            return PodmanEngine(place, network=network, scratch=scratch)
