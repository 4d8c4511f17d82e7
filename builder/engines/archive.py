"""An image between a store and a Docker archive, the file of `docker save` and `docker load`.

Source: Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset Format"; since
release 25 the layers of that file lie in an OCI layout, and the file `manifest.json` names both.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from isal import igzip

from builder.bases.manifest import items, mapping, pin
from builder.errors import EngineBuildError
from builder.image import canonical, digest_of
from builder.layered import tag_of
from builder.layers.compress import compress
from builder.model import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Descriptor,
    Image,
    Layer,
    Pinned,
    Platform,
)
from builder.putting import repo_of
from builder.stores.ingest import disk_errors
from builder.stores.parse import parse_object
from builder.stores.protocol import Manifest, Store
from builder.streams import Chunks

_GZIP = b"\x1f\x8b"
_COPY_BYTES = 1 << 20
_MAX_JSON_BYTES = 8 << 20
_MAX_LINKS = 8


def write_archive(
    base: Pinned, store: Store, name: str, target: Path, check: Callable[[], None]
) -> None:
    """Write the base as an archive that `docker load` makes the image `name` of.

    Layers stay compressed, as the engine can read them.
    """
    repo = repo_of(base, store)
    config = _config_of(base, store, repo)
    with disk_errors(target.parent), tarfile.open(target, "w") as tar:
        names = []
        for layer in base.layers:
            digest = layer.descriptor.digest
            names.append(f"{digest.removeprefix('sha256:')}.tar.gz")
            if names[-1] in names[:-1]:
                continue
            info = tarfile.TarInfo(names[-1])
            info.size = layer.descriptor.size_bytes
            stream = cast("IO[bytes]", Chunks(_checked(store.blob(repo, digest), check)))
            tar.addfile(info, io.BufferedReader(cast("io.RawIOBase", stream)))
        _add(tar, "config.json", config)
        listed = [{"Config": "config.json", "RepoTags": [name], "Layers": names}]
        _add(tar, "manifest.json", json.dumps(listed).encode())


def ingest_archive(
    archive: Path,
    store: Store,
    repo: str,
    platform: Platform,
    *,
    base: Pinned | None,
    check: Callable[[], None],
) -> Image:
    """Put the one image of a `docker save` into the store, and read it back from there.

    Layers are compressed here, but for those of `base`, which the store has. Every layer is checked
    against the image's config. Temporary files lie beside the archive.
    """
    known = {layer.diff_id: layer.descriptor for layer in base.layers} if base else {}
    with disk_errors(archive.parent), tarfile.open(archive, "r:") as tar:
        members = {posixpath.normpath(member.name): member for member in tar.getmembers()}
        listed = _entry(_small(tar, members, "manifest.json"))
        config = _small(tar, members, str(listed.get("Config")))
        diff_ids = items(mapping(_object(config).get("rootfs")).get("diff_ids"))
        names = [str(name) for name in items(listed.get("Layers"))]
        if len(names) != len(diff_ids):
            raise _damaged()
        layers: list[Layer] = []
        for name, diff_id in zip(names, diff_ids, strict=True):
            check()
            if base is not None and diff_id in known:
                _mount(store, repo, known[diff_id], base)
                layers.append(Layer(known[diff_id], diff_id))
                continue
            layer = _put(tar, members, name, store, repo, archive.with_suffix(".layer"), check)
            if layer.diff_id != diff_id:
                raise _damaged()
            layers.append(layer)
    check()
    blob = Descriptor(CONFIG_TYPE, digest_of(config), len(config))
    store.put_blob(repo, blob, partial(io.BytesIO, config))
    data = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": blob.as_oci(),
            "layers": [layer.descriptor.as_oci() for layer in layers],
        }
    )
    made = Manifest(MANIFEST_TYPE, digest_of(data), data)
    store.put_manifest(repo, made, tags=[tag_of(made.digest)])
    return read_back(store, repo, made.digest, platform)


def read_back(store: Store, repo: str, reference: str, platform: Platform) -> Image:
    """The image as the store says that it is; raises what `pin` and the store raise."""
    found = pin(store, repo, reference, platform)
    manifest = store.manifest(repo, found.digest)
    assert manifest is not None
    sizes = [layer.descriptor.size_bytes for layer in found.layers]
    config_size = int(json.loads(manifest.data)["config"]["size"])
    return Image(
        store.reference(repo, found.digest),
        found.digest,
        sum(sizes) + config_size + len(manifest.data),
        found.layers,
    )


def _put(
    tar: tarfile.TarFile,
    members: Mapping[str, tarfile.TarInfo],
    name: str,
    store: Store,
    repo: str,
    scratch: Path,
    check: Callable[[], None],
) -> Layer:
    try:
        with _opened(tar, members, name) as stream:
            packed = stream.read(len(_GZIP)) == _GZIP
            stream.seek(0)
            layer = _copied(stream, scratch, check) if packed else compress(stream, scratch, check)
        store.put_blob(repo, layer.descriptor, lambda: scratch.open("rb"))
    finally:
        scratch.unlink(missing_ok=True)
    return layer


def _copied(stream: IO[bytes], target: Path, check: Callable[[], None]) -> Layer:
    """A layer that the engine compressed already, as it is."""
    with target.open("wb") as out:
        shutil.copyfileobj(stream, out, _COPY_BYTES)
    with target.open("rb") as file:
        packed = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    plain = hashlib.sha256()
    with target.open("rb") as file, cast("Any", igzip).IGzipFile(fileobj=file) as inflated:
        while chunk := inflated.read(_COPY_BYTES):
            check()
            plain.update(chunk)
    descriptor = Descriptor(LAYER_TYPE, f"sha256:{packed}", size)
    return Layer(descriptor, f"sha256:{plain.hexdigest()}")


def _mount(store: Store, repo: str, blob: Descriptor, base: Pinned) -> None:
    if not store.missing(repo, [blob.digest]):
        return
    source = repo_of(base, store)

    def stream() -> BinaryIO:
        return io.BufferedReader(Chunks(store.blob(source, blob.digest)))

    store.put_blob(repo, blob, stream, mount_from=source)


def _config_of(base: Pinned, store: Store, repo: str) -> bytes:
    manifest = store.manifest(repo, base.digest)
    if manifest is None:
        raise EngineBuildError(f"The base {base.name} is not in {store.name}: add it again.")
    digest = str(json.loads(manifest.data)["config"]["digest"])
    return b"".join(store.blob(repo, digest))


def _opened(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str) -> IO[bytes]:
    """The file of that name; a layer that occurs twice is a symbolic link to the first."""
    path = posixpath.normpath(name)
    for _ in range(_MAX_LINKS):
        member = members.get(path)
        if member is None:
            break
        if member.issym():
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
        elif member.islnk():
            path = posixpath.normpath(member.linkname)
        else:
            found = tar.extractfile(member)
            if found is not None:
                return found
            break
    raise _damaged()


def _small(tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], name: str) -> bytes:
    with _opened(tar, members, name) as stream:
        data = stream.read(_MAX_JSON_BYTES + 1)
    if len(data) > _MAX_JSON_BYTES:
        raise _damaged()
    return data


def _entry(manifest: bytes) -> Mapping[str, Any]:
    """What `manifest.json` says of its one image."""
    entries = items(_object(b'{"images":' + manifest + b"}").get("images"))
    if len(entries) != 1:
        raise _damaged()
    return mapping(entries[0])


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        return parse_object(data)
    except ValueError:
        raise _damaged() from None


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _checked(chunks: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    for chunk in chunks:
        check()
        yield chunk


def _damaged() -> EngineBuildError:
    return EngineBuildError(
        "The engine gave an image that is not whole; its operator finds the cause in its log."
    )
