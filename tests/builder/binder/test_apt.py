"""What an apt.txt may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.binder.apt import read_apt
from builder.errors import InvalidSpecError


def packages(folder, text: str) -> tuple[str, ...]:
    (folder / "apt.txt").write_text(text)
    return read_apt(folder, "apt.txt")


def test_names_versions_and_architectures_are_read_sorted_and_once(tmp_path):
    text = "# tools\ngit=1:2.39.5-0+deb12u1\r\ng++ libc6:i386\n\ngit=1:2.39.5-0+deb12u1 # again\n"
    assert packages(tmp_path, text) == ("g++", "git=1:2.39.5-0+deb12u1", "libc6:i386")


@pytest.mark.parametrize(
    "text",
    ["curl;id", "$(id)", "`id`", "a|b", "a&&b", "-y", "--force", "bash-", "A", "a/../b", "a>b",
     "./x.deb", "a=", "a=$(id)", "a\\", "a'b", 'a"b', "é", "a*", "a?b", "\x00"],
)  # fmt: skip
def test_anything_else_is_refused_with_its_line(tmp_path, text):
    with pytest.raises(InvalidSpecError) as caught:
        packages(tmp_path, f"git\n{text}\n")
    assert caught.value.extra == {"file": "apt.txt", "line": 2}


@given(st.text(max_size=40))
def test_what_is_read_holds_nothing_that_a_shell_knows(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    try:
        found = packages(folder, text)
    except (InvalidSpecError, UnicodeError):
        return
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.:=~")
    assert all(set(each) <= allowed and each[0].isalnum() for each in found)
