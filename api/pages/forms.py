"""The form of a new environment: its fields, and the build request that they make."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from fastapi import Form
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.builds import uploads
from api.builds.normal import NormalRequest, normalise
from api.builds.request import Accelerator, BuildRequest
from api.problems import ProblemError, Slug
from api.problems.validation import sentence
from api.settings import ApiSettings
from api.text import Text

REQUIREMENTS = "requirements.txt"
_LINES = re.compile(r"\r\n?")
_MAX_TEXT_CHARS = 256 * 1024


class Kind(StrEnum):
    """Where the packages are written down."""

    PACKAGES = "packages"
    GIT = "git"


class NewForm(BaseModel):
    """What the form holds, as it was typed."""

    model_config = ConfigDict(extra="ignore")

    name: Text = Field("", max_length=127)
    kind: Kind = Kind.PACKAGES
    packages: Text = Field("", max_length=_MAX_TEXT_CHARS)
    url: Text = Field("", max_length=2048)
    ref: Text = Field("", max_length=255)
    subdir: Text = Field("", max_length=1024)
    submodules: bool = False
    lfs: bool = False
    python: Text = Field("", max_length=16)
    accelerator: Accelerator = Accelerator.CPU

    def request(self) -> NormalRequest:
        """The build request; raises ProblemError with a sentence for the person at the form."""
        if self.kind is Kind.PACKAGES:
            if not self.name.strip():
                raise ProblemError(
                    Slug.INVALID_REQUEST, "Give the environment a name, such as alice/tools."
                )
            source: dict[str, Any] = {"files": {REQUIREMENTS: self._requirements()}}
        else:
            if not self.url.strip():
                raise ProblemError(Slug.INVALID_REQUEST, "Give the address of the git repository.")
            git = {
                "url": self.url.strip(),
                "ref": self.ref.strip(),
                "subdir": self.subdir.strip(),
                "submodules": self.submodules,
                "lfs": self.lfs,
            }
            source = {"git": {name: value for name, value in git.items() if value}}
        asked = {
            "environment": self.name.strip(),
            "source": source,
            "python": self.python.strip(),
            "accelerator": self.accelerator,
        }
        try:
            request = BuildRequest.model_validate(
                {name: value for name, value in asked.items() if value}
            )
        except ValidationError as error:
            raise ProblemError(Slug.INVALID_REQUEST, sentence(error.errors())) from error
        return normalise(request, None)

    def _requirements(self) -> str:
        """The text with the line ends of a requirements file."""
        text = _LINES.sub("\n", self.packages).strip()
        return f"{text}\n" if text else "\n"

    @classmethod
    def of(cls, name: str, request: Mapping[str, Any], settings: ApiSettings) -> Self:
        """The form that would make such a request again, as far as a form can."""
        source = request["source"]
        common = {
            "name": name,
            "python": request.get("python") or "",
            "accelerator": request.get("accelerator") or Accelerator.CPU,
        }
        if "git" in source:
            git = {key: value or "" for key, value in source["git"].items()}
            return cls.model_validate(common | {"kind": Kind.GIT} | git)
        if "upload" in source:
            text = uploads.read_text(settings, source["upload"], REQUIREMENTS)
        else:
            text = source["files"].get(REQUIREMENTS)
        return cls.model_validate(common | {"packages": text or ""})


NewFormDep = Annotated[NewForm, Form()]
