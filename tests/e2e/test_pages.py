"""A person at the pages, a real server behind them: from typed packages to a digest."""

from __future__ import annotations

from e2e.servers import Embedded
from playwright.sync_api import Browser, expect
from rig.wheels import WheelFactory


def test_packages_typed_in_the_browser_become_an_image(
    embedded: Embedded, index: WheelFactory, browser: Browser
) -> None:
    index.wheel("typed-in-a-page", "1.0")
    context = browser.new_context(base_url=embedded.url)
    page = context.new_page()
    page.goto("/new")
    page.get_by_label("Name").fill("pages/typed")
    packages = page.get_by_role("textbox", name="Packages")
    packages.fill("typed-in-a-pag")
    expect(page.locator("#plan")).to_contain_text("typed-in-a-pag", timeout=30_000)
    packages.fill("typed-in-a-page")
    expect(page.locator("#plan")).to_contain_text("+ typed-in-a-page 1.0", timeout=30_000)
    page.get_by_role("button", name="Build", exact=True).click()
    page.get_by_role("link", name="Version 1").click(timeout=60_000)
    expect(page.locator("#package-table")).to_contain_text("typed-in-a-page")
    image = embedded.get("/v1/resolve", env="pages/typed")["image"]
    expect(page.get_by_label("Image", exact=True)).to_have_text(image)
    context.close()
