"""Settings as people write them into variables, and what they are told of a wrong one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from worker.request import parse
from worker.settings import WorkerSettings, complaint


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> WorkerSettings:
    known = {"KITBAG_DATABASE_URL": "sqlite:///x.db", "KITBAG_DATA": "/data"} | variables
    for key, value in known.items():
        monkeypatch.setenv(key, value)
    return WorkerSettings()  # type: ignore[call-arg] # from the environment


@pytest.mark.parametrize(
    "written",
    [
        "https://a/simple,https://b/simple",
        "https://a/simple https://b/simple",
        " https://a/simple,\n https://b/simple ",
        '["https://a/simple", "https://b/simple"]',
    ],
)
def test_lists_are_written_with_commas_or_as_json(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    read = settings(monkeypatch, KITBAG_EXTRA_INDEX_URLS=written)
    assert read.extra_index_urls == ("https://a/simple", "https://b/simple")


def test_every_list_may_be_written_so(monkeypatch: pytest.MonkeyPatch) -> None:
    read = settings(
        monkeypatch,
        KITBAG_ALLOWED_HOSTS=".corp.example, 10.1.0.0/16",
        KITBAG_GIT_PROTOCOLS="https,file",
    )
    assert read.allowed_hosts == {".corp.example", "10.1.0.0/16"}
    assert read.git_protocols == {"https", "file"}
    assert settings(monkeypatch, KITBAG_ALLOWED_HOSTS="").allowed_hosts == frozenset()


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"KITBAG_GIT_PROTOCOLS": "https,ext"}, "KITBAG_GIT_PROTOCOLS can't be used (input should"),
        ({"KITBAG_ALLOWED_HOSTS": '["a"'}, "KITBAG_ALLOWED_HOSTS can't be used (it begins like a"),
        ({"KITBAG_HEARTBEAT_S": "soon"}, "KITBAG_HEARTBEAT_S can't be used (input should be a val"),
        ({"KITBAG_BUILD_TIMEOUT_S": "0"}, "KITBAG_BUILD_TIMEOUT_S can't be used (input should be"),
        ({"KITBAG_LEASE_S": "3"}, "KITBAG_LEASE_S can't be used (it must be twice KITBAG_HEARTBE"),
        ({"KITBAG_INDEX_STRATEGY": "best"}, "KITBAG_INDEX_STRATEGY can't be used (input should be"),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        settings(monkeypatch, **variables)
    told = complaint(raised.value)
    assert told.startswith(sentence)
    assert told.endswith("; see docs/operate.md.") and "\n" not in told


def test_a_missing_setting_is_named_and_no_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KITBAG_DATABASE_URL", raising=False)
    monkeypatch.setenv("KITBAG_DATA", "/data")
    with pytest.raises(ValidationError) as raised:
        WorkerSettings()  # type: ignore[call-arg] # from the environment
    assert (
        complaint(raised.value) == "KITBAG_DATABASE_URL is not set; docs/operate.md says to what."
    )


def test_a_request_names_one_source() -> None:
    known: dict[str, Any] = {"environment": "a/b", "source": {"files": {"requirements.txt": "x"}}}
    read = parse(known | {"of a later release": 1})
    assert read.builder_platforms()[0].arch == "amd64"
    with pytest.raises(ValidationError):
        parse({"environment": "a/b"})
    with pytest.raises(ValidationError):
        parse(known | {"source": {"upload": {"sha256": "../../etc/passwd"}}})


def test_the_container_engine_is_none_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch).engine == "none"
    named = settings(monkeypatch, KITBAG_ENGINE="docker", KITBAG_ENGINE_MEMORY_BYTES="2147483648")
    assert (named.engine, named.engine_memory_bytes) == ("docker", 2 << 30)


BUILDKIT_CAN_T = "(buildKit holds no single build to it"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"ENGINE": "buildkit", "ENGINE_MEMORY_BYTES": "2147483648"}, BUILDKIT_CAN_T),
        ({"ENGINE": "buildkit", "ENGINE_CPUS": "2"}, BUILDKIT_CAN_T),
        (
            {"ENGINE": "docker", "ENGINE_BUILDER": "buildkit", "ENGINE_CPUS": "2"},
            BUILDKIT_CAN_T,
        ),
        (
            {"ENGINE": "podman", "ENGINE_CACHE": "cache", "STORE": "registry://r.example"},
            "(podman keeps no cache in a registry",
        ),
        ({"ENGINE": "docker", "ENGINE_CACHE": "cache"}, "(the cache is kept in a registry"),
    ],
)
def test_what_the_engine_can_not_do_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        settings(monkeypatch, **{f"KITBAG_{key}": value for key, value in variables.items()})
    assert sentence in complaint(raised.value)
