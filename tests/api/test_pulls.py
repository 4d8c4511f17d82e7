"""Images in a layout that the builder's own store wrote, pulled by the tools that people use."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.model import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, Descriptor
from builder.stores.layout import LayoutStore
from builder.stores.protocol import Manifest

REPO = "hep/3dgan"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Image:
    """An image with one file in it: its manifest, config and layer."""

    manifest: bytes
    config: bytes
    layer: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def make_image(text: str) -> Image:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("hello.txt")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    layer = gzip.compress(tar.getvalue(), mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar.getvalue())]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": Descriptor(CONFIG_TYPE, digest_of(config), len(config)).as_oci(),
            "layers": [Descriptor(LAYER_TYPE, digest_of(layer), len(layer)).as_oci()],
        }
    ).encode()
    return Image(manifest, config, layer)


def push(layout: Path, image: Image, *tags: str, repo: str = REPO) -> None:
    store = LayoutStore(layout)
    for kind, data in ((CONFIG_TYPE, image.config), (LAYER_TYPE, image.layer)):
        descriptor = Descriptor(kind, digest_of(data), len(data))
        store.put_blob(repo, descriptor, lambda data=data: io.BytesIO(data))
    store.put_manifest(repo, Manifest(MANIFEST_TYPE, image.digest, image.manifest), tags=tags)


@pytest.fixture
def layout(tmp_path):
    return tmp_path / "layout"


@pytest.fixture
def image(layout):
    image = make_image("hello\n" * 1000)
    push(layout, image, "1", "latest")
    return image


@pytest.fixture
def shelf(make_site, layout, image):
    """A site that serves the layout."""
    return make_site(layout=layout)


def test_an_image_is_found_by_tag_and_by_digest(shelf, image):
    for reference in ("1", "latest", image.digest):
        for method in ("GET", "HEAD"):
            response = shelf.http.request(method, f"/v2/{REPO}/manifests/{reference}")
            assert response.status_code == 200
            assert response.headers["content-type"] == MANIFEST_TYPE
            assert response.headers["docker-content-digest"] == image.digest
            assert response.headers["docker-distribution-api-version"] == "registry/2.0"
            assert int(response.headers["content-length"]) == len(image.manifest)
            assert response.content == (image.manifest if method == "GET" else b"")


def test_a_blob_comes_whole_or_in_ranges(shelf, image):
    path = f"/v2/{REPO}/blobs/{digest_of(image.layer)}"
    whole = shelf.http.get(path, headers={"Accept-Encoding": "gzip"})
    assert whole.content == image.layer
    assert whole.headers["docker-content-digest"] == digest_of(image.layer)
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-type"] == "application/octet-stream"
    assert "content-encoding" not in whole.headers
    for asked, got in (
        ("5-14", image.layer[5:15]),
        ("10-", image.layer[10:]),
        ("-7", image.layer[-7:]),
    ):
        part = shelf.http.get(path, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, got)
        assert part.headers["content-range"].endswith(f"/{len(image.layer)}")
    past = shelf.http.get(path, headers={"Range": f"bytes={len(image.layer)}-"})
    assert past.status_code == 416
    head = shelf.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(image.layer)


def test_tags_are_listed_in_order_and_by_page(shelf, layout, image):
    push(layout, image, "2", "main")
    path = f"/v2/{REPO}/tags/list"
    assert shelf.http.get(path).json() == {"name": REPO, "tags": ["1", "2", "latest", "main"]}
    page = shelf.http.get(path, params={"n": 3})
    assert page.json()["tags"] == ["1", "2", "latest"]
    rest = shelf.http.get(page.links["next"]["url"])
    assert rest.json()["tags"] == ["main"]
    assert "next" not in rest.links
    assert shelf.http.get(path, params={"n": 0}).json()["tags"] == []


def test_what_is_pushed_while_the_server_runs_is_there_at_once(shelf, layout, image):
    newer = make_image("newer")
    push(layout, newer, "latest")
    moved = shelf.http.head(f"/v2/{REPO}/manifests/latest")
    assert moved.headers["docker-content-digest"] == newer.digest
    assert shelf.http.get(f"/v2/{REPO}/manifests/{image.digest}").content == image.manifest


def test_what_is_missing_has_the_code_of_the_specification(shelf, image):
    nothing = "sha256:" + "0" * 64
    for path, code in (
        (f"/v2/{REPO}/manifests/9", "MANIFEST_UNKNOWN"),
        (f"/v2/{REPO}/manifests/{nothing}", "MANIFEST_UNKNOWN"),
        ("/v2/no/one/manifests/1", "MANIFEST_UNKNOWN"),
        (f"/v2/no/one/manifests/{image.digest}", "MANIFEST_UNKNOWN"),
        (f"/v2/{REPO}/blobs/{nothing}", "BLOB_UNKNOWN"),
        (f"/v2/no/one/blobs/{digest_of(image.layer)}", "BLOB_UNKNOWN"),
        ("/v2/no/one/tags/list", "NAME_UNKNOWN"),
    ):
        response = shelf.http.get(path)
        assert response.status_code == 404
        assert response.json()["errors"][0]["code"] == code
        assert response.headers["docker-distribution-api-version"] == "registry/2.0"


@pytest.mark.parametrize(
    "path",
    [
        "/v2/hep/3dgan/blobs/..%2f..%2findex.json",
        "/v2/hep/3dgan/blobs/sha256:..%2f..%2f..%2foci-layout",
        "/v2/hep/3dgan/blobs/sha256:" + "A" * 64,
        "/v2/hep/3dgan/manifests/..%2findex.json",
        "/v2/hep/3dgan/../../index.json",
        "/v2/..%2f..%2f/blobs/sha256:" + "0" * 64,
        "/v2/hep/3dgan/blobs/%00",
    ],
)
def test_no_path_leads_out_of_the_blobs(shelf, layout, path):
    (layout.parent / "index.json").write_text("outside")
    with shelf.open_socket() as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b""
        while more := connection.recv(65536):
            answer += more
    assert b" 404 " in answer.split(b"\r\n")[0]
    assert b"outside" not in answer
    assert b"imageLayoutVersion" not in answer


def test_pushing_is_not_possible_here(shelf):
    for method, path in (
        ("POST", f"/v2/{REPO}/blobs/uploads/"),
        ("PUT", f"/v2/{REPO}/manifests/1"),
        ("DELETE", f"/v2/{REPO}/manifests/1"),
    ):
        response = shelf.http.request(method, path)
        assert response.status_code in (404, 405)
        assert response.json()["errors"][0]["code"] == "UNSUPPORTED"


def test_a_layout_that_is_empty_or_damaged_or_not_served_says_so(make_site, layout, site):
    assert make_site(layout=layout / "none").http.get(f"/v2/{REPO}/tags/list").status_code == 404
    assert site.http.get(f"/v2/{REPO}/tags/list").json()["errors"][0]["code"] == "NAME_UNKNOWN"
    layout.mkdir()
    (layout / "index.json").write_text("{rubbish")
    broken = make_site(layout=layout).http.get(f"/v2/{REPO}/tags/list")
    assert (broken.status_code, broken.json()["errors"][0]["code"]) == (500, "UNKNOWN")
    assert "rubbish" not in broken.text


def test_an_index_of_another_tool_is_read_and_its_children_too(make_site, layout, image):
    """Such as `skopeo copy` writes: only `REPO:TAG`, here of an image index."""
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [Descriptor(MANIFEST_TYPE, image.digest, len(image.manifest)).as_oci()],
        }
    ).encode()
    (layout / "blobs/sha256" / digest_of(index)[7:]).write_bytes(index)
    entry = Descriptor("application/vnd.oci.image.index.v1+json", digest_of(index), len(index))
    named = entry.as_oci() | {"annotations": {"org.opencontainers.image.ref.name": "lib/multi:1"}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named, {}]}))
    site = make_site(layout=layout)
    top = site.http.get("/v2/lib/multi/manifests/1")
    assert top.headers["content-type"] == "application/vnd.oci.image.index.v1+json"
    child = site.http.get(f"/v2/lib/multi/manifests/{image.digest}")
    assert (child.content, child.headers["content-type"]) == (image.manifest, MANIFEST_TYPE)
    layer = digest_of(image.layer)
    assert site.http.get(f"/v2/lib/multi/manifests/{layer}").status_code == 404


@pytest.fixture
def skopeo():
    found = shutil.which("skopeo")
    if found is None:
        pytest.skip("skopeo is not installed")
    return found


def test_skopeo_copies_the_image_byte_for_byte(shelf, image, skopeo, tmp_path):
    host = shelf.url.removeprefix("http://")
    for reference in (":1", f"@{image.digest}"):
        target = tmp_path / f"copy{reference[0] == '@'}"
        command = [skopeo, "copy", "--src-tls-verify=false", "--preserve-digests"]
        subprocess.run(
            [*command, f"docker://{host}/{REPO}{reference}", f"dir:{target}"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        assert (target / "manifest.json").read_bytes() == image.manifest
        assert (target / digest_of(image.layer)[7:]).read_bytes() == image.layer


def test_skopeo_logs_in_with_the_token_as_a_password(make_site, layout, image, skopeo):
    site = make_site(layout=layout, api_token="s3cret")
    host = site.url.removeprefix("http://")
    command = [skopeo, "inspect", "--tls-verify=false", f"docker://{host}/{REPO}:1"]
    refused = subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert refused.returncode != 0
    told = subprocess.run(
        [*command, "--creds", "anyone:s3cret"], check=True, capture_output=True, timeout=60
    )
    assert json.loads(told.stdout)["Digest"] == image.digest


@pytest.mark.rig
def test_docker_and_containerd_pull_the_image(shelf, image, docker_engine):
    host = shelf.url.removeprefix("http://")
    reference = f"{host}/{REPO}@{image.digest}"
    docker_engine.docker("pull", reference)
    shown = docker_engine.docker("image", "inspect", "--format", "{{json .RepoDigests}}", reference)
    assert reference in shown.stdout
    docker_engine.ctr("images", "pull", "--plain-http", reference)
    assert reference in docker_engine.ctr("images", "ls", "-q").stdout


def test_an_index_that_names_a_path_for_a_digest_leads_nowhere(make_site, layout, image):
    (layout.parent / "secret").write_text('{"mediaType": "' + MANIFEST_TYPE + '"}')
    entry = {
        "mediaType": MANIFEST_TYPE,
        "digest": "sha256:../../../secret",
        "annotations": {"org.opencontainers.image.ref.name": f"{REPO}:evil"},
    }
    (layout / "index.json").write_text(json.dumps({"manifests": [entry]}))
    site = make_site(layout=layout)
    assert site.http.get(f"/v2/{REPO}/tags/list").json()["tags"] == ["evil"]
    response = site.http.get(f"/v2/{REPO}/manifests/evil")
    assert response.status_code == 404
    assert response.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"
