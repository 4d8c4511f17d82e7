"""What a user names can't make the server ask its own network: every way, every kind of address.

What is fetched for users: git sources, indexes, wheels of a lock, and registries of bases. Those of
statuses, advisories, mirrors, targets and engines are the operator's own addresses.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rig.git import GitServer
from rig.http import QuietHandler, serve

from builder.detect import detect
from builder.download import Downloader
from builder.errors import (
    BuildError,
    GitRefusedError,
    InvalidSpecError,
    NoWheelError,
    StoreRefusedError,
)
from builder.lock import Target, UvSettings, lock
from builder.model import LockedWheel
from builder.source import GitSource, HostPolicy, SourcePolicy, fetch
from builder.stores.open import open_store

# Loopback as clients may write it, clouds' metadata, private and shared networks, IPv6 with any of
# these inside, and names that stand for them.
INSIDE = [
    *("127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0", "localhost", "a.localhost"),
    *("localhost.", "169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "10.0.0.1"),
    *("172.16.0.1", "192.168.1.1", "100.64.0.1", "224.0.0.1", "[::1]", "[::]", "[fe80::1]"),
    *("[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"),
    *("[2002:a9fe:a9fe::]", "[2001:0:a00:1::1]", "[::ffff:a00:1]"),
]
PUBLIC = "93.184.215.14"


@dataclass
class Inside:
    """A server of the server's own network, and what it was asked."""

    port: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def inside() -> Iterator[Inside]:
    made = Inside()

    class Handler(QuietHandler):
        def answer(self) -> None:
            made.asked.append(self.path)
            self.send_error(404)

    with serve(Handler) as port:
        made.port = port
        yield made


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Names that this process looks up, and the addresses that they have, which may change."""
    known: dict[str, str] = {}
    real = socket.getaddrinfo

    def looked_up(host: Any, *arguments: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real(known.get(name, host), *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    return known


def wheel(url: str) -> LockedWheel:
    return LockedWheel("x", "1.0", "x-1.0-py3-none-any.whl", url, "0" * 64, 1)


def settings(folder: Path) -> UvSettings:
    return UvSettings(folder / "cache", index_url="https://pypi.example/simple/")


def from_git(host: str, folder: Path) -> None:
    fetch(GitSource(f"https://{host}/r.git"), folder / "source", policy=SourcePolicy())


def from_index(host: str, folder: Path) -> None:
    locked({"requirements.txt": f"--index-url https://{host}/simple\nx\n"}, folder)


def from_url(host: str, folder: Path) -> None:
    locked({"requirements.txt": f"x @ https://{host}/x-1.0-py3-none-any.whl\n"}, folder)


def locked(files: dict[str, str], folder: Path) -> None:
    (folder / "asked").mkdir()
    for name, text in files.items():
        (folder / "asked" / name).write_text(text)
    root = folder / "asked"
    lock(root, detect(root), Target("3.11"), uv=settings(folder))


def from_download(host: str, folder: Path) -> None:
    wanted = wheel(f"https://{host}/x-1.0-py3-none-any.whl")
    with (
        contextlib.closing(Downloader(folder / "wheels", HostPolicy())) as downloader,
        downloader.wheel(wanted),
    ):
        pass


def from_registry(host: str, folder: Path) -> None:
    del folder
    store = open_store(f"https://{host}", policy=HostPolicy(), deadline_s=60)
    store.manifest("library/python", "3.11")


WAYS: dict[Callable[[str, Path], None], type[BuildError] | tuple[type[BuildError], ...]] = {
    from_git: GitRefusedError,
    from_index: InvalidSpecError,
    from_url: InvalidSpecError,
    from_download: NoWheelError,
    from_registry: (StoreRefusedError, InvalidSpecError),
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("host", INSIDE)
def test_no_address_of_the_servers_own_network_is_asked(
    way: Callable[[str, Path], None], host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: Any, **__: Any) -> None:
        raise AssertionError("it connected")

    monkeypatch.setattr(socket, "create_connection", connect)
    # What a client takes for no address at all it doesn't ask either.
    with pytest.raises(WAYS[way], match=r"private, loopback|no readable address|not a registry"):
        way(host, tmp_path)


def test_a_wheel_is_not_fetched_from_an_address_that_its_host_got_since_the_check(
    names: dict[str, str], inside: Inside, tmp_path: Path
) -> None:
    policy = HostPolicy()
    names["rebinds.test"] = PUBLIC
    policy.check("rebinds.test", NoWheelError)  # as the lock was
    names["rebinds.test"] = "127.0.0.1"
    wanted = wheel(f"http://rebinds.test:{inside.port}/x.whl")
    with (
        contextlib.closing(Downloader(tmp_path, policy)) as downloader,
        pytest.raises(NoWheelError, match="private"),
        downloader.wheel(wanted),
    ):
        pass
    assert inside.asked == []


def test_a_registry_is_not_asked_at_an_address_that_its_host_got_since_the_check(
    names: dict[str, str], inside: Inside
) -> None:
    policy = HostPolicy()
    names["rebinds.test"] = PUBLIC
    policy.check("rebinds.test", StoreRefusedError)
    names["rebinds.test"] = "127.0.0.1"
    store = open_store(f"http://rebinds.test:{inside.port}", policy=policy, deadline_s=60)
    with pytest.raises(StoreRefusedError, match="private"):
        store.manifest("library/python", "3.11")
    assert inside.asked == []


@pytest.mark.parametrize("trick", ["token", "redirect"])
def test_a_registry_leads_nowhere_inside(trick: str, inside: Inside, names: dict[str, str]) -> None:
    """One that is allowed by its name sends its clients on: for a token, or for the content."""
    victim = f"http://127.0.0.1:{inside.port}/latest/meta-data"
    names["registry.test"] = "127.0.0.1"

    class Hostile(QuietHandler):
        def answer(self) -> None:
            self.send_response(401 if trick == "token" else 307)
            self.send_header("WWW-Authenticate", f'Bearer realm="{victim}",service="x"')
            self.send_header("Location", victim)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serve(Hostile) as port:
        policy = HostPolicy(allowed=frozenset({"registry.test"}))
        store = open_store(f"http://registry.test:{port}", policy=policy, deadline_s=60)
        with pytest.raises(StoreRefusedError):
            store.manifest("library/python", "3.11")
    assert inside.asked == []


def test_git_goes_to_the_address_that_was_checked(
    names: dict[str, str], git_server: GitServer, tmp_path: Path
) -> None:
    """Only this process knows the name: git, which would look it up itself, is told its address."""
    url = git_server.repository("pinned", {"requirements.txt": "one"}).http_url
    names["pinned.test"] = "127.0.0.1"
    policy = SourcePolicy(
        protocols=frozenset({"http"}), hosts=HostPolicy(allowed=frozenset({"pinned.test"}))
    )
    fetch(GitSource(url.replace("127.0.0.1", "pinned.test")), tmp_path / "source", policy=policy)
    assert (tmp_path / "source/requirements.txt").read_text() == "one"
