"""Rollouts as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from api.builds.request import checked_name
from api.text import Text
from catalog.hook_models import Forge
from catalog.rollout_models import Rollout, RolloutResult, RolloutRun, RunState

_DNS = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_KEY = rf"({_DNS}/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_PART = rf"(!?{_KEY}|{_KEY} ?(=|==|!=) ?{_VALUE}|{_KEY} (in|notin) \({_VALUE}(, ?{_VALUE})*\))"
# What git-check-ref-format(1) refuses in the name of a branch.
_BAD_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(^|/)[-.]|^/|[/.]$|\.lock(/|$)|^@$")

Name = Annotated[str, StringConstraints(pattern=rf"^{_DNS}$", max_length=253)]
Namespace = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
]


class ObjectRef(BaseModel):
    """An object of the rollout's namespace, in whichever API version the cluster prefers."""

    model_config = ConfigDict(extra="forbid")

    kind: str = Field(pattern=r"^[A-Z][A-Za-z0-9]*$", max_length=63, examples=["TFJob"])
    name: Name


class GitPlace(BaseModel):
    """Files of a git repository, on one of its branches."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[Text, StringConstraints(min_length=1, max_length=2000)] = Field(
        description="The repository, as the workers push to it."
    )
    branch: Annotated[str, StringConstraints(max_length=200)] = "main"
    paths: list[Annotated[Text, StringConstraints(min_length=1, max_length=1024)]] = Field(
        min_length=1,
        max_length=50,
        description="Files and folders; no others are changed. `.` is all of it.",
    )
    pull_request: bool = Field(False, description="Open a pull or merge request, and don't push.")
    forge: Forge | None = Field(None, description="Whose pull requests these are.")
    secret: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")] | None = (
        Field(None, description="The operator's secret that it is pushed with.")
    )
    target: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = Field(
        None, description="The target whose cluster reads the repository; here by default."
    )

    @field_validator("branch")
    @classmethod
    def _is_branch(cls, branch: str) -> str:
        if not branch.isprintable() or not branch or _BAD_BRANCH.search(branch):
            raise ValueError("it is no name of a branch")
        return branch

    @field_validator("paths")
    @classmethod
    def _inside(cls, paths: list[str]) -> list[str]:
        kept = ("." if path in (".", "./") else checked_name(path) for path in paths)
        return list(dict.fromkeys(kept))

    @model_validator(mode="after")
    def _asks_somebody(self) -> Self:
        if self.pull_request and (self.forge is None or self.secret is None):
            raise ValueError("a pull request needs a forge and a secret")
        return self


class Register(BaseModel):
    """What is to get each new version: objects by name, all with these labels, or a repository."""

    model_config = ConfigDict(extra="forbid")

    namespace: Namespace | None = Field(
        None, description="Of the cluster; named like the environment's unless given."
    )
    objects: list[ObjectRef] = Field(default_factory=list, max_length=200)
    selector: str = Field(
        "", max_length=1000, pattern=rf"^({_PART}(, ?{_PART})*)?$", description="A label selector."
    )
    restart: bool = Field(False, description="Also end what runs in a notebook.")
    clone: bool = Field(False, description="Copy a job that can't change, under a new name.")
    force_conflicts: bool = Field(False, description="Take over images that others manage.")
    container: Name | None = Field(None, description="The container that is meant.")
    git: GitPlace | None = Field(None, description="A repository instead of a cluster's objects.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if bool(self.objects) + bool(self.selector) + (self.git is not None) != 1:
            raise ValueError("give objects, a selector or git, one of them")
        if self.git and (self.namespace or self.restart or self.clone or self.force_conflicts):
            raise ValueError("in a repository only container and git mean something")
        return self


class ObjectOut(BaseModel):
    """What became of an object, or in a repository (`git`) of the commit or pull request, and of
    each file that can't be pinned."""

    api_version: str
    kind: str
    name: str
    state: str = Field(
        description="done, same, waiting, skipped, conflict, cant, denied, away or gone."
    )
    say: str = Field(description="One sentence: what happened, or what to do.")
    before: list[str] = Field(description="The images that it had.")
    copy_name: str | None = Field(description="The copy that was made of it.")
    at: datetime


class RunOut(BaseModel):
    """A version's way to the objects; `problem` is why nothing could be done at all."""

    version: int
    state: RunState
    tries: int
    due_at: datetime = Field(description="When to try, or to try again.")
    ended_at: datetime | None
    problem: str | None
    objects: list[ObjectOut]


class RolloutOut(BaseModel):
    """A registered rollout and its newest run; null before the environment's first version."""

    id: int
    environment: str
    namespace: str
    objects: list[ObjectRef]
    selector: str
    restart: bool
    clone: bool
    force_conflicts: bool
    container: str | None
    git: GitPlace | None = Field(description="The repository, where it is one; null: the cluster.")
    acts_as: str | None = Field(description="A user of the cluster; null: the service account.")
    created_at: datetime
    run: RunOut | None

    @classmethod
    def of(
        cls, rollout: Rollout, run: RolloutRun | None, results: Sequence[RolloutResult]
    ) -> RolloutOut:
        """The rollout as the API shows it."""
        return cls(
            id=rollout.id,
            environment=rollout.environment.full_name,
            namespace=rollout.namespace,
            objects=[ObjectRef.model_validate(dict(one)) for one in rollout.objects],
            selector=rollout.selector,
            restart=rollout.restart,
            clone=rollout.clone,
            force_conflicts=rollout.force_conflicts,
            container=rollout.container,
            git=None if rollout.git is None else GitPlace.model_validate(dict(rollout.git)),
            acts_as=rollout.acts_as or None,
            created_at=rollout.created_at,
            run=None if run is None else _run(run, results),
        )


class RolloutList(BaseModel):
    """The rollouts of an environment, the oldest first."""

    items: list[RolloutOut]


def _run(run: RolloutRun, results: Sequence[RolloutResult]) -> RunOut:
    return RunOut(
        version=run.number,
        state=run.state,
        tries=run.tries,
        due_at=run.due_at,
        ended_at=run.ended_at,
        problem=run.problem or None,
        objects=[
            ObjectOut(
                api_version=one.api_version,
                kind=one.kind,
                name=one.name,
                state=one.state,
                say=one.say,
                before=list(one.before["images"]),
                copy_name=one.copy,
                at=one.at,
            )
            for one in results
        ],
    )
