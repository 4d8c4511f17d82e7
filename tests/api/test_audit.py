"""Who did what: a line for every request that changes something, before it is answered."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from api.audit.middleware import ASKING, CHANGING
from api.auth import table

from .conftest import Site

Make = Callable[..., Site]
Problem = Callable[..., dict[str, Any]]
TOKEN = "s3cret-token-of-the-server"


def lines(site: Site, **params: str | int) -> list[dict[str, Any]]:
    answer = site.http.get("/v1/audit", params=params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_a_build_leaves_a_line_that_says_who_what_where_and_what_came_of_it(site: Site) -> None:
    request = {"environment": "alice/gan", "source": {"files": {"requirements.txt": "numpy"}}}
    answer = site.http.post("/v1/builds", json=request, headers={"X-Request-ID": "r-1"})
    (line,) = lines(site)
    assert line.pop("at").endswith(("Z", "+00:00"))
    assert line.pop("id") == 1
    assert line == {
        "user": "kitbag:local",
        "kind": "local",
        "address": "127.0.0.1",
        "action": "create_build",
        "target": "/v1/builds",
        "subject": "alice/gan",
        "status": 202,
        "made": f"/v1/builds/{answer.json()['id']}",
        "request": "r-1",
    }


def test_what_was_refused_is_told_with_its_problem(site: Site) -> None:
    assert site.http.post("/v1/environments/no/such/rollback", json={"to": "1"}).status_code == 404
    (line,) = lines(site)
    assert (line["action"], line["subject"], line["status"]) == ("rollback", "no/such", 404)
    assert line["made"] == "environment-not-found"


def test_who_is_not_known_is_told_too_and_no_secret_is(make_site: Make) -> None:
    site = make_site(api_token=TOKEN)
    site.http.post("/v1/builds", json={}, headers={"Authorization": f"Bearer {TOKEN}x"})
    site.http.post("/sign-in", data={"token": TOKEN, "then": "/"})
    site.http.headers["Authorization"] = f"Bearer {TOKEN}"
    signed_in, refused = lines(site)
    assert (refused["user"], refused["kind"], refused["status"]) == ("", "unknown", 401)
    assert (signed_in["action"], signed_in["kind"]) == ("sign_in", "nobody")
    assert TOKEN not in str([signed_in, refused])


def test_what_only_asks_leaves_no_line(site: Site) -> None:
    site.new_version()
    before = len(lines(site))
    site.http.post("/v1/resolve", json={"environments": ["alice/gan"]})
    site.http.get("/v1/environments")
    assert len(lines(site)) == before


def test_every_route_that_changes_something_is_counted_as_one() -> None:
    """What is new must be told of, unless somebody says here that it changes nothing."""
    changing = {route for route in table.TABLE if route.partition(" ")[0] in CHANGING}
    assert changing >= ASKING
    assert len(changing - ASKING) > 15


def test_lines_come_in_pages(site: Site) -> None:
    for number in range(5):
        site.ask(f"package-{number}")
    first = site.http.get("/v1/audit", params={"limit": 2}).json()
    second = site.http.get("/v1/audit", params={"limit": 3, "before": first["next"]}).json()
    assert [line["id"] for line in first["items"] + second["items"]] == [5, 4, 3, 2, 1]
    assert second["next"] is None
    assert len(lines(site, action="rollback")) == 0
    assert len(lines(site, subject="alice/gan", user="kitbag:local")) == 5


def test_many_at_once_leave_a_line_each(site: Site) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: site.ask(f"package-{number}"), range(60)))
    assert len(lines(site, limit=500)) == 60


def test_who_asks_for_what_is_there_leaves_no_line_and_takes_no_lock(site: Site) -> None:
    for _ in range(3):
        site.ask("same")
    assert len(lines(site)) == 1


def test_a_line_that_is_not_taken_stops_no_answer_and_is_counted(site: Site) -> None:
    with sqlite3.connect(site.settings.database_url.removeprefix("sqlite:///")) as catalog:
        catalog.execute("DROP TABLE audit")
    site.ask()
    assert "kitbag_audit_lost_total 1.0" in site.http.get("/metrics").text
