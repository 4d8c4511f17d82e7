"""Hooks as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.builds.choices import Choices
from api.builds.request import Accelerator
from api.text import Text
from catalog.hook_models import Forge, Hook

_Environment = Annotated[Text, StringConstraints(min_length=3, max_length=127)]


class BranchRule(BaseModel):
    """Branches that fit the pattern build the environment."""

    model_config = ConfigDict(extra="forbid")

    pattern: Annotated[Text, StringConstraints(min_length=1, max_length=255)] = Field(
        description="A branch, or a pattern of `*`, `?` and `[…]`, which match slashes too."
    )
    environment: _Environment | None = Field(
        None, description="NAMESPACE/NAME, where `{branch}` stands for the branch; the hook's own."
    )


class TagRule(BaseModel):
    """Tags that fit the pattern are names of the environment's versions."""

    model_config = ConfigDict(extra="forbid")

    pattern: Annotated[Text, StringConstraints(min_length=1, max_length=255)] = Field(
        description="A tag, or a pattern of `*`, `?` and `[…]`, which match slashes too."
    )
    environment: _Environment | None = Field(
        None, description="NAMESPACE/NAME, where `{tag}` stands for the tag; the hook's own."
    )


class Options(Choices):
    """What the builds are asked for, beside their source."""

    python: Annotated[str, StringConstraints(max_length=16)] | None = None
    base: Annotated[Text, StringConstraints(min_length=1, max_length=512)] | None = None
    accelerator: Accelerator | None = None


class NewHook(BaseModel):
    """A rule: which repository's pushes build this environment."""

    model_config = ConfigDict(extra="forbid")

    forge: Forge
    url: Annotated[Text, StringConstraints(min_length=1, max_length=2000)] = Field(
        description="The repository, as the workers fetch it."
    )
    subdir: Annotated[Text, StringConstraints(max_length=1024)] | None = None
    branches: list[BranchRule] = Field(
        default_factory=lambda: [BranchRule(pattern="main", environment=None)],
        min_length=1,
        max_length=20,
    )
    tags: list[TagRule] = Field(
        default_factory=list, max_length=20, description="Tags that are built; none by default."
    )
    pulls: bool = Field(False, description="Build pull requests of the repository's own branches.")
    options: Options = Options()
    status_secret: (
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")] | None
    ) = Field(None, description="The operator's secret for the forge's API: commits get a status.")


class HookOut(BaseModel):
    """A rule, without its secret."""

    id: str
    environment: str
    forge: Forge
    url: str
    subdir: str | None
    branches: list[BranchRule]
    tags: list[TagRule]
    pulls: bool
    options: dict[str, Any]
    status_secret: str | None
    path: str = Field(description="Where the forge sends to, behind this server's address.")
    created_at: datetime

    @classmethod
    def of(cls, hook: Hook) -> HookOut:
        """The rule as lists show it."""
        return cls(
            id=hook.id,
            environment=hook.environment.full_name,
            forge=Forge(hook.forge),
            url=hook.url,
            subdir=hook.subdir,
            branches=[BranchRule.model_validate(rule) for rule in hook.branches],
            tags=[TagRule.model_validate(rule) for rule in hook.tags],
            pulls=hook.pulls,
            options=dict(hook.options),
            status_secret=hook.status_secret,
            path=f"/v1/hooks/{hook.forge}?hook={hook.id}",
            created_at=hook.created_at,
        )


class HookWithSecret(HookOut):
    """A rule with what to paste into the forge."""

    secret: str


class HookList(BaseModel):
    """The rules of an environment."""

    items: list[HookOut]


class Taken(BaseModel):
    """What came of a delivery, one sentence for each thing it told."""

    told: list[str]
    builds: list[str]
    duplicate: bool = False
