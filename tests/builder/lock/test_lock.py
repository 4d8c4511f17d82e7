"""Real uv against a real index on loopback."""

from __future__ import annotations

import hashlib
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from rig.http import QuietHandler, serve
from rig.wheels import wheel_factory as serve_wheels

from builder.choices import Choices, IndexStrategy
from builder.errors import (
    InvalidSpecError,
    UnresolvableError,
)
from builder.lock import Target, UvSettings, lock_digest, parse
from builder.model import Lock, Platform
from builder.source import HostPolicy


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.wheels}


def test_a_lock_names_one_wheel_a_package_with_url_size_and_hash(wheel_factory, lock_files):
    leaf = wheel_factory.wheel("leaf", "2.1")
    wheel_factory.wheel("top", "1.0", requires=["leaf>=2"])
    lock = lock_files({"requirements.txt": "top\n"})
    assert versions(lock) == {"leaf": "2.1", "top": "1.0"}
    found = lock.wheels[0]
    assert found.filename == leaf.name
    assert found.size_bytes == leaf.stat().st_size
    assert found.sha256 == hashlib.sha256(leaf.read_bytes()).hexdigest()
    assert found.url.endswith(f"/files/{leaf.name}")


def test_a_stored_lock_reads_back_equal_and_its_text_is_a_standard_pylock(
    wheel_factory, lock_files
):
    wheel_factory.wheel("top", "1.0")
    lock = lock_files({"requirements.txt": "top\n"})
    assert parse(lock.text, "3.11", Platform()) == lock
    document = tomllib.loads(lock.text)
    assert document["lock-version"] == "1.0"
    assert document["packages"][0]["name"] == "top"


def test_the_same_input_gives_the_same_text_on_any_machine(wheel_factory, lock_files, tmp_path):
    wheel_factory.wheel("top", "1.0", requires=["leaf"])
    wheel_factory.wheel("leaf", "1.0")
    first = lock_files({"requirements.txt": "top\nleaf\n"})
    settings = UvSettings(
        tmp_path / "another", index_url=wheel_factory.index_url, hosts=HostPolicy(private=True)
    )
    second = lock_files({"requirements.txt": "leaf\ntop\n"}, uv=settings)
    assert first.text == second.text
    assert lock_digest(first) == lock_digest(second)
    assert str(tmp_path) not in first.text
    assert "#" not in first.text


def test_the_digest_is_of_the_wheels_and_not_of_where_they_came_from(wheel_factory, lock_files):
    wheel_factory.wheel("top", "1.0")
    lock = lock_files({"requirements.txt": "top\n"})
    wheel = lock.wheels[0]
    mirrored = replace(lock, wheels=(replace(wheel, url="https://mirror.example/top.whl"),))
    assert lock_digest(mirrored) == lock_digest(lock)
    assert lock_digest(replace(lock, wheels=(replace(wheel, sha256="0" * 64),))) != lock_digest(
        lock
    )
    assert lock_digest(replace(lock, python="3.12")) != lock_digest(lock)
    assert lock_digest(replace(lock, platform=Platform(arch="arm64"))) != lock_digest(lock)


def test_pip_is_seeded_unless_the_source_asks_for_one_itself(wheel_factory, lock_files):
    for version in ("24.0", "25.0"):
        wheel_factory.wheel("pip", version)
    wheel_factory.wheel("top")
    assert versions(lock_files({"requirements.txt": "top"}, seed=("pip",)))["pip"] == "25.0"
    asked = lock_files({"requirements.txt": "top\npip<25\n"}, seed=("pip",))
    assert versions(asked)["pip"] == "24.0"


def test_an_empty_source_locks_to_the_seed(wheel_factory, lock_files):
    wheel_factory.wheel("pip")
    assert versions(lock_files({}, seed=("pip",))) == {"pip": "1.0"}
    assert parse(lock_files({}).text, "3.11", Platform()).wheels == ()


def test_included_files_constraints_extras_markers_and_comments_count(wheel_factory, lock_files):
    for version in ("1.0", "2.0"):
        wheel_factory.wheel("base", version, extras=["fast"],
                            requires=["speed; extra == 'fast'"])  # fmt: skip
    for name in ("speed", "old", "deep"):
        wheel_factory.wheel(name)
    lock = lock_files(
        {
            "requirements.txt": "-r more/dev.txt  # with comment\n-c limits.txt\n"
            "base[fast] ; \\\n  python_version >= '3.8'\nold; python_version < '3'\n",
            "more/dev.txt": "-r sub/deep.txt\n",
            "more/sub/deep.txt": "deep\n",
            "limits.txt": "base<2\nunused==9\n",
        }
    )
    assert versions(lock) == {"base": "1.0", "speed": "1.0", "deep": "1.0"}


def test_the_wheel_is_the_one_for_the_targets_python_glibc_and_machine(wheel_factory, lock_files):
    for tag in (
        "cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_17_x86_64",
        "cp312-cp312-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_17_aarch64",
        "cp311-cp311-musllinux_1_2_x86_64",
    ):  # fmt: skip
        wheel_factory.wheel("native", "1.0", tag=tag, purelib=False)

    def tag(target: Target) -> str:
        wheels = lock_files({"requirements.txt": "native"}, target=target).wheels
        return wheels[0].filename.removeprefix("native-1.0-").removesuffix(".whl")

    assert tag(Target("3.11", (2, 36))) == "cp311-cp311-manylinux_2_28_x86_64"
    assert tag(Target("3.11", (2, 27))) == "cp311-cp311-manylinux_2_17_x86_64"
    assert tag(Target("3.12", (2, 36))) == "cp312-cp312-manylinux_2_17_x86_64"
    arm = Target("3.11", (2, 36), Platform(arch="arm64"))
    assert tag(arm) == "cp311-cp311-manylinux_2_17_aarch64"
    assert tag(Target("3.11", None)) == "cp311-cp311-musllinux_1_2_x86_64"


@pytest.mark.parametrize("python", ["3.9", "3.10", "3.12", "3.13", "3.14"])
def test_no_interpreter_of_the_targets_version_is_needed(wheel_factory, lock_files, python):
    assert python != "{}.{}".format(*sys.version_info)
    tag = f"cp{python.replace('.', '')}"
    wheel_factory.wheel("native", tag=f"{tag}-{tag}-manylinux_2_17_x86_64", purelib=False)
    lock = lock_files({"requirements.txt": f"native; python_version == '{python}'"}, python)
    assert lock.python == python
    assert tag in lock.wheels[0].filename


def test_a_sources_own_index_is_used_when_the_operator_allows_it(
    wheel_factory, lock_files, settings, tmp_path
):
    wheel_factory.wheel("top")
    text = f"--index-url {wheel_factory.index_url}\ntop\n"
    nowhere = replace(settings, index_url="http://127.0.0.1:9/simple/")
    assert versions(lock_files({"requirements.txt": text}, uv=nowhere)) == {"top": "1.0"}
    with pytest.raises(InvalidSpecError, match="its own package index only"):
        lock_files({"requirements.txt": text}, uv=replace(nowhere, user_indexes=False))
    with pytest.raises(InvalidSpecError, match=r"'127\.0\.0\.1' is on a private"):
        lock_files({"requirements.txt": text}, uv=replace(nowhere, hosts=HostPolicy()))
    operators = replace(settings, user_indexes=False, hosts=HostPolicy())
    assert versions(lock_files({"requirements.txt": text}, uv=operators)) == {"top": "1.0"}


def test_the_seed_comes_from_the_operators_index_when_a_source_has_its_own(
    wheel_factory, lock_files, tmp_path_factory
):
    wheel_factory.wheel("pip")
    with serve_wheels(tmp_path_factory.mktemp("own-index")) as own:
        own.wheel("top")
        text = f"--index-url {own.index_url}\ntop\n"
        lock = lock_files({"requirements.txt": text}, seed=("pip",))
        assert versions(lock) == {"pip": "1.0", "top": "1.0"}
        page = own.index_url + "top/"
        text = f"--no-index\n--find-links {page}\ntop\n"
        again = lock_files({"requirements.txt": text}, seed=("pip",))
        assert versions(again) == {"pip": "1.0", "top": "1.0"}
        assert parse(again.text, "3.11", Platform()) == again


def test_an_added_index_has_pips_meaning_where_that_is_asked_for(
    wheel_factory, lock_files, tmp_path_factory
):
    wheel_factory.wheel("top", "1.0")
    wheel_factory.wheel("leaf", "2.0")
    with serve_wheels(tmp_path_factory.mktemp("more-index")) as more:
        more.wheel("top", "1.0+cu124")
        more.wheel("leaf", "1.0")
        text = f"--extra-index-url {more.index_url}\ntop\nleaf\n"
        best = Choices(index_strategy=IndexStrategy.UNSAFE_BEST_MATCH)
        assert versions(lock_files({"requirements.txt": text}, choices=best)) == {
            "top": "1.0+cu124",
            "leaf": "2.0",
        }


def test_an_index_without_hashes_and_sizes_is_hashed_by_uv(lock_files, settings, wheel_factory):
    path = wheel_factory.wheel("top")

    class Bare(QuietHandler):
        def answer(self) -> None:
            body = f'<a href="/files/{path.name}">{path.name}</a>'.encode()
            if self.path.startswith("/files/"):
                body = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serve(Bare) as port:
        bare = replace(settings, index_url=f"http://127.0.0.1:{port}/simple/")
        lock = lock_files({"requirements.txt": "top"}, uv=bare)
    assert lock.wheels[0].sha256 == wheel_factory.sha256(path)
    assert lock.wheels[0].size_bytes == 0
    assert parse(lock.text, "3.11", Platform()) == lock


@pytest.mark.slow
def test_the_real_index_answers_for_another_python_and_again_from_the_cache(lock_files, tmp_path):
    default = UvSettings(tmp_path / "real-cache", hosts=HostPolicy(private=True))
    first = lock_files({"requirements.txt": "numpy<3\n"}, "3.12", uv=default, seed=("pip",))
    assert set(versions(first)) == {"numpy", "pip"}
    assert "cp312-cp312-manylinux" in next(w for w in first.wheels if w.name == "numpy").filename
    more = {"requirements.txt": "numpy<3\nhumanize==4.9.0\n"}
    second = lock_files(more, "3.12", uv=default, seed=("pip",), previous=first)
    assert versions(second) == versions(first) | {"humanize": "4.9.0"}
    humanize = next(wheel for wheel in second.wheels if wheel.name == "humanize")
    assert humanize.sha256 == "ce284a76d5b1377fd8836733b983bfb0b76f1aa1c090de2566fcf008d7f6ab16"
    began = time.monotonic()
    assert lock_files(more, "3.12", uv=default, seed=("pip",), previous=second) == second
    assert time.monotonic() - began < 5


def test_credentials_of_an_index_reach_no_lock(wheel_factory, lock_files, settings):
    wheel_factory.wheel("top")
    url = wheel_factory.index_url.replace("://", "://user:s3cret@")
    lock = lock_files({"requirements.txt": "top"}, uv=replace(settings, index_url=url))
    assert "s3cret" not in lock.text
    assert "s3cret" not in repr(lock)


def test_a_wheel_at_a_url_is_locked_with_its_hash(wheel_factory, lock_files):
    path = wheel_factory.wheel("top")
    url = wheel_factory.index_url.replace("/simple/", f"/files/{path.name}")
    for line in (url, f"top @ {url}"):
        lock = lock_files({"requirements.txt": line + "\n"})
        assert lock.wheels[0].sha256 == wheel_factory.sha256(path)
        assert lock.wheels[0].url == url
        assert parse(lock.text, "3.11", Platform()) == lock
    again = lock_files({"requirements.txt": url + "\n"}, previous=lock)
    assert again == lock


def test_uvs_and_pips_variables_change_nothing(wheel_factory, lock_files, monkeypatch):
    wheel_factory.wheel("top", "1.0")
    wheel_factory.wheel("top", "2.0")
    plain = lock_files({"requirements.txt": "top"})
    for name, value in {
        "UV_RESOLUTION": "lowest", "UV_INDEX_URL": "http://127.0.0.1:9/", "UV_OFFLINE": "1",
        "PIP_INDEX_URL": "http://127.0.0.1:9/", "UV_CONSTRAINT": "/nonexistent",
        "UV_EXCLUDE_NEWER": "2001-01-01",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert lock_files({"requirements.txt": "top"}).text == plain.text


def test_a_uv_configuration_in_the_source_changes_nothing(wheel_factory, lock_files):
    wheel_factory.wheel("top", "1.0")
    wheel_factory.wheel("top", "2.0")
    lock = lock_files(
        {"requirements.txt": "top", "uv.toml": "resolution = 'lowest'\noffline=true\n"}
    )
    assert versions(lock) == {"top": "2.0"}


def test_the_cache_folder_is_all_that_stays(
    wheel_factory, lock_files, settings, tmp_path: Path, monkeypatch
):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    wheel_factory.wheel("top")
    lock_files({"requirements.txt": "top"})
    with pytest.raises(UnresolvableError):
        lock_files({"requirements.txt": "nowhere"})
    assert not list(scratch.iterdir())
    assert settings.cache_dir.is_dir()
