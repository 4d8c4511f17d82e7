"""A whole Kitbag beside the cluster, whose worker reaches it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from e2e.servers import BASES, NO_REGISTRY, Embedded
from rig.cluster import Cluster
from rig.wheels import wheel_factory

from builder.bases.debian import debian
from builder.stores.layout import LayoutStore

RIGHTS = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    {
        "apiGroups": ["kubeflow.org", "serving.kserve.io", "pipelines.kubeflow.org", "apps"],
        "resources": ["*"],
        "verbs": ["get", "list", "patch", "create"],
    },
]
"""What a namespace gives the service account that Kitbag acts as there."""


class Kit(Embedded):
    """An embedded Kitbag in front of a cluster, and its user's own kubectl."""

    def __init__(self, data: Path, variables: dict[str, str], kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        super().__init__(data, variables)

    @property
    def environ(self) -> dict[str, str]:
        return super().environ | {"KUBECONFIG": str(self._kubeconfig)}

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What a command prints as JSON; it must end with this code."""
        done = self.kitbag(*arguments, "--json")
        assert done.returncode == code, done.stderr + done.stdout
        return json.loads(done.stdout)


def make_base(folder: Path) -> None:
    """Make the Debian root if this machine has none yet; skips where it can't be made."""
    if shutil.which("mmdebstrap") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "mmdebstrap is not installed: `apt-get install mmdebstrap` brings it"
        )
    BASES.mkdir(parents=True, exist_ok=True)
    debian(LayoutStore(folder), cache=BASES, report=lambda _: None)


@contextmanager
def serving(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """A server whose worker may only act as service accounts named kitbag."""
    make_base(tmp_path_factory.mktemp("base"))
    worker = cluster.user("kitbag-worker")
    cluster.allow(
        worker,
        rights=[
            {
                "apiGroups": [""],
                "resources": ["serviceaccounts"],
                "resourceNames": ["kitbag"],
                "verbs": ["impersonate"],
            }
        ],
    )
    with wheel_factory(tmp_path_factory.mktemp("wheels")) as index:
        index.wheel("pip", "99.0")
        for version in ("1.0", "2.0", "3.0"):
            index.wheel("one", version)
        settings = {
            "KITBAG_INDEX_URL": index.index_url,
            "KITBAG_BASE_IMAGE": NO_REGISTRY,
            "KITBAG_CLUSTER": str(worker.kubeconfig),
            "KITBAG_ROLLOUT_RETRY_S": "0.5",
            "KITBAG_SWEEP_S": "1",
        }
        data = tmp_path_factory.mktemp("kit") / "data"
        server = Kit(data, settings, cluster.admin.kubeconfig)
        server.up.start()
        try:
            yield server
        finally:
            server.up.stop(timeout_s=60)
            server.http.close()
