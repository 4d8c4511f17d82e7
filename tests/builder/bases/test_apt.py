"""The machine's own apt says which mirrors there are, and how to reach them."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.bases import apt
from builder.bases.bootstrap import mmdebstrap_arguments
from builder.errors import BaseNotFoundError, IndexUnreachableError


@pytest.fixture
def use_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make apt read these sources and settings in place of the machine's."""

    def use(one_line: str = "", deb822: str = "", settings: str = "") -> None:
        parts = tmp_path / "sources.list.d"
        parts.mkdir(exist_ok=True)
        (parts / "some.sources").write_text(deb822)
        (tmp_path / "sources.list").write_text(one_line)
        (tmp_path / "conf.d").mkdir(exist_ok=True)
        config = tmp_path / "apt.conf"
        config.write_text(
            f'Dir::Etc::sourcelist "{tmp_path / "sources.list"}";\n'
            f'Dir::Etc::sourceparts "{parts}";\n'
            f'Dir::Etc::parts "{tmp_path / "conf.d"}";\n'
            f'Dir::Etc::main "{tmp_path / "none"}";\n'
            f"{settings}"
        )
        monkeypatch.setenv("APT_CONFIG", str(config))

    return use


DEB822 = """\
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
"""


def test_both_formats_of_sources_count(use_apt) -> None:
    expected = [
        ("http://mirror.example/debian/", "bookworm"),
        ("http://mirror.example/debian/", "bookworm-updates"),
        ("http://mirror.example/security/", "bookworm-security"),
    ]
    use_apt(deb822=DEB822)
    assert [(s.uri, s.suite) for s in apt.sources("bookworm")] == expected
    use_apt(
        one_line="# a comment\n"
        "deb http://mirror.example/debian bookworm main\n"
        "deb [arch=amd64] http://mirror.example/debian bookworm-updates main non-free\n"
        "deb http://mirror.example/security bookworm-security main\n"
        "deb http://elsewhere.example/tool stable main\n"
    )
    assert [(s.uri, s.suite) for s in apt.sources("bookworm")] == expected


def test_other_releases_come_from_the_same_mirrors(use_apt) -> None:
    use_apt(deb822=DEB822, one_line="deb http://elsewhere.example/tool stable main\n")
    assert [(s.uri, s.suite) for s in apt.sources("trixie")] == [
        ("http://mirror.example/debian/", "trixie"),
        ("http://mirror.example/debian/", "trixie-updates"),
        ("http://mirror.example/security/", "trixie-security"),
    ]


def test_without_a_mirror_the_error_says_where_to_name_one(use_apt) -> None:
    use_apt(one_line="deb http://elsewhere.example/tool stable main\n")
    with pytest.raises(BaseNotFoundError, match=r"no mirror of Debian bookworm; add one to /etc/a"):
        apt.sources("bookworm")


def test_a_configuration_that_apt_refuses_is_its_own_words(use_apt) -> None:
    use_apt(one_line="deb http://alice:s3same@mirror.example/debian\n")
    with pytest.raises(BaseNotFoundError, match=r"apt-get failed \(E: Malformed entry 1") as caught:
        apt.sources("bookworm")
    assert "s3same" not in str(caught.value)


@pytest.mark.parametrize("suite", ["../../etc", "bookworm main", "-o", "", "book\nworm"])
def test_a_suite_is_a_name(suite: str) -> None:
    with pytest.raises(BaseNotFoundError, match="is no release of Debian"):
        apt.sources(suite)


def test_proxies_and_certificates_are_passed_on_and_nothing_else(use_apt) -> None:
    use_apt(
        settings='Acquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::https::CaInfo "/etc/ssl/site.pem";\n'
        'Acquire::https::inner.example::Verify-Peer "false";\n'
        'Acquire::Languages "none";\n'
        'APT::Install-Recommends "true";\n'
    )
    assert apt.acquire_settings().splitlines() == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::https::CaInfo "/etc/ssl/site.pem";',
        'Acquire::https::inner.example::Verify-Peer "false";',
    ]


def test_a_mirrors_password_stays_out_of_the_image_and_the_command(use_apt, tmp_path: Path) -> None:
    use_apt(deb822=DEB822.replace("http://", "http://alice:s3same@"))
    sources = apt.sources("bookworm")
    assert "alice:s3same@" in sources[0].line(public=False)
    folder = tmp_path / "work"
    folder.mkdir()
    arguments = mmdebstrap_arguments(folder, ["git"], sources)
    written = [path.read_text() for path in folder.iterdir()]
    assert any("deb http://mirror.example/debian/ bookworm main" in text for text in written)
    assert not any("s3same" in text for text in [*arguments, *written])


def test_a_mirror_that_does_not_answer_is_named_without_its_password(use_apt) -> None:
    use_apt()
    source = apt.Source("http://alice:s3same@127.0.0.1:9/debian/", "bookworm")
    with pytest.raises(IndexUnreachableError, match=r"http://127\.0\.0\.1:9/debian/ .*not answer"):
        apt.packages_digest(source, "amd64")
