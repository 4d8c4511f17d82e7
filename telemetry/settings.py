"""How a process logs, from KITBAG_LOG_… variables."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Format(StrEnum):
    """What a line of the log looks like."""

    TEXT = "text"
    JSON = "json"


class Level(StrEnum):
    """The least that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogSettings(BaseSettings):
    """How to log; without `log_level` each part has its own."""

    model_config = SettingsConfigDict(env_prefix="KITBAG_", extra="ignore", frozen=True)

    log_format: Format = Field(Format.TEXT, description="One line of text, or one JSON object.")
    log_level: Level | None = Field(None, description="The least that is logged.")
