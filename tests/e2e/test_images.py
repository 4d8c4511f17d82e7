"""One build for two architectures and two accelerators, from a registry's base to a pinned job."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

from e2e.servers import Embedded
from rig.registry import Registry

from builder.model import (
    CONFIG_TYPE,
    INDEX_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Descriptor,
    Platform,
)
from builder.several import put_index
from builder.stores.open import open_store
from builder.stores.protocol import Manifest, Store

BOTH = "linux/amd64,linux/arm64"
PROJECT = """
[tool.kitbag.accelerators.cpu]
[tool.kitbag.accelerators.cuda]
requirements = "gpu.txt"
"""
JOB = """
apiVersion: kubeflow.org/v1
kind: TFJob
metadata: {name: train}
spec:
  tfReplicaSpecs:
    PS:
      template: {spec: {containers: [{name: tensorflow, image: old}]}}
    Worker:
      template:
        spec:
          containers:
          - name: tensorflow
            image: kitbag://multi/gan
            resources: {limits: {nvidia.com/gpu: 1}}
"""


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def push_base(store: Store, repo: str, arch: str, triple: str) -> tuple[Platform, str]:
    """An image whose files say which Python and C library it has; nothing in it can run."""
    libc = b"\0GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n\0"
    files = {
        "usr/bin/python3.11": b"\x7fELF" + arch.encode() + b"\x003.11.9\0%.80s (%.80s)\0",
        f"usr/lib/{triple}/libc.so.6": b"\x7fELF" + libc,
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": b"root:x:0:\n",
    }
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))

    def put(media_type: str, data: bytes) -> Descriptor:
        described = Descriptor(media_type, digest_of(data), len(data))
        store.put_blob(repo, described, lambda: io.BytesIO(data))
        return described

    layer = put(LAYER_TYPE, gzip.compress(plain.getvalue(), mtime=0))
    rootfs = {"type": "layers", "diff_ids": [digest_of(plain.getvalue())]}
    config = put(
        CONFIG_TYPE,
        json.dumps({"os": "linux", "architecture": arch, "rootfs": rootfs}).encode(),
    )
    body = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config.as_oci()}
    data = json.dumps(body | {"layers": [layer.as_oci()]}).encode()
    store.put_manifest(repo, Manifest(MANIFEST_TYPE, digest_of(data), data))
    return Platform("linux", arch), digest_of(data)


def test_a_project_for_two_architectures_and_two_accelerators(
    embedded: Embedded, registry: Registry, tmp_path: Path
) -> None:
    store = open_store(f"registry://{registry.host}")
    triples = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
    pushed = [push_base(store, "multi/base", arch, triple) for arch, triple in triples.items()]
    base = f"{registry.host}/multi/base@{put_index(dict(pushed), 'multi/base', store)}"
    folder = tmp_path / "gan"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "requirements.txt").write_text("one\n")
    (folder / "gpu.txt").write_text("-r requirements.txt\ntwo\n")

    asked = (folder, "--name", "multi/gan", "--platform", BOTH, "--base", base)
    plan = json.loads(embedded.kitbag("plan", *asked, "--json").stdout)
    assert [(each["accelerator"], each["platform"]) for each in plan["images"]] == [
        (accelerator, platform) for accelerator in ("cpu", "cuda") for platform in BOTH.split(",")
    ]
    done = embedded.kitbag("build", *asked, "--json")
    assert done.returncode == 0, done.stderr
    build = json.loads(done.stdout)
    assert len(build["stats"]["images"]) == 4

    manifest = embedded.http.get(f"/v2/multi/gan/manifests/{build['digest']}")
    assert manifest.headers["content-type"] == INDEX_TYPE
    index = manifest.json()["manifests"]
    assert [each["platform"]["architecture"] for each in index] == ["amd64", "arm64"]
    for each, (platform, on) in zip(index, pushed, strict=True):
        image = embedded.http.get(f"/v2/multi/gan/manifests/{each['digest']}").json()
        config = embedded.http.get(f"/v2/multi/gan/blobs/{image['config']['digest']}").json()
        assert config["architecture"] == platform.arch
        labels = config["config"]["Labels"]
        assert labels["org.opencontainers.image.base.digest"] == on

    cpu = embedded.kitbag("resolve", "multi/gan").stdout.strip()
    cuda = embedded.kitbag("resolve", "multi/gan", "--accelerator", "cuda").stdout.strip()
    assert cpu == build["image"] and cpu != cuda
    missing = embedded.kitbag("resolve", "multi/gan", "--accelerator", "tpu")
    assert missing.returncode == 2 and "it has cpu on linux/amd64" in missing.stderr

    job = tmp_path / "job.yaml"
    job.write_text(JOB)
    done = embedded.kitbag("pin", job, "--env", "multi/gan")
    assert f"image: {cpu}}}" in done.stdout and f"image: {cuda}\n" in done.stdout
    assert "asks for nvidia.com/gpu and gets the image for cuda" in done.stderr
    forced = embedded.kitbag("pin", job, "--env", "multi/gan", "--accelerator", "cuda").stdout
    assert forced.count(cuda) == 2
    by_server = embedded.http.post("/v1/pins", json={"text": JOB, "environment": "multi/gan"})
    assert by_server.json()["text"] == done.stdout

    shown = embedded.kitbag("show", "multi/gan", "--accelerator", "cuda").stdout
    assert "cuda         linux/arm64" in shown and "two" in shown
    assert "two" not in embedded.kitbag("show", "multi/gan", "--platform", "linux/arm64").stdout
    verified = embedded.kitbag("verify", "multi/gan")
    assert verified.returncode == 0 and verified.stdout.count(" is equal: ") == 4
    assert embedded.kitbag("build", *asked).stdout.strip() == cpu, "nothing changed"
