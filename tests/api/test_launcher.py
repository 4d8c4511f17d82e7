"""Launch links: what a GET does not do, where the button leads, and where nothing can lead."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, expect
from pydantic import ValidationError

from api.settings import ApiSettings

Site = Any
HTML = {"Accept": "text/html"}
REPO = "https://git.example/hep/GAN.git"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = "https://hub.example/hub/spawn?profile={profile}&image={image}"


@pytest.fixture
def hub_site(make_site: Callable[..., Site]) -> Site:
    """A server whose notebooks start at a hub."""
    site = make_site(launch_url=HUB)
    site.add_base()
    return site


def link(ref: str = "", repo: str = REPO) -> str:
    return f"/v1/launch/git/{quote(repo, safe='')}" + (f"/{quote(ref)}" if ref else "")


def get(site: Site, path: str) -> httpx.Response:
    return site.http.get(path, headers=HTML)


def built(site: Site, ref: str | None = None, **facts: Any) -> Any:
    asked = {"environment": "default/gan", "source": {"git": {"url": REPO, "ref": ref}}}
    build = site.http.post("/v1/builds", json=asked).json()
    return site.workers.build(build["id"], **facts)


def test_a_link_to_what_is_not_built_asks_before_it_builds(site: Site) -> None:
    shown = get(site, link("feature/x"))
    assert shown.status_code == 200
    assert "Build and launch" in shown.text and REPO in shown.text and "feature/x" in shown.text
    assert site.http.get("/v1/builds").json()["items"] == []


def test_the_button_builds_and_the_builds_page_goes_on_to_the_hub(hub_site: Site) -> None:
    site = hub_site
    asked = {"repo": REPO, "ref": "main", "environment": ""}
    begun = site.http.post("/v1/launch/git", data=asked, headers=HTML)
    assert begun.status_code == 303
    page = begun.headers["location"]
    build_id = re.fullmatch(r"/builds/([^?]+)\?launch=true", page).group(1)  # type: ignore[union-attr]
    build = site.http.get(f"/v1/builds/{build_id}").json()
    assert build["request"]["source"]["git"] == {"url": REPO, "ref": "main", "subdir": None}
    assert "your notebook starts" in get(site, page).text
    version = site.workers.build(build_id)
    hub = (
        f"https://hub.example/hub/spawn?profile=default.gan.1&amp;image={quote(version.image, '')}"
    )
    assert f'<meta http-equiv="refresh" content="0;url={hub}">' in get(site, page).text
    assert "http-equiv" not in get(site, f"/builds/{build_id}").text


def test_a_commit_that_is_built_starts_at_once(hub_site: Site) -> None:
    built(hub_site, COMMIT, commit=COMMIT)
    to = get(hub_site, link(COMMIT))
    assert to.status_code == 303
    assert to.headers["location"].startswith("https://hub.example/hub/spawn?profile=default.gan.1&")


def test_a_build_under_way_is_joined(site: Site) -> None:
    asked = {"environment": "default/gan", "source": {"git": {"url": REPO, "ref": "main"}}}
    build = site.http.post("/v1/builds", json=asked).json()
    assert get(site, link("main")).headers["location"] == f"/builds/{build['id']}?launch=true"


def test_a_branch_that_was_built_offers_its_version_or_the_newest(site: Site) -> None:
    built(site, "main", commit=COMMIT, branches=["main"])
    shown = get(site, link("main")).text
    assert 'href="/v1/launch/env/default/gan:1"' in shown and "Build the newest" in shown


def test_a_version_of_another_repository_is_not_offered(site: Site) -> None:
    built(site, "main", commit=COMMIT, branches=["main"])
    shown = get(site, link("main", "https://evil.example/GAN")).text
    assert "/v1/launch/env/" not in shown and "not been built here" in shown


def test_the_query_says_the_same_where_a_proxy_decodes_paths(site: Site) -> None:
    shown = get(site, f"/v1/launch/git?repo={quote(REPO)}&ref=main&environment=hep/gan")
    assert "Launch hep/gan" in shown.text and 'value="main"' in shown.text


def test_head_is_the_default_branch(site: Site) -> None:
    site.http.post("/v1/launch/git", data={"repo": REPO, "ref": "HEAD"}, headers=HTML)
    (build,) = site.http.get("/v1/builds").json()["items"]
    assert build["request"]["source"]["git"]["ref"] is None


@pytest.mark.parametrize("named", ["alice/gan", "alice/gan:1", "alice/gan:latest"])
def test_an_environment_starts_at_the_hub(hub_site: Site, named: str) -> None:
    hub_site.new_version()
    to = get(hub_site, f"/v1/launch/env/{named}")
    assert to.headers["location"].startswith("https://hub.example/hub/spawn?profile=alice.gan.1&")
    assert "Launch notebook" in get(hub_site, "/environments/alice/gan/versions/1").text


def test_without_a_hub_a_link_ends_at_the_versions_page(site: Site) -> None:
    site.new_version()
    to = get(site, "/v1/launch/env/alice/gan")
    assert to.headers["location"] == "/environments/alice/gan/versions/1"
    assert "Launch notebook" not in get(site, to.headers["location"]).text


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/v1/launch/git/https://git.example/a/main", 422, "URL-encoded"),
        ("/v1/launch/git/", 422, "URL-encoded"),
        (link("main", "https://ana:secret@git.example/a"), 422, "credentials"),
        (link("main", "ext::sh -c date"), 422, "no git URL"),
        (link("main", "--upload-pack=date"), 422, "no git URL"),
        (link("a\x00b"), 422, "ref"),
        (link("m" * 300), 422, "ref"),
        (f"/v1/launch/git?repo={quote(REPO)}&environment=../etc", 422, "NAMESPACE/NAME"),
        ("/v1/launch/env/no/body", 404, "no environment"),
        ("/v1/launch/env/alice/gan:", 422, "version"),
        ("/v1/launch/env/alice/gan:7", 404, "version"),
        ("/v1/launch/env/%2f%2fevil.example/x", 404, "nothing"),
    ],
)
def test_bad_links_are_told_in_a_page(hub_site: Site, path: str, status: int, told: str) -> None:
    hub_site.new_version()
    shown = get(hub_site, path)
    assert (shown.status_code, shown.headers["content-type"]) == (
        status,
        "text/html; charset=utf-8",
    )
    assert told in shown.text and "secret" not in shown.text
    assert "location" not in shown.headers


def test_what_a_link_says_stays_text(site: Site) -> None:
    shown = get(site, f"/v1/launch/git?repo={quote('https://x/<script>alert(1)</script>')}")
    assert "<script>alert" not in shown.text


@pytest.mark.parametrize(
    "template",
    [
        "https://{namespace}.example/spawn",
        "https://hub.example:{version}/",
        "{image}",
        "//hub.example/spawn",
        "javascript:alert('{image}')",
        "https://hub.example/{image.__class__}",
        "https://hub.example/{image!r}",
        "https://hub.example/{0}",
        "https://hub.example/{",
        "https://user@hub.example/",
        "/hub/spawn",
    ],
)
def test_a_template_that_could_lead_elsewhere_is_refused(template: str) -> None:
    with pytest.raises(ValidationError, match="launch_url"):
        ApiSettings(database_url="sqlite://", data="/x", launch_url=template)  # type: ignore[arg-type]


def test_another_sites_page_can_not_press_the_button(site: Site) -> None:
    foreign = HTML | {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    sent = site.http.post("/v1/launch/git", data={"repo": REPO}, headers=foreign)
    assert sent.status_code == 403
    assert site.http.get("/v1/builds").json()["items"] == []


def test_who_is_not_signed_in_signs_in_and_comes_back(make_site: Callable[..., Site]) -> None:
    site = make_site(api_token="s3cret")
    asked = get(site, "/v1/launch/git?repo=https://x/y&ref=main")
    assert asked.status_code == 303
    then = quote("/v1/launch/git?repo=https://x/y&ref=main")
    assert asked.headers["location"] == f"/sign-in?then={then}"


def test_a_link_leads_to_a_notebook_without_javascript_too(
    browser: Browser, make_site: Callable[..., Site], tmp_path: Any
) -> None:
    # The launcher of this test is another server of the same kind: what counts is its origin.
    hub = make_site(f"sqlite:///{tmp_path}/hub.db")
    site = make_site(launch_url=hub.url.replace("127.0.0.1", "localhost") + "/?q={profile}")
    site.add_base()
    for scripts in (True, False):
        context = browser.new_context(base_url=site.url, java_script_enabled=scripts)
        tab = context.new_page()
        tab.goto(link(f"branch-{scripts}"))
        tab.get_by_role("button", name="Build and launch").click()
        expect(tab.locator("#state")).to_have_text("queued")
        site.workers.build(tab.url.rpartition("/")[2].partition("?")[0])
        tab.wait_for_url(f"{hub.url.replace('127.0.0.1', 'localhost')}/?q=default.gan.*")
        context.close()
