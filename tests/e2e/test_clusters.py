"""One build, three registries: each cluster's job names the near one, with the equal digest."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e.servers import Embedded, run_server
from rig.proxy import Proxy
from rig.registry import Factory

from builder.stores.open import open_store

pytestmark = pytest.mark.rig
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
    Chief:
      replicas: 1
      template:
        spec:
          containers:
          - name: tensorflow
            image: kitbag://clusters/gan
    Worker:
      replicas: 16
      template:
        spec:
          containers:
          - name: tensorflow
            image: kitbag://clusters/gan
            resources: {limits: {nvidia.com/gpu: 8}}
"""


def operate(server: Embedded, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`kitbag-server` as the operator of a server that `up` runs calls it."""
    catalog = {
        "KITBAG_DATABASE_URL": f"sqlite:///{server.data / 'catalog.db'}",
        "KITBAG_DATA": str(server.data),
    }
    return run_server(*arguments, env=server.environ | catalog)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with packages for CPUs, and more of them for CUDA, and a job to run it."""
    folder = tmp_path / "gan"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "requirements.txt").write_text("two\n")
    (folder / "gpu.txt").write_text("-r requirements.txt\nthree\n")
    (tmp_path / "job.yaml").write_text(JOB)
    return folder


def test_a_job_of_16_workers_with_8_gpus_goes_to_the_other_cluster(
    embedded: Embedded,
    source: Path,
    make_registry: Factory,
    make_proxy: Callable[[int], Proxy],
) -> None:
    near, far = make_registry(), make_registry()
    line = make_proxy(far.port)
    line.refuse = True
    secret = ("--accelerator", "cuda", "--pull-secret", "gcp-pull")
    for target in (("gcp", f"{near.host}/kit", *secret), ("edge", line.host)):
        added = operate(embedded, "target", "add", "clusters", *target)
        assert added.returncode == 0, added.stderr
    listed = json.loads(operate(embedded, "target", "ls", "--json").stdout)
    assert [(each["namespace"], each["name"]) for each in listed] == [
        ("clusters", "edge"),
        ("clusters", "gcp"),
    ]

    built = embedded.kitbag("build", source, "--name", "clusters/gan", "--json")
    assert built.returncode == 0, built.stderr
    here = json.loads(embedded.kitbag("resolve", "clusters/gan", "--json").stdout)["images"]
    job = source.parent / "job.yaml"

    pinned = embedded.kitbag("pin", job, "--target", "gcp", "--wait", "60")
    assert pinned.returncode == 0, pinned.stderr
    chief, worker = re.findall(r"image: (\S+)", pinned.stdout)
    for got, accelerator in ((chief, "cpu"), (worker, "cuda")):
        digest = here[accelerator].rpartition("@")[2]
        assert got == f"{near.host}/kit/clusters/gan@{digest}"
        found = open_store(f"registry://{near.host}/kit").manifest("clusters/gan", digest)
        assert found is not None and found.digest == digest
    assert pinned.stdout.count("name: gcp-pull") == 2
    assert "replicas: 16" in pinned.stdout

    refused = embedded.kitbag("resolve", "clusters/gan", "--target", "edge", "--wait", "1")
    assert refused.returncode == 2
    assert f"clusters/gan:1 is not in {line.host}, the registry of edge, yet" in refused.stderr
    line.refuse = False
    assert operate(embedded, "target", "retry", "clusters", "edge").returncode == 0
    edge = embedded.kitbag("resolve", "clusters/gan", "--target", "edge", "--wait", "60")
    assert edge.stdout.strip() == f"{line.host}/clusters/gan@{here['cpu'].rpartition('@')[2]}"
    shown = embedded.kitbag("show", "clusters/gan").stdout
    assert re.search(rf"edge +done +\S+ \S+ +{re.escape(line.host)}", shown), shown

    for name in ("gcp", "edge"):
        assert operate(embedded, "target", "rm", "clusters", name).returncode == 0
    gone = embedded.kitbag("pin", job, "--target", "gcp")
    assert gone.returncode == 2
    assert "clusters has no target 'gcp', it has none" in gone.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("Alice", "gcp", "gcr.example/kit"), "must be NAMESPACE/NAME"),
        (("alice", "G_CP", "gcr.example/kit"), "The target's name 'G_CP' must be"),
        (("alice", "gcp", "http://user:pass@gcr.example/kit"), "no user or password"),
        (("alice", "gcp", "ftp://gcr.example"), "is no kind of store"),
        (("alice", "gcp", "gcr.example", "--pull-secret", "No_Good"), "is no secret's name"),
    ],
)
def test_a_target_that_can_not_be_is_refused_with_a_sentence(
    embedded: Embedded, arguments: tuple[str, ...], sentence: str
) -> None:
    done = operate(embedded, "target", "add", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
