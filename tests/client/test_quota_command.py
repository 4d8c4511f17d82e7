"""kitbag quota and kitbag audit, and what a build over a quota is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from kitbag import Client, KitbagError, UnreachableError
from kitbag.source import Files

from .conftest import Run, Server


@pytest.fixture(scope="module")
def limited(
    serve: Callable[..., AbstractContextManager[Server]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A server where a namespace may have one new build a day."""
    folder = tmp_path_factory.mktemp("limited")
    quotas = folder / "quotas.toml"
    quotas.write_text("[default]\nbuilds_a_day = 1\nconcurrent_builds = 3\nimage_bytes = 5000\n")
    with serve(folder, quotas=quotas) as server:
        with Client(server.url) as client:
            client.build(Files({"requirements.txt": "one"}), name="hep/one")
        yield server


def test_a_build_over_a_quota_is_told_in_the_server_s_sentence(limited: Server) -> None:
    with Client(limited.url) as client, pytest.raises(KitbagError) as raised:
        client.build(Files({"requirements.txt": "two"}), name="hep/two")
    # Whoever tries again where a server is not reached must not wait for a day.
    assert not isinstance(raised.value, UnreachableError)
    assert str(raised.value).startswith("1 builds were asked for within 24 hours, and 1 are")


def test_quota_shows_what_is_used_and_what_is_allowed(limited: Server, kitbag: Run) -> None:
    shown = kitbag("quota", "-n", "hep", "--json", env=limited.env)
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert (told["tenant"], told["used"]["builds_today"]) == ("namespace:hep", 1)
    table = kitbag("quota", "-n", "hep", env=limited.env).stdout.splitlines()
    assert table[0].split() == ["namespace:hep", "used", "allowed"]
    rows = {name: cells for name, *cells in (re.split(r"\s{2,}", line) for line in table[1:])}
    assert rows["builds in 24 hours"] == ["1", "1"]
    assert rows["builds at the same time"][1] == "3"
    assert rows["one image"] == ["-", "5.0 kB"]


def test_audit_shows_who_did_what(limited: Server, kitbag: Run) -> None:
    shown = kitbag("audit", "--env", "hep/one", "--json", env=limited.env)
    assert shown.returncode == 0, shown.stderr
    (line,) = json.loads(shown.stdout)["items"]
    assert (line["action"], line["subject"], line["status"]) == ("create_build", "hep/one", 202)
    table = kitbag("audit", "-n", "1", "--action", "create_build", env=limited.env).stdout
    assert table.splitlines()[0].split()[:2] == ["when", "(UTC)"]
    assert "create_build" in table
    assert kitbag("audit", "--user", "nobody", "--json", env=limited.env).stdout.split() == [
        *("{", '"items":', "[]", "}")
    ]
