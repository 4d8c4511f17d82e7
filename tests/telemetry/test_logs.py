"""Lines of the log: what they are about, and what is never in them."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator

import pytest

from telemetry import context, logs, redact
from telemetry.context import about, carried
from telemetry.settings import Format, Level, LogSettings

log = logging.getLogger("kitbag.tests")


@pytest.fixture
def restored() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    err = capsys.readouterr().err
    return [json.loads(line) for line in err.splitlines()]


def start_json() -> None:
    """Here and not in a fixture: pytest gives each phase of a test a standard error of its own."""
    logs.start(Level.INFO, LogSettings(log_format=Format.JSON))


def test_a_line_is_one_object_with_what_it_is_about(
    restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    start_json()
    with about(request="r1"), about(build="b1", job=None):
        log.info("two\nlines of %s", "text", extra={"facts": {"status": 200}})
    log.info("about nothing")
    first, second = told(capsys)
    assert first["message"] == "two\nlines of text"
    assert (first["request"], first["build"], first["status"]) == ("r1", "b1", 200)
    assert (first["level"], first["logger"]) == ("info", "kitbag.tests")
    assert str(first["at"]).endswith("+00:00")
    assert "job" not in first
    assert "build" not in second


def test_an_error_has_its_traceback_in_the_same_line(
    restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    start_json()
    try:
        int("postgresql://kitbag:hunter22@db/kitbag")
    except ValueError:
        log.exception("that failed")
    (line,) = told(capsys)
    assert "Traceback" in str(line["error"])
    assert "hunter22" not in str(line["error"])
    assert "postgresql://[hidden]@db/kitbag" in str(line["error"])


def test_the_level_is_the_settings_or_else_the_parts_own(
    restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.start(Level.WARNING, LogSettings())
    log.info("not told")
    logs.start(Level.WARNING, LogSettings(log_level=Level.INFO))
    log.info("told")
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines()] == ["told"]


def test_text_for_people_ends_with_what_it_is_about(
    restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.start(Level.INFO, LogSettings())
    with about(request="r1", build="b1"):
        log.info("begins")
    line = capsys.readouterr().err.rstrip()
    assert line.endswith("INFO    kitbag.tests: begins [request=r1 build=b1]")


def test_a_thread_is_about_what_it_was_begun_for() -> None:
    seen: list[str | None] = []
    with about(build="b1"):
        work = carried(lambda: seen.append(context.current().get("build")))
    alone = threading.Thread(target=lambda: seen.append(context.current().get("build")))
    threads = [threading.Thread(target=work), alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, seen)) == ["None", "b1"]


SECRET = "s3cr3tS3cr3tS3cr3t"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"{{'authorization': 'Basic {SECRET}'}}",
        f'headers={{"Cookie": "{SECRET}"}}',
        f"X-Gitlab-Token: {SECRET}",
        f"https://robot:{SECRET}@git.example/a.git",
        f"https://{SECRET}@git.example/a.git",
        f"https://store.example/blob?X-Amz-Signature={SECRET}&x=1",
        f"https://store.example/blob?sig={SECRET}",
        f"password={SECRET}",
        f"KITBAG_API_TOKEN={SECRET}",
        f'{{"client_secret": "{SECRET}"}}',
        f"ghp_{SECRET}",
        f"glpat-{SECRET}",
        f"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ{SECRET}.{SECRET}",
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET} and cut here",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    shown = redact.redacted(f"before {text}, after")
    assert SECRET not in shown
    assert shown.startswith("before ")
    assert redact.HIDDEN in shown


@pytest.mark.parametrize(
    "text",
    [
        "build 01K ended after 3.1 s",
        "sha256:0123456789abcdef is at https://host/path@sha256:0123",
        "the token was refused",
        "GET /v1/builds?limit=50&before=01KABC",
        "a secret is left out: 'x y' is no name",
        "mail to ana@example.org",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact.redacted(text) == text


def test_a_value_that_is_known_is_hidden_wherever_it_stands() -> None:
    redact.hide("correct-horse-battery", "short", None)
    assert redact.redacted("it was correct-horse-battery and short") == "it was [hidden] and short"
    logs.hide_password("redis://:another-battery@redis:6379/0")
    assert redact.redacted("(another-battery)") == "([hidden])"
