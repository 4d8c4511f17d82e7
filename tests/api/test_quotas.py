"""What each may use: refused in a sentence, and told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import update

from api.auth.principal import LOCAL, OPERATOR, Kind, Principal
from api.quotas import service
from api.quotas.service import Allotments
from api.settings import ApiSettings
from catalog import builds
from catalog.build_models import Build
from catalog.engine import reading, writing
from catalog.types import utcnow
from worker.quotas import NONE, Quota, Quotas

from .conftest import Site

Make = Callable[..., Site]
Problem = Callable[..., dict[str, Any]]
ANA = replace(LOCAL, user="ana", groups=frozenset({"physics"}))


@pytest.fixture
def limited(make_site: Make, tmp_path: Path) -> Callable[[str], Site]:
    """A site with this text as its quotas."""

    def make(text: str) -> Site:
        file = tmp_path / "quotas.toml"
        file.write_text(text)
        site = make_site(quotas=file)
        site.add_base()
        return site

    return make


def request(text: str, environment: str = "alice/gan") -> dict[str, Any]:
    return {"environment": environment, "source": {"files": {"requirements.txt": text}}}


def test_builds_over_the_day_s_limit_are_told_when_there_is_room(
    limited: Callable[[str], Site], problem: Problem
) -> None:
    site = limited("[default]\nbuilds_a_day = 2")
    first = site.ask("one")
    site.ask("two")
    refused = site.http.post("/v1/builds", json=request("three"))
    told = problem(refused, 429, "quota-exceeded")
    assert told["detail"].startswith("2 builds were asked for within 24 hours, and 2 are allowed")
    assert 86_000 < int(refused.headers["retry-after"]) <= 86_400
    assert "in 24 hours" in told["detail"]
    # What is being built already is no new build, and other tenants have quotas of their own.
    assert site.ask("one")["id"] == first["id"]
    site.ask("three", environment="bob/gan")
    metrics = site.http.get("/metrics").text
    assert 'kitbag_quota_refusals_total{limit="builds_a_day"} 1.0' in metrics


def test_builds_of_yesterday_make_room(limited: Callable[[str], Site]) -> None:
    site = limited("[default]\nbuilds_a_day = 1")
    old = site.ask("one")
    with writing(site.engine) as session:
        session.execute(
            update(Build)
            .where(Build.id == old["id"])
            .values(created_at=utcnow() - timedelta(hours=25))
        )
    site.ask("two")


def test_a_full_store_is_refused_until_versions_are_let_go(
    limited: Callable[[str], Site], problem: Problem
) -> None:
    site = limited("[default]\nstored_bytes = 1000")
    build = site.ask("one")
    site.workers.build(build["id"])
    with writing(site.engine) as session:
        session.execute(update(Build).where(Build.id == build["id"]).values(stored_bytes=1500))
    told = problem(site.http.post("/v1/builds", json=request("two")), 403, "quota-exceeded")
    assert "hold 1.465 KiB of the 1000 bytes" in told["detail"]
    site.ask("two", environment="bob/gan")


def test_a_build_takes_its_limits_along(limited: Callable[[str], Site]) -> None:
    site = limited(
        "[default]\nconcurrent_builds = 3\nimage_bytes = 5\nbuild_seconds = 60\nweight = 2"
    )
    with reading(site.engine) as session:
        row = builds.get(session, site.ask()["id"])
    assert (row.tenant, row.concurrent, row.weight) == ("namespace:alice", 3, 2.0)
    assert (row.image_bytes, row.build_seconds) == (5, 60.0)


def test_one_sees_what_one_may_use_and_uses(limited: Callable[[str], Site]) -> None:
    site = limited("[default]\nconcurrent_builds = 3\nbuilds_a_day = 'unlimited'")
    site.ask("one")
    site.workers.begin(site.ask("two")["id"])
    told = site.http.get("/v1/quota", params={"namespace": "alice"}).json()
    assert told["tenant"] == "namespace:alice"
    assert told["limits"]["concurrent_builds"] == 3
    assert told["limits"]["builds_a_day"] is None
    assert told["used"] == {"running": 1, "waiting": 1, "builds_today": 2, "stored_bytes": 0}


def test_people_have_limits_without_a_file_and_one_user_alone_has_none() -> None:
    book = Allotments(None, lambda _: None)
    assert book.of(ANA) == Quota()
    assert book.of(LOCAL) == book.of(OPERATOR) == NONE
    assert book.allowance(LOCAL, "hep").tenant == "namespace:hep"
    assert book.allowance(ANA, "hep").tenant == service.tenant(ANA, "other") == "user:ana"


def test_whoever_is_in_several_groups_has_the_largest_of_each() -> None:
    quotas = Quotas.model_validate(
        {
            "default": {"concurrent_builds": 2, "builds_a_day": 5},
            "groups": {
                "physics": {"concurrent_builds": 20},
                "cms": {"builds_a_day": "unlimited", "concurrent_builds": 1},
            },
        }
    )
    book = Allotments(quotas, lambda _: None)
    both = Principal("ana", Kind.LOCAL, groups=frozenset({"physics", "cms", "unknown"}))
    found = book.of(both)
    assert (found.concurrent_builds, found.builds_a_day) == (20, None)
    assert book.of(ANA).builds_a_day == 5
    assert book.of(replace(both, groups=frozenset())).concurrent_builds == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[default]\nconcurrent_builds = 0", "greater than or equal to 1"),
        ("[default]\nconcurrent_builds = -1", "greater than or equal to"),
        ("[default]\nbuilds_a_day = 'many'", "valid integer"),
        ("[default]\nweight = 0", "greater than 0"),
        ("[default]\nbuilds_per_day = 3", "not permitted"),
        ("[groups.a]\nstored_bytes = 9_000_000_000_000_000_000", "less than or equal"),
        ("default = [", "Invalid"),
        ("#" * (1 << 20) + "\n", "larger than 1 MiB"),
    ],
)
def test_a_file_that_can_not_be_meant_is_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "quotas.toml"
    file.write_text(text)
    with pytest.raises(ValidationError, match=told):
        ApiSettings(database_url="sqlite:///x", data=tmp_path, quotas=file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"none\.toml can't be read \(No such file"):
        ApiSettings(database_url="sqlite:///x", data=tmp_path, quotas=tmp_path / "none.toml")
