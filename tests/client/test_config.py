"""Which server and token are used, and what `login` leaves on disk."""

from __future__ import annotations

import stat

import pytest

from kitbag import KitbagError
from kitbag.config import DEFAULT_URL, Config, load, path, save


@pytest.fixture(autouse=True)
def _fresh(tmp_path, monkeypatch):
    for name in ("KITBAG_URL", "KITBAG_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_without_anything_the_server_is_the_local_one():
    assert load() == Config(DEFAULT_URL, None)


def test_arguments_win_over_the_environment_and_the_environment_over_the_file(monkeypatch):
    save(Config("https://file.example", "file"))
    assert load() == Config("https://file.example", "file")
    monkeypatch.setenv("KITBAG_URL", "https://env.example/")
    monkeypatch.setenv("KITBAG_TOKEN", "env")
    assert load() == Config("https://env.example", "env")
    assert load("https://arg.example", "arg") == Config("https://arg.example", "arg")


def test_the_token_of_the_file_is_shown_to_no_other_server(monkeypatch):
    save(Config("https://file.example", "file"))
    assert load("https://other.example").token is None
    monkeypatch.setenv("KITBAG_URL", "https://other.example")
    assert load().token is None
    monkeypatch.setenv("KITBAG_URL", "https://file.example/")
    assert load().token == "file"


def test_the_file_is_for_its_owner_alone_and_keeps_odd_characters():
    save(Config("https://a.example", 'quote"and\\slash'))
    assert load().token == 'quote"and\\slash'
    assert stat.S_IMODE(path().stat().st_mode) == 0o600
    assert stat.S_IMODE(path().parent.stat().st_mode) == 0o700
    assert [file.name for file in path().parent.iterdir()] == ["config.toml"]


def test_the_file_is_toml():
    tomllib = pytest.importorskip("tomllib")
    save(Config("https://a.example", 'x"y\\z'))
    assert tomllib.loads(path().read_text()) == {"url": "https://a.example", "token": 'x"y\\z'}


def test_a_file_with_something_else_in_it_is_named_with_the_line():
    path().parent.mkdir()
    path().write_text('# mine\nurl = "https://a.example"\nverify = false\n')
    with pytest.raises(KitbagError, match=r"config\.toml:3: only url"):
        load()


@pytest.mark.parametrize("url", ["ftp://x", "http://", "example.org", "http://[1", "http://h:0"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(KitbagError, match="is no server's address"):
        load(url)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(KitbagError) as caught:
        load("https://alice:s3cret@a.example")
    assert "s3cret" not in str(caught.value)


def test_a_line_end_behind_a_token_does_no_harm_and_one_inside_is_refused(monkeypatch):
    monkeypatch.setenv("KITBAG_TOKEN", "abc\n")
    assert load().token == "abc"
    monkeypatch.setenv("KITBAG_TOKEN", "abc\nX-Admin: yes")
    with pytest.raises(KitbagError, match="characters that no token has"):
        load()


def test_a_token_is_not_in_what_is_printed_of_a_configuration():
    assert "s3cret" not in repr(Config("https://a.example", "s3cret"))
