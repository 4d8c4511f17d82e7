"""Build logs hide secrets and are never more than so long."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.engines.logs import HIDDEN, LogSink, Redactor, secret_texts


@pytest.mark.parametrize(
    "line",
    [
        "Cloning https://robot:hunter2hunter2@git.corp/x.git",
        "Looking in indexes: https://hunter2hunter2@pypi.corp/simple",
        "Authorization: Basic hunter2hunter2",
        "> authorization: bearer hunter2hunter2",
        "token=hunter2hunter2",
        "git clone ssh://git:hunter2hunter2@host/x",
    ],
)
def test_a_password_is_not_shown(line: str) -> None:
    assert "hunter2" not in Redactor(["hunter2hunter2"] if "token" in line else [])(line)


@pytest.mark.parametrize(
    "token",
    [
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2_" * 10,
        "glpat-" + "a1B2" * 5,
        "pypi-" + "AgEIcHlwaS5vcmc" * 4,
        "hf_" + "a1B2" * 8,
        "AKIA" + "ABCD1234" * 2,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLWhlcmU",
    ],
)
def test_a_well_known_token_is_not_shown(token: str) -> None:
    assert Redactor()(f"using {token} now") == f"using {HIDDEN} now"


def test_each_line_of_a_key_is_hidden_and_short_values_are_not() -> None:
    redact = Redactor(["-----BEGIN\nabcdefgh\nijklmnop\n", "no"])
    assert redact("abcdefgh and no") == f"{HIDDEN} and no"


def test_certificates_are_public_and_all_other_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n")
    (tmp_path / "key").write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "token").write_text("t0ken")
    found = secret_texts(tmp_path / name for name in ("ca", "key", "token"))
    assert found == [(tmp_path / "key").read_text(), "t0ken"]


def test_ordinary_lines_stay_as_they_are() -> None:
    line = "Step 3/9 : RUN pip install 'torch>=2' --index-url https://index.example/simple # a@b"
    assert Redactor(["x" * 20])(line) == line


def test_the_beginning_and_the_end_are_kept_and_what_is_missing_is_counted() -> None:
    live: list[str] = []
    sink = LogSink(live.append, head_bytes=30, tail_bytes=30)
    for number in range(100):
        sink(f"line {number:04}")
    assert sink.lines[:3] == ["line 0000", "line 0001", "line 0002"]
    assert sink.lines[3] == "… 94 lines left out …"
    assert sink.lines[4:] == ["line 0097", "line 0098", "line 0099"]
    assert live[:3] == sink.lines[:3] and len(live) == 4


def test_a_long_line_is_cut_after_its_secrets_were_hidden() -> None:
    sink = LogSink(secrets=["secret" * 10], max_line=30)
    sink("a" * 25 + "secret" * 10 + "b" * 100)
    assert "secret" not in sink.text
    assert sink.lines[0].endswith("characters more")


def test_codes_for_terminals_are_left_out() -> None:
    sink = LogSink()
    sink("\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07\x00")
    assert sink.lines == ["red bell"]


@given(st.lists(st.text(max_size=200), max_size=50), st.text("KWXZ", min_size=4, max_size=20))
def test_whatever_is_printed_the_secret_is_not_kept_and_the_size_is_bounded(
    lines: list[str], secret: str
) -> None:
    sink = LogSink(secrets=[secret], max_line=50, head_bytes=200, tail_bytes=200)
    for line in lines:
        sink(f"{line}{secret}{line}")
    assert len(sink.text.encode()) <= 200 + 200 + 100
    assert all(secret not in line for line in sink.lines)
