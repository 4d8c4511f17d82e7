"""Commands that wait to be let in, as JSON."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from api.text import Text


class NewLogin(BaseModel):
    """A command that wants to be let in."""

    model_config = ConfigDict(extra="forbid")

    device: Text = Field(
        min_length=1, max_length=100, description="Where it runs, for whoever lets it in."
    )


class LoginOut(BaseModel):
    """What the command shows to its person, and asks with."""

    id: str
    code: str = Field(description="To be compared with the page's.")
    path: str = Field(description="The page of this server where the code is let in.")
    secret: str = Field(description="For `POST /v1/logins/{id}`.")
    expires_at: datetime
    interval_s: float = Field(description="How long to wait between two questions.")


class Poll(BaseModel):
    """The question of a command that waits."""

    model_config = ConfigDict(extra="forbid")

    secret: str = Field(min_length=1, max_length=100)


class LetIn(BaseModel):
    """Whether somebody let the command in; then the token is shown this once."""

    user: str | None
    token: str | None
    expires_at: datetime | None
