"""Launches, restarts and searches for live objects as JSON."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.builds.request import Accelerator
from api.jobs.schemas import Job
from api.text import Text

Namespace = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
]
MAX_NAME_CHARS = 52
"""Kubernetes cuts the labels of a StatefulSet's pods there (kubernetes/kubernetes#64023)."""
# A Service has the notebook's name, so it begins with a letter (RFC 1035).
NotebookName = Annotated[
    str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=MAX_NAME_CHARS)
]
_AMOUNT = r"^([0-9]{1,12}(\.[0-9]{1,3})?(m|[KMGTPE]i?|k)?)?$"
Amount = Annotated[str, StringConstraints(pattern=_AMOUNT)]
VersionName = Annotated[Text, Field(min_length=3, max_length=400)]


class NotebookForm(StrEnum):
    """What a notebook is in the cluster."""

    NOTEBOOK = "Notebook"
    WORKSPACE = "Workspace"


class Launch(BaseModel):
    """A notebook to start; amounts are written as Kubernetes writes them, such as 4Gi."""

    model_config = ConfigDict(extra="forbid")

    version: VersionName = Field(description="NAMESPACE/NAME[:VERSION].")
    name: NotebookName | None = Field(None, description="The environment's unless given.")
    namespace: Namespace | None = Field(
        None, description="Of the cluster; named like the environment's unless given."
    )
    form: NotebookForm | None = Field(
        None, description="A Workspace unless given, if workers keep a WorkspaceKind's list."
    )
    home: Amount = Field("", description="The size of a volume for the home; none if empty.")
    cpu: Amount = ""
    memory: Amount = ""
    accelerator: Accelerator | None = Field(
        None, description="Which image of the version; its default unless given."
    )
    accelerators: int = Field(0, ge=0, le=64, description="How many of them.")
    pod_config: Text = Field("", max_length=256, description="A Workspace's choice of resources.")

    @model_validator(mode="after")
    def _counts_what_is_counted(self) -> Self:
        if self.accelerators and self.accelerator is Accelerator.CPU:
            raise ValueError("accelerators are counted for cuda or tpu, and cpu is none of them")
        return self


class Launched(BaseModel):
    """What was made."""

    kind: str
    namespace: str
    name: str
    image: str
    say: str = Field(description="One sentence.")
    path: str = Field(description="Where Kubeflow serves it.")
    url: str | None = Field(None, description="The same with KITBAG_KUBEFLOW_URL; null without.")


class Launching(Job):
    """A notebook that is being made."""

    result: Launched | None


class Restart(BaseModel):
    """A Notebook that is to run a version now, whatever runs in it ends."""

    model_config = ConfigDict(extra="forbid")

    version: VersionName = Field(description="NAMESPACE/NAME[:VERSION].")
    namespace: Namespace
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")] = Field(
        max_length=253
    )


class Restarted(BaseModel):
    """What became of it, as of an object of a rollout."""

    kind: str
    namespace: str
    name: str
    image: str
    state: str = Field(description="done or same; or why not: denied, away, gone, cant.")
    say: str


class Restarting(Job):
    """A Notebook that is given a version."""

    result: Restarted | None


class Uses(BaseModel):
    """Which environment to look for."""

    model_config = ConfigDict(extra="forbid")

    environment: VersionName = Field(description="NAMESPACE/NAME.")


class Use(BaseModel):
    """An object that runs the environment; null for an image that is no version of it."""

    kind: str
    namespace: str
    name: str
    versions: list[int | None]
    images: list[str]


class Used(BaseModel):
    """The objects, and sentences about where nobody could look."""

    items: list[Use]
    unseen: list[str]


class Looking(Job):
    """A search for what runs an environment."""

    result: Used | None
