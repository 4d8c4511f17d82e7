"""Starts a notebook: a Notebook (Kubeflow), or a Workspace of a kind that offers its image (v2).

The person chooses a name, a volume and what it may use; the image is a digest, and the notebook is
told what it runs on. Sources: kubeflow/notebooks, components/crud-web-apps/jupyter/backend (what
the v1 form makes) and workspaces/controller/api/v1beta1/workspace_types.go.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..refs import EnvRef
from .cluster import Cluster
from .errors import RefusedError, TakenError
from .objects import Ref
from .options import API_VERSION as KIND_VERSION
from .options import KIND
from .told import BASE_IMAGE, ENVIRONMENT

MARK = "kitbag.dev/launch"
"""The annotation that tells a second try of a launch from somebody else's object."""
SERVER = "KITBAG_URL"
LAUNCHED, LAUNCHED_IMAGE = "kitbag.dev/launched", "kitbag.dev/launched-image"
"""Annotations of a Workspace's pod, since only its kind can give it variables."""
RESOURCES = {"cuda": "nvidia.com/gpu", "tpu": "google.com/tpu"}

_NOTEBOOK = "kubeflow.org/v1"
_HOME_PATH = "/home/jovyan"
_WORKSPACE_HOME = "10Gi"
TOKEN_PATH = "/var/run/secrets/kitbag"  # noqa: S105 - no secret; where the client looks
_TOKEN = {"audience": "kitbag", "path": "token", "expirationSeconds": 3600}
_GROUP = 100  # of the images' user; the volume is to be writable for it


class Form(str, enum.Enum):
    """What is made."""

    NOTEBOOK = "Notebook"
    WORKSPACE = "Workspace"


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start, and where; quantities as Kubernetes writes them, empty for none asked.

    `version` is the NS/NAME:NUMBER that the image is, `mark` is another for each launch. `kind` is
    the WorkspaceKind of a Workspace, `pod_config` one of its choices.
    """

    namespace: str
    name: str
    image: str
    version: EnvRef
    mark: str
    form: Form = Form.NOTEBOOK
    home: str = ""
    cpu: str = ""
    memory: str = ""
    accelerator: str = ""
    accelerators: int = 0
    kind: str = ""
    pod_config: str = ""
    account: str = ""
    pull_secret: str = ""
    server: str = ""


@dataclass(frozen=True, slots=True)
class Launched:
    """What was made, in a sentence, and the path that Kubeflow serves it at."""

    ref: Ref
    say: str
    path: str


def launch(cluster: Cluster, asked: Launch) -> Launched:
    """Make the notebook and its home volume; the same launch again does no more.

    Raises ClusterError: TakenError where something else has the name. A volume of the name that
    there is already is used: it is the home of an earlier notebook of that name.
    """
    if asked.form is Form.WORKSPACE:
        made, path = _workspace(cluster, asked)
        home = asked.home or _WORKSPACE_HOME
    else:
        made = notebook(asked)
        path, home = f"/notebook/{asked.namespace}/{asked.name}/", asked.home
    ref = Ref.of(made)
    _refuse_taken(cluster.get(ref), ref, asked)
    says = [f"{ref} is made on {asked.version}"]
    if home:
        says.append(_with_home(cluster, asked, home))
    try:
        cluster.create(made)
    except TakenError:
        _refuse_taken(cluster.get(ref), ref, asked)
    return Launched(ref, ", ".join(says), path)


def _refuse_taken(there: Mapping[str, Any] | None, ref: Ref, asked: Launch) -> None:
    if (
        there is None
        or ((there.get("metadata") or {}).get("annotations") or {}).get(MARK) == asked.mark
    ):
        return
    instead = (
        f", or give that one this version: kitbag rollout {asked.version.environment} "
        f"notebook/{asked.name} -n {asked.namespace} --restart"
        if asked.form is Form.NOTEBOOK
        else ""
    )
    raise TakenError(f"there is a {ref} already: choose another name{instead}")


def _with_home(cluster: Cluster, asked: Launch, size: str) -> str:
    """Make the home volume, or find it."""
    claim = _claim(asked)
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim, "namespace": asked.namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
        },
    }
    if cluster.get(Ref.of(volume)) is None:
        try:
            cluster.create(volume)
        except TakenError:
            return f"with the volume {claim}"
        return f"with the new volume {claim}"
    return f"with the volume {claim} that was there"


def _claim(asked: Launch) -> str:
    return f"{asked.name}-home"


def notebook(asked: Launch) -> dict[str, Any]:
    """The Notebook; its container is named like it, as every tool expects."""
    variables = {ENVIRONMENT: str(asked.version), BASE_IMAGE: asked.image, SERVER: asked.server}
    mounts: list[dict[str, Any]] = [
        {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108 - what PyTorch shares
        {"name": "kitbag-token", "mountPath": TOKEN_PATH, "readOnly": True},
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "dshm", "emptyDir": {"medium": "Memory"}},
        {"name": "kitbag-token", "projected": {"sources": [{"serviceAccountToken": _TOKEN}]}},
    ]
    if asked.home:
        mounts.append({"name": "home", "mountPath": _HOME_PATH})
        volumes.append({"name": "home", "persistentVolumeClaim": {"claimName": _claim(asked)}})
    container = {
        "name": asked.name,
        "image": asked.image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "value": value} for name, value in variables.items() if value],
        "resources": _resources(asked),
        "volumeMounts": mounts,
    }
    pod: dict[str, Any] = {
        "containers": [container],
        "volumes": volumes,
        "securityContext": {"fsGroup": _GROUP},
    }
    if asked.account:
        pod["serviceAccountName"] = asked.account
    if asked.pull_secret:
        pod["imagePullSecrets"] = [{"name": asked.pull_secret}]
    return {
        "apiVersion": _NOTEBOOK,
        "kind": "Notebook",
        "metadata": {
            "name": asked.name,
            "namespace": asked.namespace,
            "labels": {"app": asked.name},
            "annotations": {MARK: asked.mark, "notebooks.kubeflow.org/server-type": "jupyter"},
        },
        "spec": {"template": {"spec": pod}},
    }


def _resources(asked: Launch) -> dict[str, Any]:
    """Memory is a limit too, since a node that runs out of it ends somebody else's work."""
    requests = {"cpu": asked.cpu, "memory": asked.memory}
    limits = {"memory": asked.memory}
    if asked.accelerators:
        limits[RESOURCES[asked.accelerator]] = str(asked.accelerators)
    said = {"requests": requests, "limits": limits}
    chosen = {
        name: {key: value for key, value in amounts.items() if value}
        for name, amounts in said.items()
    }
    return {name: amounts for name, amounts in chosen.items() if amounts}


def _workspace(cluster: Cluster, asked: Launch) -> tuple[dict[str, Any], str]:
    """The Workspace and its path; raises RefusedError where its kind has no such choices."""
    if asked.cpu or asked.memory or asked.accelerators:
        raise RefusedError(
            f"what a Workspace may use is a choice of {KIND} {asked.kind}: name its pod"
            " configuration instead of amounts"
        )
    kind = cluster.get(Ref(KIND_VERSION, KIND, "", asked.kind))
    if kind is None:
        raise RefusedError(f"the cluster has no {KIND} {asked.kind}")
    options = kind["spec"]["podTemplate"]["options"]
    option = next(
        (
            value
            for value in options["imageConfig"]["values"]
            if (value.get("spec") or {}).get("image") == asked.image
        ),
        None,
    )
    if option is None:
        raise RefusedError(
            f"{KIND} {asked.kind} has no option with {asked.version}: offer the environment"
            f" (kitbag offer {asked.version.environment}) and ask again in a moment, or launch a"
            " Notebook"
        )
    config = asked.pod_config or options["podConfig"]["spawner"]["default"]
    known = [str(value["id"]) for value in options["podConfig"]["values"]]
    if config not in known:
        raise RefusedError(f"{KIND} {asked.kind} has no pod configuration {config}: it has {known}")
    made = {
        "apiVersion": KIND_VERSION,
        "kind": "Workspace",
        "metadata": {
            "name": asked.name,
            "namespace": asked.namespace,
            "annotations": {MARK: asked.mark},
        },
        "spec": {
            "kind": asked.kind,
            "podTemplate": {
                "podMetadata": {
                    "annotations": {LAUNCHED: str(asked.version), LAUNCHED_IMAGE: asked.image}
                },
                "volumes": {"home": _claim(asked)},
                "options": {"imageConfig": option["id"], "podConfig": config},
            },
        },
    }
    port = option["spec"]["ports"][0]["id"]
    return made, f"/workspace/connect/{asked.namespace}/{asked.name}/{port}/"
