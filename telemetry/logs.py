"""The log: one line an event on standard error, with what it is about and without secrets."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from urllib.parse import urlsplit

from telemetry import context, tracing
from telemetry.redact import hide, redacted
from telemetry.settings import Format, Level, LogSettings


class JsonLines(logging.Formatter):
    """An object a line: `at`, `level`, `logger`, `message`, `process`, what is known of `request`,
    `build`, `job`, `trace` and `span`, what was given as `extra={"facts": {…}}`, and `error`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
            "process": record.process,
            **context.current(),
            **tracing.ids(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["error"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """The same for people: time, level, logger, message, and what it is about in brackets."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record; more than one where an error has a traceback."""
        facts = {**context.current(), **getattr(record, "facts", {})}
        told = " ".join(f"{name}={value}" for name, value in facts.items())
        head, newline, rest = redacted(super().format(record)).partition("\n")
        return f"{head} [{told}]{newline}{rest}" if told else f"{head}{newline}{rest}"


def start(usual: Level, settings: LogSettings | None = None) -> None:
    """Log to standard error as the settings say, `usual` and worse unless they name a level."""
    settings = settings or LogSettings()
    handler = logging.StreamHandler(sys.stderr)
    json_wanted = settings.log_format is Format.JSON
    handler.setFormatter(JsonLines() if json_wanted else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel((settings.log_level or usual).upper())
    logging.captureWarnings(capture=True)


def hide_password(url: str) -> None:
    """Hide the password of a URL that this process was given."""
    try:
        hide(urlsplit(url).password)
    except ValueError:
        return  # what is no URL is refused where it is used
