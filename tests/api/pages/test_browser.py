"""The pages in a real browser: live, by keyboard, on a phone, in the dark, without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

Site = Any
DESK = {"width": 1100, "height": 800}
PHONE = {"width": 360, "height": 740}


@pytest.fixture
def goes_offline(request: pytest.FixtureRequest) -> bool:
    """Whether the test takes its browser offline, which the browser then complains of."""
    return request.node.get_closest_marker("offline") is not None


@pytest.fixture
def page(browser: Browser, site: Site, goes_offline: bool) -> Iterator[Page]:
    """A tab at the site; what the browser complains of fails the test."""
    context = browser.new_context(base_url=site.url, viewport=DESK)  # type: ignore[arg-type]
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    yield tab
    context.close()
    if goes_offline:
        complaints = [told for told in complaints if "ERR_INTERNET_DISCONNECTED" not in told]
    assert complaints == []


def fill(site: Site) -> str:
    """Two versions, a failed build and one under way, whose id is returned."""
    site.new_version()
    layers = [{"digest": f"sha256:{n}", "size_bytes": 9, "packages": ["numpy"]} for n in range(40)]
    packages = [{"name": f"package-{n}", "version": "1.0", "size_bytes": n} for n in range(60)]
    site.new_version("rich", packages=packages, layers=layers, digest="sha256:" + "d" * 64)
    site.workers.begin(failed := site.ask("nope", "hep/broken")["id"])
    site.workers.fail(failed, {"type": "unresolvable", "detail": "There is no nope."})
    site.workers.begin(under_way := site.ask("numpy", "hep/next")["id"])
    return str(under_way)


@pytest.mark.parametrize("look", ["desk-light", "phone-dark"])
def test_every_page_is_accessible_and_fits(browser: Browser, site: Site, look: str) -> None:
    build_id = fill(site)
    context: BrowserContext = browser.new_context(
        base_url=site.url,
        viewport=DESK if "desk" in look else PHONE,  # type: ignore[arg-type]
        color_scheme="dark" if "dark" in look else "light",
    )
    tab = context.new_page()
    for path in (
        "/",
        "/environments/alice/gan",
        "/environments/alice/gan/versions/2",
        "/builds",
        "/status",
        f"/builds/{build_id}",
        "/new?like=alice/gan",
        "/sign-in",
        "/environments/no/body",
    ):
        tab.goto(path)
        found = Axe().run(tab)
        wrong = [(item["id"], item["nodes"][0]["target"]) for item in found.response["violations"]]
        assert wrong == [], path
        too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not tab.evaluate(too_wide), path
    context.close()


@pytest.mark.parametrize("look", ["desk-light", "phone-dark"])
def test_the_pages_of_notebooks_are_accessible_and_fit(
    browser: Browser, make_site: Callable[..., Site], look: str
) -> None:
    site = make_site(cluster="in-cluster", workspace_kind="jupyterlab")
    site.add_base()
    site.new_version()
    launched, found = (
        site.http.post(path, data={"name": "gan", "namespace": "alice"}).headers["location"]
        for path in ("/environments/alice/gan/launch/1", "/environments/alice/gan/uses")
    )
    job, search = site.workers.jobs.values()
    image = "registry.example/alice/gan@sha256:" + "a" * 64
    where = {"kind": "Notebook", "namespace": "alice", "name": "gan"}
    made = {**where, "image": image, "say": "it is made", "path": "/notebook/alice/gan/"}
    job |= {"state": "done", "result": made}
    items = [{**where, "versions": [1], "images": [image]}]
    search |= {"state": "done", "result": {"items": items, "unseen": ["alice: Pod: denied"]}}
    context: BrowserContext = browser.new_context(
        base_url=site.url,
        viewport=DESK if "desk" in look else PHONE,  # type: ignore[arg-type]
        color_scheme="dark" if "dark" in look else "light",
    )
    tab = context.new_page()
    repository = "https%3A%2F%2Fgit.example%2Fhep%2Fgan.git"
    for path in (
        "/environments/alice/gan/versions/1",
        "/environments/alice/gan/launch/1",
        launched,
        found,
        f"/v1/launch/git/{repository}/main",
    ):
        tab.goto(path)
        shown = Axe().run(tab)
        wrong = [(item["id"], item["nodes"][0]["target"]) for item in shown.response["violations"]]
        assert wrong == [], path
        too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not tab.evaluate(too_wide), path
    context.close()


def test_a_build_is_followed_live_to_its_end(page: Page, site: Site) -> None:
    build_id = site.ask()["id"]
    page.goto(f"/builds/{build_id}")
    expect(page.locator("#state")).to_have_text("queued")
    site.workers.begin(build_id)
    site.workers.say(build_id, "<b>fetching</b> numpy")
    expect(page.locator("#log")).to_contain_text("<b>fetching</b> numpy")
    expect(page.locator("#state")).to_have_text("resolving")
    expect(page.locator("#phases [aria-current=step]")).to_have_text("resolving")
    site.workers.finish(build_id)
    expect(page.locator("#state")).to_have_text("ready")
    expect(page.get_by_role("link", name="Version 1")).to_be_visible()
    assert page.locator("#log").get_by_text("<b>fetching</b> numpy").count() == 1


def test_a_build_is_cancelled_from_its_page(page: Page, site: Site) -> None:
    build_id = site.ask()["id"]
    page.goto(f"/builds/{build_id}")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#state")).to_have_text("cancelled")


def test_typing_shows_what_would_be_built_and_completes_names(
    page: Page, site: Site, plan: dict[str, Any]
) -> None:
    site.workers.plan = plan
    page.goto("/new")
    page.get_by_label("Name").fill("alice/tools")
    packages = page.get_by_role("textbox", name="Packages")
    packages.press_sequentially("nump")
    page.get_by_role("button", name="numpy", exact=True).click()
    assert packages.input_value() == "numpy\n"
    expect(page.get_by_role("heading", name="What would be built")).to_be_visible()
    expect(page.locator("#plan")).to_contain_text("1 known, 0 new")
    page.get_by_role("button", name="Build", exact=True).click()
    expect(page.locator("#state")).to_have_text("queued")


def test_the_form_asks_for_a_repository_or_for_packages(page: Page) -> None:
    page.goto("/new")
    expect(page.get_by_label("Repository", exact=True)).to_be_hidden()
    page.get_by_label("a git repository").check()
    expect(page.get_by_label("Repository", exact=True)).to_be_visible()
    expect(page.get_by_role("textbox", name="Packages")).to_be_hidden()


def test_everything_is_reached_by_keyboard(page: Page, site: Site) -> None:
    fill(site)
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.locator("body").press("/")
    page.keyboard.type("gan")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/?q=gan")
    page.get_by_role("link", name="gan", exact=True).press("Enter")
    expect(page.get_by_role("heading", name="alice/gan")).to_be_visible()
    page.locator("body").press("n")
    expect(page).to_have_url(f"{site.url}/new")


def test_packages_are_filtered_by_name(page: Page, site: Site) -> None:
    fill(site)
    page.goto("/environments/alice/gan/versions/2")
    page.get_by_label("Filter").fill("package-59")
    expect(page.locator("#package-table tbody tr:visible")).to_have_count(1)


def test_a_snippet_is_copied(page: Page, site: Site) -> None:
    fill(site)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/environments/alice/gan/versions/2")
    page.get_by_role("button", name="Copy Resolve").click()
    assert page.evaluate("navigator.clipboard.readText()") == "kitbag resolve alice/gan:2"


def test_without_javascript_all_is_readable_and_builds_begin(browser: Browser, site: Site) -> None:
    fill(site)
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    tab = context.new_page()
    tab.goto("/")
    tab.get_by_role("link", name="gan", exact=True).click()
    tab.get_by_role("link", name="2", exact=True).first.click()
    expect(tab.locator("#package-table")).to_contain_text("package-59")
    tab.goto("/new")
    tab.get_by_label("Name").fill("alice/tools")
    tab.get_by_role("textbox", name="Packages").fill("numpy")
    tab.get_by_role("button", name="Build", exact=True).click()
    expect(tab.locator("#state")).to_have_text("queued")
    site.workers.build(tab.url.rpartition("/")[2])
    expect(tab.locator("#state")).to_have_text("ready", timeout=60_000)  # the page loads itself
    context.close()


@pytest.mark.offline
def test_a_server_that_is_gone_is_told_of_and_comes_back(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_id = site.ask()["id"]
    page.goto(f"/builds/{build_id}")
    page.context.set_offline(True)
    page.wait_for_timeout(300)
    site.workers.build(build_id)
    page.context.set_offline(False)
    expect(page.locator("#state")).to_have_text("ready", timeout=60_000)


def test_who_signs_in_gets_to_the_page_they_wanted(
    browser: Browser, make_site: Callable[..., Site]
) -> None:
    site = make_site(api_token="correct horse")
    context = browser.new_context(base_url=site.url)
    tab = context.new_page()
    tab.goto("/builds?state=ready")
    tab.get_by_label("Token").fill("correct horse")
    tab.get_by_role("button", name="Sign in").click()
    expect(tab).to_have_url(f"{site.url}/builds?state=ready")
    tab.get_by_role("button", name="Sign out").click()
    expect(tab.get_by_label("Token")).to_be_visible()
    context.close()
