"""From a tag or digest to the one image it means on a platform."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.errors import BaseNotFoundError, InvalidSpecError, TooLargeError
from builder.model import INDEX_TYPE, MANIFEST_TYPE, Descriptor, Layer, Platform
from builder.stores.protocol import Manifest, Store

_DOCKER = "application/vnd.docker.distribution.manifest"
INDEX_TYPES = frozenset({INDEX_TYPE, f"{_DOCKER}.list.v2+json"})
IMAGE_TYPES = frozenset({MANIFEST_TYPE, f"{_DOCKER}.v2+json"})

_MANIFEST_LIMIT_BYTES = 4 << 20
_CONFIG_LIMIT_BYTES = 8 << 20
_LAYERS_LIMIT = 127
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PinnedImage:
    """One platform's image: its manifest's digest, its config as JSON, its layers bottom up."""

    digest: str
    config: Mapping[str, Any]
    layers: tuple[Layer, ...]

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the config says of containers: Env, User, Labels."""
        return mapping(self.config.get("config"))


def pin(store: Store, repo: str, reference: str, platform: Platform) -> PinnedImage:
    """The platform's image behind a tag, an index or a digest, with what its config says.

    Raises BaseNotFoundError if there is none for the platform, InvalidSpecError if the manifest or
    config is not what the OCI image-spec v1.1 (or Docker's schema 2) describes, TooLargeError.
    """
    manifest = select(store, repo, reference, platform)
    data = _json(manifest.data, _MANIFEST_LIMIT_BYTES, f"manifest of {repo}")
    config_descriptor = descriptor(data.get("config"), repo)
    config = _json(_read(store, repo, config_descriptor), _CONFIG_LIMIT_BYTES, f"config of {repo}")
    found = Platform(str(config.get("os")), str(config.get("architecture")))
    if found != platform:
        raise BaseNotFoundError(
            f"{repo}:{reference} is an image for {found}, not {platform}; name one for {platform}."
        )
    descriptors = [descriptor(layer, repo) for layer in items(data.get("layers"))]
    diff_ids = items(mapping(config.get("rootfs")).get("diff_ids"))
    if len(descriptors) != len(diff_ids) or not all(map(is_digest, diff_ids)):
        raise InvalidSpecError(
            f"The config and the manifest of {repo} list different layers; name an image that is "
            "whole."
        )
    if len(descriptors) >= _LAYERS_LIMIT:
        raise TooLargeError(
            f"{repo}:{reference} has {len(descriptors)} layers and leaves no room for more; "
            "squash it or name another image."
        )
    layers = tuple(Layer(d, str(i)) for d, i in zip(descriptors, diff_ids, strict=True))
    return PinnedImage(manifest.digest, config, layers)


def select(store: Store, repo: str, reference: str, platform: Platform) -> Manifest:
    """The manifest behind a reference; of an index, the platform's (BaseNotFoundError if none)."""
    manifest = store.manifest(repo, reference)
    if manifest is None:
        raise BaseNotFoundError(f"There is no image {repo}:{reference}; check its name and tag.")
    if manifest.media_type in INDEX_TYPES:
        index = _json(manifest.data, _MANIFEST_LIMIT_BYTES, f"index of {repo}")
        digest = _of_platform(items(index.get("manifests")), platform)
        child = store.manifest(repo, digest) if digest else None
        if child is None:
            raise BaseNotFoundError(
                f"{repo}:{reference} has no image for {platform}; name one that has."
            )
        manifest = child
    if manifest.media_type not in IMAGE_TYPES:
        raise InvalidSpecError(
            f"{repo}:{reference} is a {manifest.media_type[:100]}, not an image; name an image."
        )
    return manifest


def _of_platform(entries: list[Any], platform: Platform) -> str | None:
    """The digest of the first fitting entry; one without a variant is preferred (arm64 over v8)."""
    fitting = [
        mapping(entry)
        for entry in entries
        if mapping(mapping(entry).get("platform")).get("os") == platform.os
        and mapping(mapping(entry).get("platform")).get("architecture") == platform.arch
    ]
    fitting.sort(key=lambda entry: bool(mapping(entry["platform"]).get("variant")))
    digest = fitting[0].get("digest") if fitting else None
    return str(digest) if is_digest(digest) else None


def descriptor(value: object, repo: str) -> Descriptor:
    """A descriptor as a manifest writes it, checked; InvalidSpecError names the repository."""
    data = mapping(value)
    size, digest = data.get("size"), data.get("digest")
    if not is_digest(digest) or not isinstance(size, int) or size < 0:
        raise InvalidSpecError(
            f"A manifest of {repo} has a blob without sha256 digest and size; name another image."
        )
    return Descriptor(str(data.get("mediaType", "")), str(digest), size)


def is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def mapping(value: object) -> Mapping[str, Any]:
    """The JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """The JSON array, or an empty one in place of anything else."""
    return value if isinstance(value, list) else []


def _read(store: Store, repo: str, blob: Descriptor) -> bytes:
    if blob.size_bytes > _CONFIG_LIMIT_BYTES:
        raise TooLargeError(f"The config of {repo} is larger than 8 MiB; name another image.")
    try:
        return b"".join(store.blob(repo, blob.digest))
    except FileNotFoundError as error:
        raise BaseNotFoundError(
            f"The config of {repo} is missing in its registry; push the image again."
        ) from error


def _json(data: bytes, limit_bytes: int, what: str) -> Mapping[str, Any]:
    if len(data) > limit_bytes:
        raise TooLargeError(
            f"The {what} is larger than {limit_bytes >> 20} MiB; name another image."
        )
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidSpecError(f"The {what} is not JSON; name an image that is whole.") from error
    return mapping(value)
