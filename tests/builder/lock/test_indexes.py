"""Private indexes: whose credentials go where, which index a package is from, what is too new."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from rig.certificate import Certificate, signed
from rig.wheels import WheelFactory, wheel_factory

from builder.choices import Choices, IndexStrategy
from builder.errors import IndexRefusedError, InvalidSpecError, UnresolvableError
from builder.lock import Target, UvSettings
from builder.model import Accelerator, Lock
from builder.secrets import Secret, Secrets, origin_of
from builder.source import HostPolicy

LOGIN = ("robot", "s3cret/p@ss:word")


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.wheels}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return signed(tmp_path_factory.mktemp("ca"), "index")


@pytest.fixture
def make_index(tmp_path: Path) -> Iterator[Callable[..., WheelFactory]]:
    with ExitStack() as stack:

        def make(name: str, **options: object) -> WheelFactory:
            folder = tmp_path / name
            folder.mkdir()
            return stack.enter_context(wheel_factory(folder, **options))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def private(make_index: Callable[..., WheelFactory], certificate: Certificate) -> WheelFactory:
    """An HTTPS index with a CA of its own that wants a password."""
    index = make_index("private", certificate=certificate, login=LOGIN)
    index.wheel("ours")
    return index


@pytest.fixture
def with_secret(
    settings: UvSettings, private: WheelFactory, certificate: Certificate
) -> UvSettings:
    """Settings with the secret `corp` for the private index."""
    origin = origin_of(private.index_url)
    assert origin is not None
    secrets = Secrets([Secret("corp", origin, *LOGIN)])
    return replace(settings, secrets=secrets, ca_bundle=certificate.authority)


def named(url: str, secret: str = "corp") -> str:
    return url.replace("://", f"://{{secret:{secret}}}@")


def test_a_private_index_is_read_with_the_secret_for_its_host(
    lock_files, with_secret, private, wheel_factory
):
    wheel_factory.wheel("public")
    for url in (private.index_url, named(private.index_url)):
        text = f"--extra-index-url {url}\nours\npublic\n"
        lock = lock_files({"requirements.txt": text}, uv=with_secret)
        assert versions(lock) == {"ours": "1.0", "public": "1.0"}
        assert "s3cret" not in lock.text and "corp" not in lock.text
        chosen = Choices(indexes=(url,))
        assert lock_files({"requirements.txt": "ours\npublic"}, uv=with_secret, choices=chosen)
    assert all(shown is None for _, shown in wheel_factory.authorizations)


def test_a_project_binds_a_package_to_a_private_index(lock_files, with_secret, private):
    project = f"""
[project]
name = "x"
version = "1"
dependencies = ["ours"]
[[tool.uv.index]]
name = "corp-index"
url = "{named(private.index_url)}"
explicit = true
[tool.uv.sources]
ours = {{ index = "corp-index" }}
"""
    lock = lock_files({"pyproject.toml": project}, uv=with_secret)
    assert versions(lock) == {"ours": "1.0"}


def test_without_its_secret_a_private_index_refuses(lock_files, with_secret, private):
    none = replace(with_secret, secrets=Secrets())
    text = f"--index-url {private.index_url}\nours\n"
    with pytest.raises(IndexRefusedError, match="refused access; check its credentials"):
        lock_files({"requirements.txt": text}, uv=none)
    with pytest.raises(InvalidSpecError, match="no secret 'corp' that this environment may use"):
        lock_files({"requirements.txt": text.replace("://", "://{secret:corp}@")}, uv=none)


def test_a_secret_is_for_its_own_host_alone(lock_files, with_secret, make_index, wheel_factory):
    other = make_index("other", login=("anyone", "else"))
    with pytest.raises(InvalidSpecError, match=r"'corp' is not for 127\.0\.0\.1"):
        lock_files(
            {"requirements.txt": f"--index-url {named(other.index_url)}\nours\n"}, uv=with_secret
        )
    with pytest.raises(IndexRefusedError):
        lock_files({"requirements.txt": f"--index-url {other.index_url}\nours\n"}, uv=with_secret)
    assert {shown for _, shown in other.authorizations} == {None}


def test_a_redirect_to_another_host_takes_no_credentials_along(
    lock_files, with_secret, private, make_index, certificate
):
    thief = make_index("thief", certificate=certificate)
    thief.wheel("ours", "6.6")
    private.redirects["/simple/ours/"] = f"{thief.index_url}ours/"
    lock = lock_files(
        {"requirements.txt": f"--index-url {private.index_url}\nours\n"}, uv=with_secret
    )
    assert versions(lock) == {"ours": "6.6"}
    assert thief.authorizations and {shown for _, shown in thief.authorizations} == {None}


def test_credentials_in_a_file_of_the_source_are_refused(lock_files):
    with pytest.raises(InvalidSpecError, match="ask the operator for a secret") as caught:
        lock_files({"requirements.txt": "--index-url https://me:s3cret@pypi.example/simple\n"})
    assert "s3cret" not in caught.value.detail
    with pytest.raises(InvalidSpecError, match="sent to indexes alone; use --extra-index-url"):
        lock_files({"requirements.txt": "--find-links https://{secret:corp}@pypi.example/f\n"})


def test_credentials_are_in_no_file_and_on_no_command_line(
    lock_files, with_secret, private, tmp_path, monkeypatch
):
    """While uv waits for the index, everything that another user could read is searched."""
    seen: list[str] = []
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    def look() -> bool:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if LOGIN[1].encode() in process.read_bytes():
                    seen.append(str(process))
            except OSError:
                continue
        for config in [*scratch.rglob("*"), *with_secret.cache_dir.rglob("*")]:
            try:
                if config.is_file() and b"s3cret" in config.read_bytes():
                    seen.append(str(config))
            except OSError:
                continue
        looks.append(1)
        return False

    looks: list[int] = []
    text = f"--index-url {named(private.index_url)}\nours\n"
    lock_files({"requirements.txt": text}, uv=replace(with_secret, cancelled=look))
    assert looks
    assert seen == []


def test_a_package_comes_from_the_first_index_that_has_it(lock_files, make_index, wheel_factory):
    """Somebody's higher version on another index is not taken: no dependency confusion."""
    first = make_index("first")
    first.wheel("ours", "1.0")
    wheel_factory.wheel("ours", "99.0")
    text = {"requirements.txt": f"--extra-index-url {first.index_url}\nours\n"}
    assert versions(lock_files(text)) == {"ours": "1.0"}
    best = Choices(index_strategy=IndexStrategy.UNSAFE_BEST_MATCH)
    assert versions(lock_files(text, choices=best)) == {"ours": "99.0"}


def test_torch_for_cpus_comes_from_the_operators_index_of_cpu_builds(
    lock_files, settings, make_index, wheel_factory
):
    builds = make_index("cpu")
    builds.wheel("torch", "2.6.0+cpu", requires=["filelock"])
    builds.wheel("filelock", "99.0")  # PyTorch's index has others' packages too
    wheel_factory.wheel("torch", "2.6.0", requires=["filelock", "nvidia-cudnn-cu12"])
    wheel_factory.wheel("nvidia-cudnn-cu12")
    wheel_factory.wheel("filelock")
    wheel_factory.wheel("detector", requires=["torch>=2"])
    uv = replace(settings, torch_cpu_index=builds.index_url)
    for_cpu = {"torch": "2.6.0+cpu", "filelock": "1.0"}
    for_gpu = {"torch": "2.6.0", "filelock": "1.0", "nvidia-cudnn-cu12": "1.0"}
    assert versions(lock_files({"requirements.txt": "torch==2.6.0"}, uv=uv)) == for_cpu
    text = {"requirements.txt": "detector"}
    locked = lock_files(text, uv=uv)
    assert versions(locked) == for_cpu | {"detector": "1.0"}
    assert versions(lock_files(text, uv=uv, previous=locked)) == versions(locked)
    cuda = Target("3.11", accelerator=Accelerator.CUDA)
    assert versions(lock_files(text, uv=uv, target=cuda)) == for_gpu | {"detector": "1.0"}
    assert versions(lock_files(text)) == for_gpu | {"detector": "1.0"}
    own = {"requirements.txt": f"--index-url {wheel_factory.index_url}\ntorch"}
    assert versions(lock_files(own, uv=uv)) == for_gpu


def test_what_was_uploaded_later_is_not_taken(lock_files, wheel_factory):
    wheel_factory.uploaded["top-1.0-py3-none-any.whl"] = "2025-01-01T00:00:00Z"
    for version in ("1.0", "2.0"):
        wheel_factory.wheel("top", version)
    old = Choices(exclude_newer="2025-06-01T00:00:00Z")
    newest = lock_files({"requirements.txt": "top"})
    assert versions(newest) == {"top": "2.0"}
    assert versions(lock_files({"requirements.txt": "top"}, choices=old)) == {"top": "1.0"}
    again = lock_files({"requirements.txt": "top"}, choices=old, previous=newest)
    assert versions(again) == {"top": "1.0"}
    with pytest.raises(UnresolvableError):
        lock_files({"requirements.txt": "top==2.0"}, choices=old)


def test_choices_that_would_do_nothing_are_refused(lock_files):
    with pytest.raises(InvalidSpecError, match=r"those of a pyproject\.toml, but requirements"):
        lock_files({"requirements.txt": ""}, choices=Choices(extras=("x",)))
    lock = {"pylock.toml": 'lock-version = "1.0"\ncreated-by = "x"\npackages = []\n'}
    with pytest.raises(InvalidSpecError, match="exclude-newer change nothing"):
        lock_files(lock, choices=Choices(exclude_newer="2025-06-01T00:00:00Z"))


def test_a_name_that_turns_to_a_private_address_after_its_check_is_not_reached(
    lock_files, settings, wheel_factory, monkeypatch
):
    """DNS rebinding: public when it is checked, loopback when it is connected to."""
    wheel_factory.wheel("top")
    real, asked = socket.getaddrinfo, []

    def lookup(host: str, port: object, *rest: object, **more: object) -> object:
        if host != "rebinding.example":
            return real(host, port, *rest, **more)  # type: ignore[arg-type]
        asked.append(host)
        return real("192.88.99.1" if len(asked) == 1 else "127.0.0.1", port, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("all_proxy", raising=False)
    strict = replace(settings, hosts=HostPolicy())
    text = f"--index-url http://rebinding.example:{wheel_factory.port}/simple/\ntop\n"
    with pytest.raises(InvalidSpecError, match=r"'rebinding\.example' is on a private"):
        lock_files({"requirements.txt": text}, uv=strict)
    assert len(asked) > 1
    assert wheel_factory.requests == []


def test_the_operators_own_index_may_be_private(lock_files, settings, wheel_factory):
    wheel_factory.wheel("top")
    lock = lock_files({"requirements.txt": "top"}, uv=replace(settings, hosts=HostPolicy()))
    assert versions(lock) == {"top": "1.0"}
    assert "ALL_PROXY" not in os.environ


def test_the_host_of_a_secret_may_be_private(lock_files, with_secret, private, monkeypatch):
    """HTTPS through the guard, whose policy allows public hosts only."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    strict = replace(with_secret, hosts=HostPolicy())
    lock = lock_files({"requirements.txt": f"-i {private.index_url}\nours\n"}, uv=strict)
    assert versions(lock) == {"ours": "1.0"}
