"""Builds from private indexes and through mirrors; where a secret must never be found."""

from __future__ import annotations

import gzip
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from rig.certificate import Certificate, signed
from rig.wheels import WheelFactory, wheel_factory

from catalog.states import BuildState
from worker.secrets import secrets_for

from .conftest import Site

Make = Callable[..., Site]
LOGIN = ("robot", "Secr3t-of-the-index")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return signed(tmp_path_factory.mktemp("ca"), "index")


@pytest.fixture
def private(tmp_path: Path, certificate: Certificate) -> Iterator[WheelFactory]:
    """An HTTPS index with a CA of its own that wants a password."""
    folder = tmp_path / "private-index"
    folder.mkdir()
    with ExitStack() as stack:
        index = stack.enter_context(wheel_factory(folder, certificate=certificate, login=LOGIN))
        index.wheel("ours")
        yield index


@pytest.fixture
def settings(tmp_path: Path, private: WheelFactory, certificate: Certificate) -> dict[str, Any]:
    """The secret `corp` for namespace alice, and the index's CA."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "corp").write_text(
        f'url = "https://127.0.0.1:{private.port}"\nusername = "{LOGIN[0]}"\n'
        f'password = "{LOGIN[1]}"\nnamespaces = ["alice"]\n'
    )
    return {"secrets": folder, "ca_bundle": certificate.authority}


def holders(folder: Path, secret: bytes) -> list[str]:
    """The files below a folder with the secret in them, or in what they hold compressed."""
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data += gzip.decompress(data)
        if secret in data:
            found.append(str(path))
    return found


class CommandLines(threading.Thread):
    """Reads the command lines of all processes, again and again, until it is told to stop."""

    def __init__(self, secret: bytes) -> None:
        super().__init__(daemon=True)
        self.secret, self.found, self.rounds = secret, [], 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if self.secret in path.read_bytes():
                        self.found.append(str(path))
                except OSError:
                    continue
            self.rounds += 1


def test_a_private_package_is_built_and_its_secret_is_nowhere(
    make_site: Make, settings: dict[str, Any], private: WheelFactory, caplog
) -> None:
    caplog.set_level(logging.DEBUG)
    site = make_site(**settings)
    lines = CommandLines(LOGIN[1].encode())
    lines.start()
    url = private.index_url.replace("://", "://{secret:corp}@")
    try:
        done = site.work(f"--extra-index-url {url}", "ours", "one")
        again = site.work("ours", environment="alice/second", indexes=[private.index_url])
    finally:
        lines.over.set()
        lines.join()
    assert done.state is again.state is BuildState.READY, (done.error, again.error)
    fetched = {path for path, shown in private.authorizations if shown}
    assert "/files/ours-1.0-py3-none-any.whl" in fetched
    assert lines.rounds and lines.found == []
    # The SQLite catalog with its events lies in the site's folder, the layout and caches in data/.
    site.engine.dispose()
    assert (site.folder / "catalog.db").is_file()
    assert holders(site.folder, LOGIN[1].encode()) == []
    assert LOGIN[1] not in caplog.text
    assert LOGIN[1] not in repr([event.__dict__ for event in site.events(done.id)])


def test_a_secret_is_for_its_namespaces_alone(
    make_site: Make, settings: dict[str, Any], private: WheelFactory
) -> None:
    site = make_site(**settings)
    refused = site.work("ours", environment="bob/gan", indexes=[private.index_url])
    assert refused.error is not None and refused.error["type"] == "index-refused"
    url = private.index_url.replace("://", "://{secret:corp}@")
    named = site.work("ours", environment="bob/gan", indexes=[url])
    assert named.error is not None and "no secret 'corp'" in named.error["detail"]
    assert {shown for _, shown in private.authorizations} == {None}


def test_the_settings_own_credentials_also_fetch_the_wheels(
    make_site: Make, private: WheelFactory, certificate: Certificate
) -> None:
    url = private.index_url.replace("://", f"://{LOGIN[0]}:{LOGIN[1]}@")
    site = make_site(extra_index_urls=(url,), ca_bundle=certificate.authority)
    assert [p["name"] for p in site.made("ours").packages] == ["ours", "pip"]
    assert holders(site.folder, LOGIN[1].encode()) == []


def test_a_mirror_stands_for_the_host_that_a_lock_names(make_site: Make) -> None:
    """No network but the mirror's: nothing listens where the lock says that the file is."""
    public = "http://127.0.0.1:9/packages/"
    site = make_site()
    path = site.index.wheel("mirrored")
    lock = (
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "mirrored"\nversion = "1.0"\n'
        f'wheels = [{{ name = "{path.name}", url = "{public}{path.name}", '
        f'hashes = {{ sha256 = "{site.index.sha256(path)}" }} }}]\n'
    )
    mirror = make_site(mirrors=(f"{public}={site.network.url}/files/",))
    done = mirror.work(files={"pylock.toml": lock})
    assert done.state is BuildState.READY, done.error
    from catalog import versions
    from catalog.engine import reading

    with reading(mirror.engine) as session:
        stored = versions.lock_text(session, versions.find(session, "alice/gan"))
    assert stored is not None and f"{public}{path.name}" in stored


def test_secrets_that_can_not_be_read_are_left_out_and_told_of(
    make_site: Make, settings: dict[str, Any], caplog
) -> None:
    folder = settings["secrets"]
    (folder / "broken").write_text(f"password = {LOGIN[1]}")
    (folder / "Other Name").write_text("")
    (folder / "nowhere").write_text(f'url = "ftp://x"\npassword = "{LOGIN[1]}"\n')
    (folder / "..data").mkdir()
    found = secrets_for(make_site(**settings).settings, "alice")
    assert len(found.origins) == 1
    assert "secret broken is left out" in caplog.text
    assert "secret nowhere is left out" in caplog.text
    assert LOGIN[1] not in caplog.text
    assert LOGIN[1] not in repr(found.for_url(next(iter(_urls(found.origins)))))


def _urls(origins: frozenset[tuple[str, str, int]]) -> Iterator[str]:
    return (f"{scheme}://{host}:{port}/" for scheme, host, port in origins)
