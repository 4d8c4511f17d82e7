"""An OCI layout on disk that many may write, that other tools read, and that no crash breaks."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
from rig.process import MissingPartError, program

from builder.errors import BuildError, DiskFullError, InvalidSpecError, StoreRefusedError
from builder.model import LAYER_TYPE, Descriptor
from builder.stores.layout import REF_NAME, LayoutStore
from builder.stores.protocol import Manifest

MIB = 1 << 20


@pytest.fixture
def layout(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "layout")


def names(root: Path) -> list[str]:
    index = json.loads((root / "index.json").read_text())
    return [entry["annotations"][REF_NAME] for entry in index["manifests"]]


def files(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def test_an_image_comes_out_as_it_went_in(layout, make_blob, push_image):
    layers = [make_blob(10), make_blob(3 * MIB), make_blob(0)]
    pushed = push_image(layout, "hep/3dgan", layers, "v1", "latest")
    for reference in ("v1", "latest", pushed.digest):
        assert layout.manifest("hep/3dgan", reference) == pushed
    for layer in layers:
        chunks = list(layout.blob("hep/3dgan", layer.digest))
        assert b"".join(chunks) == layer.data
        assert all(len(chunk) <= MIB for chunk in chunks)


def test_blobs_are_shared_but_manifests_belong_to_a_repository(layout, make_blob, push_image):
    layer = make_blob(10)
    pushed = push_image(layout, "a", [layer], "v1")
    assert layout.missing("b", [layer.digest, f"sha256:{'0' * 64}"]) == {f"sha256:{'0' * 64}"}
    assert layout.put_blob("b", layer.descriptor, layer.open).moved_bytes == 0
    assert layout.manifest("b", pushed.digest) is None
    assert layout.manifest("b", "v1") is None
    with pytest.raises(FileNotFoundError):
        next(layout.blob("a", f"sha256:{'0' * 64}"))


def test_on_disk_it_is_what_the_documentation_says(layout, tmp_path, make_blob, push_image):
    root, layer = tmp_path / "layout", make_blob(10)
    pushed = push_image(layout, "hep/3dgan", [layer], "v1")
    assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    blob = root / "blobs" / "sha256" / layer.digest.removeprefix("sha256:")
    assert blob.read_bytes() == layer.data
    assert blob.stat().st_mode & 0o222 == 0
    assert names(root) == [f"hep/3dgan@{pushed.digest}", "hep/3dgan:v1"]


def test_a_tag_that_moves_leaves_the_old_digest_found(layout, tmp_path, make_blob, push_image):
    old = push_image(layout, "a", [make_blob(10)], "latest")
    new = push_image(layout, "a", [make_blob(10)], "latest")
    assert layout.manifest("a", "latest") == new
    assert layout.manifest("a", old.digest) == old
    assert len(names(tmp_path / "layout")) == 3


def test_publishing_the_same_again_writes_nothing(layout, tmp_path, make_blob, push_image):
    layer = make_blob(10)
    push_image(layout, "a", [layer], "v1")
    before = (tmp_path / "layout/index.json").stat()
    push_image(layout, "a", [layer], "v1")
    assert (tmp_path / "layout/index.json").stat().st_ino == before.st_ino


def test_a_reference_says_where_to_pull_it(layout, tmp_path):
    digest = f"sha256:{'0' * 64}"
    assert layout.reference("a/b", digest) == f"oci:{tmp_path}/layout:a/b@{digest}"
    served = LayoutStore(tmp_path / "layout", host="127.0.0.1:8080")
    assert served.reference("a/b", digest) == f"127.0.0.1:8080/a/b@{digest}"


def test_bytes_that_do_not_hash_to_their_name_are_not_held(layout, tmp_path, make_blob):
    blob, other = make_blob(1000), make_blob(1000)
    before = files(tmp_path / "layout")
    for opened in (other.open, lambda: io.BytesIO(blob.data[:-1])):
        with pytest.raises(BuildError, match="do not hash to their name"):
            layout.put_blob("a", blob.descriptor, opened)
    assert layout.missing("a", [blob.digest]) == {blob.digest}
    assert files(tmp_path / "layout") == before


def test_a_blob_damaged_on_disk_is_noticed_and_healed_by_a_put(layout, tmp_path, make_blob):
    blob = make_blob(3 * MIB)
    layout.put_blob("a", blob.descriptor, blob.open)
    place = tmp_path / "layout/blobs/sha256" / blob.digest.removeprefix("sha256:")
    place.chmod(0o644)
    place.write_bytes(blob.data[:MIB])
    with pytest.raises(BuildError, match="is damaged: delete that file"):
        list(layout.blob("a", blob.digest))
    assert layout.put_blob("a", blob.descriptor, blob.open).moved_bytes == 3 * MIB
    assert b"".join(layout.blob("a", blob.digest)) == blob.data


def cached(folder: Path, data: bytes, mode: int) -> Path:
    path = folder / "cached"
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_file_that_nobody_may_write_is_linked(layout, tmp_path, make_blob):
    blob = make_blob(MIB)
    path = cached(tmp_path, blob.data, 0o444)
    assert layout.put_blob("a", blob.descriptor, lambda: path.open("rb")).moved_bytes == 0
    place = tmp_path / "layout/blobs/sha256" / blob.digest.removeprefix("sha256:")
    assert place.samefile(path)


def test_a_file_that_somebody_may_write_is_copied(layout, tmp_path, make_blob):
    blob = make_blob(MIB)
    path = cached(tmp_path, blob.data, 0o644)
    assert layout.put_blob("a", blob.descriptor, lambda: path.open("rb")).moved_bytes == MIB
    path.write_bytes(b"changed")
    assert b"".join(layout.blob("a", blob.digest)) == blob.data


def test_a_read_only_file_with_other_bytes_is_not_linked(layout, tmp_path, make_blob):
    blob, other = make_blob(MIB), make_blob(MIB)
    path = cached(tmp_path, other.data, 0o444)
    with pytest.raises(BuildError, match="do not hash to their name"):
        layout.put_blob("a", blob.descriptor, lambda: path.open("rb"))
    assert layout.missing("a", [blob.digest]) == {blob.digest}


def publish_many(root: Path, worker: int, count: int) -> None:
    store = LayoutStore(root)
    common = b"the same layer" * 100_000
    blob = Descriptor(LAYER_TYPE, f"sha256:{hashlib.sha256(common).hexdigest()}", len(common))
    for number in range(count):
        data = json.dumps({"schemaVersion": 2, "n": [worker, number]}).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        store.put_manifest("shared", Manifest("x/y", digest, data), tags=[f"{worker}-{number}"])
        store.put_blob("shared", blob, lambda: io.BytesIO(common))


def test_processes_that_publish_at_once_lose_nothing_of_each_other(tmp_path):
    root = tmp_path / "layout"
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=publish_many, args=(root, n, 12)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    store = LayoutStore(root)
    found = {store.manifest("shared", f"{w}-{n}").digest for w in range(4) for n in range(12)}
    assert len(found) == 48
    assert len(list((root / "blobs/sha256").iterdir())) == 49
    assert list((root / "ingest").iterdir()) == []


class Endless(io.RawIOBase):
    """A source that tells when it was read from, and goes on for ever."""

    def __init__(self, started: Path) -> None:
        self._started = started

    def read(self, size: int = -1) -> bytes:
        self._started.touch()
        time.sleep(0.01)
        return b"x" * 1000


def write_for_ever(root: Path, started: Path) -> None:
    blob = Descriptor(LAYER_TYPE, f"sha256:{'0' * 64}", 1 << 40)
    LayoutStore(root).put_blob("a", blob, lambda: Endless(started))


def test_a_writer_killed_in_the_middle_leaves_no_half_blob(tmp_path, layout, make_blob):
    root, started = tmp_path / "layout", tmp_path / "started"
    writer = multiprocessing.get_context("spawn").Process(
        target=write_for_ever, args=(root, started)
    )
    writer.start()
    while not started.exists():
        time.sleep(0.01)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join(10)
    assert list((root / "blobs/sha256").iterdir()) == []
    [left] = (root / "ingest").iterdir()
    os.utime(left, (0, 0))
    LayoutStore(root)
    assert list((root / "ingest").iterdir()) == []


def test_the_file_of_a_living_writer_is_never_swept(tmp_path, layout):
    root, started = tmp_path / "layout", tmp_path / "started"
    writer = multiprocessing.get_context("spawn").Process(
        target=write_for_ever, args=(root, started)
    )
    writer.start()
    try:
        while not started.exists():
            time.sleep(0.01)
        [growing] = (root / "ingest").iterdir()
        os.utime(growing, (0, 0))
        LayoutStore(root)
        assert growing.exists()
    finally:
        writer.kill()
        writer.join(10)


def fill(root: Path, blob: Descriptor, data: bytes, result: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
    try:
        LayoutStore(root).put_blob("a", blob, lambda: io.BytesIO(data))
    except DiskFullError as error:
        result.write_text(error.detail)


def test_a_file_over_the_limit_is_a_full_disk_and_leaves_nothing(tmp_path, layout, make_blob):
    root, result, blob = tmp_path / "layout", tmp_path / "result", make_blob(2 * MIB)
    before = files(root)
    filler = multiprocessing.get_context("spawn").Process(
        target=fill, args=(root, blob.descriptor, blob.data, result)
    )
    filler.start()
    filler.join(30)
    assert result.read_text() == (
        f"No space is left in {root}: delete old versions or give it a larger disk"
    )
    assert files(root) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_one_sentence_and_the_layout_stays_whole(tmp_path, make_blob, push_image):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.decode().strip()}")
    try:
        layout = LayoutStore(disk / "layout")
        kept = push_image(layout, "a", [make_blob(MIB)], "v1")
        before = files(disk)
        with pytest.raises(DiskFullError, match="No space is left"):
            push_image(layout, "a", [make_blob(2 * MIB)], "v2")
        assert files(disk) == before
        assert layout.manifest("a", "v1") == kept
        small = push_image(layout, "a", [make_blob(1000)], "v2")
        assert layout.manifest("a", "v2") == small
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_is_something_else_is_said_so(tmp_path, make_blob):
    (tmp_path / "index.json").write_text('{"manifests": {}}')
    layout = LayoutStore(tmp_path)
    with pytest.raises(StoreRefusedError, match=r"index\.json is no index of an OCI layout"):
        layout.manifest("a", "v1")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StoreRefusedError, match="can't be written"):
        LayoutStore(file)


@pytest.mark.parametrize(("repo", "tag"), [("../x", "v1"), ("a", "../x"), ("a", "sha256:1")])
def test_names_that_could_leave_their_place_are_refused(layout, repo, tag):
    with pytest.raises(InvalidSpecError, match="is not a"):
        layout.manifest(repo, tag)
    with pytest.raises(InvalidSpecError, match="is not a digest"):
        layout.missing("a", ["sha256:../../etc/passwd"])


@pytest.fixture
def skopeo():
    try:
        binary = program("skopeo", "skopeo")
    except MissingPartError as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [binary, *map(str, arguments)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def gzip_layer(make_blob) -> object:
    import gzip

    made = make_blob(1000)
    return type(made)(gzip.compress(made.data, mtime=0))


@pytest.mark.rig
def test_skopeo_reads_the_layout_and_copies_it_to_a_registry(
    layout, tmp_path, skopeo, registry, make_store, make_blob, push_image
):
    pushed = push_image(layout, "hep/3dgan", [gzip_layer(make_blob)], "v1")
    place = f"oci:{tmp_path}/layout:hep/3dgan"
    assert json.loads(skopeo("inspect", f"{place}:v1"))["Digest"] == pushed.digest
    assert json.loads(skopeo("inspect", f"{place}@{pushed.digest}"))["Digest"] == pushed.digest
    skopeo(
        "copy", "--dest-tls-verify=false", f"{place}:v1", f"docker://{registry.host}/layout/sk:v1"
    )
    assert make_store(registry.host).manifest("layout/sk", "v1") == pushed


@pytest.mark.rig
def test_a_layout_that_skopeo_wrote_is_read(
    tmp_path, skopeo, registry, make_store, make_blob, push_image
):
    store, layer = make_store(registry.host), gzip_layer(make_blob)
    pushed = push_image(store, "layout/back", [layer], "v1")
    skopeo(
        "copy", "--src-tls-verify=false", f"docker://{registry.host}/layout/back:v1",
        f"oci:{tmp_path}/theirs:hep/back:v1",
    )  # fmt: skip
    theirs = LayoutStore(tmp_path / "theirs")
    assert theirs.manifest("hep/back", "v1") == pushed
    assert theirs.manifest("hep/back", pushed.digest) == pushed
    push_image(theirs, "ours", [make_blob(10)], "v1")
    assert theirs.manifest("hep/back", "v1") == pushed
    assert b"".join(theirs.blob("hep/back", layer.digest)) == layer.data
