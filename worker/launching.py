"""Starts notebooks and restarts them, for somebody who waits: in whose name the cluster decides.

Each is a job that may be done twice: a launch knows its own object by a mark, and an object that
runs the image already stays as it is.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from catalog import mirrors, rollouts, versions
from catalog.engine import reading
from catalog.models import Version
from kitbag import specs
from kitbag.live import Choices, Wanted
from kitbag.live.change import change
from kitbag.live.cluster import Cluster, Person
from kitbag.live.connect import connect
from kitbag.live.errors import ClusterError
from kitbag.live.find import named
from kitbag.live.launch import RESOURCES, Form, Launch, launch
from kitbag.refs import EnvRef
from worker.services import Services
from worker.settings import ActsAs


class Asked(BaseModel):
    """What each of them needs: the version NS/NAME:NUMBER, and who is to act.

    `acts_as` is a user of the cluster; empty: the service account of the object's namespace.
    """

    version: str
    namespace: str
    acts_as: str


class Start(Asked):
    """A notebook to start; see `kitbag.live.launch.Launch`."""

    name: str
    form: Literal["Notebook", "Workspace"] | None
    home: str
    cpu: str
    memory: str
    accelerator: str | None
    accelerators: int
    pod_config: str


class Restart(Asked):
    """A Notebook that is to run the version, whatever runs in it."""

    name: str


def start(kit: Services, asked: Start, mark: str) -> dict[str, Any]:
    """Make the notebook; raises ClusterError and CatalogError."""
    settings = kit.settings
    accelerator = asked.accelerator
    if asked.accelerators and accelerator is None:
        accelerator = next(iter(RESOURCES))
    image, pull_secret = _image(kit, asked.version, accelerator)
    form = Form(asked.form or ("Workspace" if settings.workspace_kind else "Notebook"))
    if form is Form.WORKSPACE and not settings.workspace_kind:
        raise ClusterError(
            "no WorkspaceKind is known here: launch a Notebook, or ask the operator for"
            " KITBAG_WORKSPACE_KIND"
        )
    order = Launch(
        namespace=asked.namespace,
        name=asked.name,
        image=image,
        version=EnvRef.parse(asked.version),
        mark=mark,
        form=form,
        home=asked.home,
        cpu=asked.cpu,
        memory=asked.memory,
        accelerator=accelerator or "",
        accelerators=asked.accelerators,
        kind=settings.workspace_kind,
        pod_config=asked.pod_config,
        account=settings.notebook_account,
        pull_secret=pull_secret,
        server=settings.notebook_url or settings.public_url,
    )
    with connect(settings.cluster) as http:
        made = launch(Cluster(http, person(kit, asked.acts_as, asked.namespace)), order)
    return {
        "kind": made.ref.kind,
        "namespace": made.ref.namespace,
        "name": made.ref.name,
        "image": image,
        "say": made.say,
        "path": made.path,
    }


def restart(kit: Services, asked: Restart) -> dict[str, Any]:
    """Give a Notebook the version at once; raises ClusterError and CatalogError."""
    wanted = _wanted(kit, asked.version)
    kinds = specs.of_file(kit.settings.kinds)
    with connect(kit.settings.cluster) as http:
        cluster = Cluster(http, person(kit, asked.acts_as, asked.namespace))
        ref = named(cluster, "Notebook", asked.namespace, asked.name, kinds=kinds)
        # Whoever names this one object means it, whichever form made it.
        result = change(
            cluster, ref, wanted, Choices(restart=True, named=True), force=True, kinds=kinds
        )
    return {
        "kind": result.ref.kind,
        "namespace": result.ref.namespace,
        "name": result.ref.name,
        "image": wanted.image,
        "state": result.state.value,
        "say": result.say,
    }


def person(kit: Services, acts_as: str, namespace: str) -> Person:
    """Whoever asks, or the service account of a namespace."""
    if kit.settings.cluster_acts_as is ActsAs.USER:
        if not acts_as:  # without a name the worker would be itself
            raise ClusterError("nobody is said to ask for it: come through the proxy that says who")
        return Person(acts_as)
    return Person.service_account(namespace, kit.settings.cluster_account)


def _image(kit: Services, name: str, accelerator: str | None) -> tuple[str, str]:
    """The version's image for an accelerator as this cluster pulls it, and with which secret."""
    at = kit.settings.cluster_target
    with reading(kit.engine) as session:
        version = versions.resolve(session, name)
        reference = _reference(version, accelerator)
        if not at:
            return reference, ""
        near = mirrors.near(session, version, at)
        return near.named(reference), near.target.pull_secret or ""


def _reference(version: Version, accelerator: str | None) -> str:
    if accelerator is None:
        return version.image
    return versions.image_of(version, accelerator).reference


def _wanted(kit: Services, name: str) -> Wanted:
    ref, at = EnvRef.parse(name), kit.settings.cluster_target
    with reading(kit.engine) as session:
        version = versions.resolve(session, name)
        successors = rollouts.successors(session, version)
        if not at:
            return Wanted(version.image, ref, successors)
        near = mirrors.near(session, version, at)
    there = {old: None if new is None else near.named(new) for old, new in successors.items()}
    return Wanted(near.named(version.image), ref, there)
