"""What a registry holds of an image that was pushed."""

from __future__ import annotations

import json
import urllib.request

_ACCEPT = (
    "application/vnd.docker.distribution.manifest.v2+json,"
    "application/vnd.oci.image.manifest.v1+json,application/vnd.oci.image.index.v1+json"
)


def layers(registry_host: str, reference: str) -> list[int]:
    """The sizes in bytes of an image's layers, the base's first; an index's first image counts."""
    repository, _, tag = reference.removeprefix(f"{registry_host}/").rpartition(":")
    manifest = _manifest(registry_host, repository, tag)
    if "manifests" in manifest:
        manifest = _manifest(registry_host, repository, str(manifest["manifests"][0]["digest"]))
    return [int(str(layer["size"])) for layer in manifest["layers"]]


def _manifest(registry_host: str, repository: str, name: str) -> dict[str, list[dict[str, object]]]:
    request = urllib.request.Request(
        f"http://{registry_host}/v2/{repository}/manifests/{name}", headers={"Accept": _ACCEPT}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, list[dict[str, object]]] = json.load(answer)
        return found
