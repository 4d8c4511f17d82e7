"""A person in JupyterLab: what is installed in a terminal is saved from the panel beside it."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import part
from e2e.servers import Embedded
from playwright.sync_api import Browser, Page, Response, expect
from rig.jupyterlab import Lab, jupyterlab, started
from rig.wheels import WheelFactory

pytestmark = [pytest.mark.slow, pytest.mark.rig]

ROOT = Path(__file__).parents[2]
SECRET = "kitbags-own-token-stays-here"
MARKUP = "<img src=x onerror=document.title='ran'>"


class Place:
    """What a container of version 1 of lab/nb has below /opt, and JupyterLab in it as `lab`."""

    def __init__(self, programs: Path, opt: Path, env: Path, image: str) -> None:
        self.image = image
        self.site = next(env.glob("lib/python*/site-packages"))
        self._programs = programs
        self._opt = (opt, env)
        self.lab: Lab

    def started(
        self, folder: Path, variables: dict[str, str], prefix: str = "/"
    ) -> AbstractContextManager[Lab]:
        path = {"PATH": "/opt/env/bin:/usr/bin:/bin", "KITBAG_TOKEN": SECRET}
        return part(started(self._programs, folder, path | variables, prefix=prefix, opt=self._opt))


@pytest.fixture(scope="module")
def programs(new_folder: Callable[[], Path]) -> Path:
    return jupyterlab(ROOT / ".cache/kitbag", new_folder())


@pytest.fixture(scope="module")
def place(
    embedded: Embedded, index: WheelFactory, programs: Path, new_folder: Callable[[], Path]
) -> Iterator[Place]:
    """As Kubeflow starts it: the notebook's name is the environment's."""
    index.wheel("humanize", "4.9.0", {"humanize.py": "def naturalsize(n): return f'{n} Bytes'\n"})
    build = embedded.build("lab/nb", "one==1.0", "two")
    folder = new_folder()
    opt, env = folder / "opt", folder / "env"
    (opt / "env").mkdir(parents=True)
    unpack_own(embedded, build["digest"], opt)
    subprocess.run([sys.executable, "-m", "venv", env], check=True)
    subprocess.run(
        [env / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--index-url", index.index_url, "one==1.0", "two"], check=True,
    )  # fmt: skip
    place = Place(programs, opt, env, build["image"])
    prefix = "/notebook/lab/nb"
    variables = {
        "KITBAG_URL": embedded.url,
        "NB_PREFIX": prefix,
        "PIP_INDEX_URL": index.index_url,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    with place.started(folder / "lab", variables, f"{prefix}/") as place.lab:
        yield place


def unpack_own(server: Embedded, digest: str, opt: Path) -> None:
    """Put /opt/kitbag of an image into a folder, as a container engine would."""
    blobs = server.layout / "blobs/sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_bytes())
    for layer in manifest["layers"]:
        data = (blobs / layer["digest"].removeprefix("sha256:")).read_bytes()
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                if member.isfile() and member.name.startswith("opt/kitbag/"):
                    archive.extract(member, opt.parent, filter="data")


@contextmanager
def also_installed(place: Place, name: str, **files: str) -> Iterator[None]:
    """One more package in the environment, by what installers leave of it."""
    info = place.site / f"{name}-1.0.dist-info"
    info.mkdir()
    for file, text in files.items():
        (info / f"{file}.json").write_text(text)
    try:
        yield
    finally:
        shutil.rmtree(info)


@pytest.fixture
def page(place: Place, browser: Browser) -> Iterator[Page]:
    """Lab with the panel open."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.goto(place.lab.page)
        page.get_by_role("tab", name="Kitbag").click(timeout=60_000)
        yield page


def test_what_is_installed_in_a_terminal_is_saved_from_the_panel(
    place: Place, page: Page, embedded: Embedded
) -> None:
    said: list[Response] = []
    page.on("response", lambda answer: said.append(answer) if "/kitbag/" in answer.url else None)
    panel = page.get_by_role("region", name="Kitbag")
    expect(panel.locator("dl")).to_contain_text("lab/nb")
    expect(panel.locator(".kitbag-version")).to_contain_text("running here")
    expect(panel.get_by_text("Nothing differs from the image.")).to_be_visible()
    save = panel.get_by_role("button", name="Save")
    expect(save).to_be_disabled()

    page.locator(".jp-LauncherCard", has_text="Terminal").click()
    page.locator(".jp-Terminal").click()
    page.keyboard.type("python -m pip install humanize\n")
    expect(panel.get_by_text("1 package differs from the image.")).to_be_visible(timeout=60_000)
    expect(panel.get_by_role("list", name="What differs")).to_have_text("+ humanize 4.9.0")

    save.press("Enter")
    done = panel.get_by_text(re.compile("^Saved as lab/nb:2: sha256:[0-9a-f]{64}$"))
    expect(done).to_be_visible(timeout=60_000)
    image = embedded.get("/v1/resolve", env="lab/nb:2")["image"]
    assert image != place.image
    assert (done.text_content() or "").endswith(image.partition("@")[2])
    expect(panel.get_by_role("log", name="Build log")).to_contain_text("lab/nb:2 is ready")

    expect(panel.get_by_label("Version")).to_have_value("lab/nb:2")
    expect(panel.get_by_label("Image", exact=True)).to_have_text(image)
    expect(panel.get_by_label(re.compile("^Pin the"))).to_have_text(
        "kitbag pin . --env lab/nb:2 -i"
    )
    expect(panel.get_by_label("Kubeflow Pipelines", exact=True)).to_contain_text(
        f'base_image="{image}"'
    )
    panel.get_by_role("button", name="Copy: Image").click()
    expect(panel.get_by_text("Image copied")).to_be_visible()
    expect(done).to_be_visible()
    found = Axe().run(page, context="#kitbag-panel")
    assert found.violations_count == 0, found.generate_report()

    assert {answer.status for answer in said} <= {200, 202}
    # It asks once more, since what runs there ends; this server has no cluster to ask.
    panel.get_by_role("button", name="Restart this notebook on 2").click()
    panel.get_by_role("button", name="What runs here ends: restart?").click()
    expect(panel.get_by_role("alert")).to_contain_text("connected to no cluster")
    assert not [answer for answer in said if SECRET in answer.text()]


def test_texts_from_elsewhere_are_never_markup(place: Place, page: Page) -> None:
    url = json.dumps({"url": f"file:///gone/{MARKUP}", "dir_info": {"editable": True}})
    panel = page.get_by_role("region", name="Kitbag")
    with also_installed(place, "own", direct_url=url):
        expect(panel.get_by_role("list", name="What differs")).to_contain_text(
            f"/gone/{MARKUP}", timeout=30_000
        )
        expect(panel.locator("img")).to_have_count(0)
        assert page.title() != "ran"


def test_nobody_is_answered_without_jupyters_sign_in(place: Place) -> None:
    with httpx.Client(base_url=place.lab.url, trust_env=False) as stranger:
        for path in ("kitbag/status", "kitbag/history", "kitbag/builds/x"):
            assert stranger.get(path).status_code == 403
        for path in ("kitbag/save", "kitbag/restart?to=1"):
            assert stranger.post(path).status_code == 403


def test_another_site_cant_save_with_a_browsers_cookies(place: Place, page: Page) -> None:
    there = page.context.request.get(f"{place.lab.url}kitbag/status")
    assert there.status == 200  # the cookie is one that opens the server
    refused = page.context.request.post(f"{place.lab.url}kitbag/save")
    assert refused.status == 403
    assert "_xsrf" in refused.text()


def test_what_a_build_isnt_is_a_sentence(place: Place) -> None:
    unknown = place.lab.http.get("kitbag/builds/nosuch")
    assert unknown.status_code == 409
    assert unknown.json()["type"] == "build-not-found"
    assert unknown.json()["message"]
    for after in ("-1", "x", "9" * 5000, "\u0661"):
        assert place.lab.http.get("kitbag/builds/x", params={"after": after}).status_code == 400
    assert place.lab.http.get("kitbag/builds/..%2F..%2Fv1").status_code == 404
    assert place.lab.http.get("kitbag/builds/" + "x" * 65).status_code == 404


def test_a_version_to_restart_on_is_a_number(place: Place) -> None:
    for to in ("", "0", "x", "-1", "9" * 5000, "\u0661"):
        answer = place.lab.http.post("kitbag/restart", params={"to": to})
        assert answer.status_code == 400, to


def test_an_environment_of_no_version_is_saved_as_its_first(
    place: Place, embedded: Embedded, new_folder: Callable[[], Path]
) -> None:
    variables = {"KITBAG_URL": embedded.url, "KITBAG_ENVIRONMENT": "lab/fresh"}
    with (
        also_installed(place, "three"),
        place.started(new_folder() / "lab", variables) as lab,
    ):
        none = lab.http.get("kitbag/history").json()
        assert none == {"environment": "lab/fresh", "running": None, "versions": []}
        saved = lab.http.post("kitbag/save")
        assert saved.status_code == 202
        build = embedded.wait(saved.json()["build"])
        assert (build["state"], build["version"]) == ("ready", 1)
        told = lab.http.get(f"kitbag/builds/{build['id']}").json()
        assert (told["ended"], told["version"], told["image"]) == (
            True,
            "lab/fresh:1",
            build["image"],
        )
        later = lab.http.get(f"kitbag/builds/{build['id']}", params={"after": told["after"]}).json()
        assert later["log"] == []
        known = lab.http.get("kitbag/history").json()
        assert (known["running"], len(known["versions"])) == (None, 1)


def test_what_differs_shows_without_a_name_and_without_a_server(
    place: Place, new_folder: Callable[[], Path]
) -> None:
    variables = {"KITBAG_URL": "http://127.0.0.1:9"}
    with also_installed(place, "four"), place.started(new_folder() / "lab", variables) as lab:
        status = lab.http.get("kitbag/status").json()
        assert "+ four 1.0" in status["lines"]
        assert status["environment"] is None
        assert status["restarts"] is False
        assert "NB_PREFIX" in lab.http.post("kitbag/restart", params={"to": 1}).json()["message"]
        assert "KITBAG_ENVIRONMENT=NS/NAME" in status["problem"]
        assert lab.http.post("kitbag/save").json()["message"] == status["problem"]
    named = variables | {"KITBAG_ENVIRONMENT": "lab/nb"}
    with also_installed(place, "four"), place.started(new_folder() / "lab", named) as lab:
        for gone in (lab.http.get("kitbag/history"), lab.http.post("kitbag/save")):
            assert gone.status_code == 409
            assert "127.0.0.1:9" in gone.json()["message"]
            assert SECRET not in gone.text


def test_outside_of_an_image_the_panel_says_so(
    programs: Path, new_folder: Callable[[], Path], browser: Browser
) -> None:
    with (
        part(started(programs, new_folder() / "lab", {})) as lab,
        browser.new_context(viewport={"width": 1280, "height": 900}) as context,
    ):
        page = context.new_page()
        page.goto(lab.page)
        page.get_by_role("tab", name="Kitbag").click(timeout=60_000)
        panel = page.get_by_role("region", name="Kitbag")
        expect(panel.get_by_role("alert")).to_contain_text("inside of an image that Kitbag built")
        expect(panel.get_by_role("button", name="Save")).to_be_disabled()
