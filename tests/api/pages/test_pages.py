"""The pages as HTML: what they say, what they refuse, and what no input gets into them."""

from __future__ import annotations

import io
import re
import tarfile
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from catalog import rollouts
from catalog.engine import writing
from catalog.types import utcnow
from catalog.versions import ImageFacts
from worker.presence import Presence

Site = Any
HTML = {"Accept": "text/html"}


def get(site: Site, path: str) -> httpx.Response:
    return site.http.get(path, headers=HTML)


def post(site: Site, path: str, **fields: str) -> httpx.Response:
    return site.http.post(path, data=fields, headers=HTML)


def text(response: httpx.Response) -> str:
    """The page as it reads, without tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text))


def test_the_first_page_lists_environments_with_their_size_and_last_build(site: Site) -> None:
    site.new_version(size_bytes=177_300_000)
    site.workers.begin(failed := site.ask("nope", "hep/broken")["id"])
    site.workers.fail(failed, {"type": "unresolvable", "detail": "There is no nope."})
    shown = text(get(site, "/"))
    assert re.search(r"alice / gan 1 ready 1 177\.3 MB 3\.11", shown)
    assert re.search("hep / broken . failed", shown)


def test_a_new_server_says_how_to_begin(site: Site) -> None:
    assert "There is no environment yet" in text(get(site, "/"))


def test_the_list_is_searched_by_a_part_of_the_name(site: Site) -> None:
    site.new_version()
    assert "gan" in text(get(site, "/?q=GA"))
    assert "No environment fits" in text(get(site, "/?q=%3Cb%3E"))


def test_the_list_goes_on_behind_its_fiftieth_name(site: Site) -> None:
    for number in range(51):
        site.ask("numpy", f"many/env-{number:02d}")
    first = get(site, "/")
    more = re.search(r'rel="next" href="([^"]+)"', first.text)
    link = 'href="/environments/many/env-50"'
    assert more is not None and link not in first.text
    assert link in get(site, more.group(1).replace("&amp;", "&")).text


def test_a_build_under_way_is_shown_on_the_first_page(site: Site) -> None:
    site.workers.begin(site.ask()["id"])
    assert "Being built alice/gan resolving" in text(get(site, "/"))


def test_a_version_shows_its_packages_layers_and_what_came_with_it(site: Site) -> None:
    site.new_version()
    packages = [
        {"name": "numpy", "version": "2.1.0", "size_bytes": 900},
        {"name": "rich", "version": "14.0", "size_bytes": 300},
    ]
    layers = [
        {"digest": "sha256:1", "size_bytes": 900, "packages": ["numpy"]},
        {"digest": "sha256:2", "size_bytes": 300, "packages": ["rich"]},
    ]
    site.new_version("numpy rich", packages=packages, layers=layers, digest="sha256:" + "d" * 64)
    shown = text(get(site, "/environments/alice/gan/versions/latest"))
    assert "What changed since version 1" in shown
    assert "+ rich 14.0 added, 300 B" in shown and "~ numpy 2.0.0 → 2.1.0" in shown
    assert "A node that has version 1 fetches 300 B" in shown
    assert "2 new 300 B rich" in shown


@pytest.mark.parametrize(
    "snippet",
    [
        "kitbag resolve alice/gan:1",
        "kitbag pin k8s/ pipeline.yaml --env alice/gan:1 -i",
        "image: kitbag://alice/gan:1",
        "base_image=&#34;registry.example/alice/gan@sha256:",
        "- name: tensorflow\n  image: registry.example/alice/gan@sha256:",
    ],
)
def test_a_version_says_how_it_is_used(site: Site, snippet: str) -> None:
    site.new_version()
    assert snippet in get(site, "/environments/alice/gan/versions/1").text


def image(accelerator: str, *names: str) -> ImageFacts:
    return ImageFacts(
        image=f"registry.example/alice/gan@sha256:{accelerator}",
        digest=f"sha256:{accelerator}",
        accelerator=accelerator,
        platform="linux/amd64",
        base_name="auto",
        base_digest="sha256:1",
        size_bytes=5,
        packages=[{"name": name, "version": "1.0", "size_bytes": 1} for name in names],
    )


def test_a_version_of_several_images_shows_each(site: Site) -> None:
    site.new_version(images=[image("cpu", "numpy"), image("cuda", "numpy", "torch-of-cuda")])
    page = "/environments/alice/gan/versions/1"
    assert "cuda linux/amd64 cuda 2 5 B" in text(get(site, page))
    assert "torch-of-cuda" not in text(get(site, page))
    shown = text(get(site, f"{page}?accelerator=cuda&platform=linux/amd64"))
    assert "torch-of-cuda" in shown and "cuda shown below" in shown
    assert get(site, f"{page}?accelerator=tpu").status_code == 404


def test_an_environment_shows_where_it_is_rolled_out(site: Site) -> None:
    site.new_version()
    with writing(site.engine) as session:
        objects = [{"kind": "TFJob", "name": "train"}]
        rollouts.add(session, "alice/gan", rollouts.Order("physics", objects=objects))
    shown = text(get(site, "/environments/alice/gan"))
    assert "Rolled out to physics: TFJob train version 1:" in shown


def test_an_environment_shows_the_repositories_that_it_is_committed_to(site: Site) -> None:
    site.new_version()
    git = {"url": "https://git.example/deploy.git", "branch": "main", "paths": ["a", "b"]}
    with writing(site.engine) as session:
        rollouts.add(session, "alice/gan", rollouts.Order("", git=git))
    shown = text(get(site, "/environments/alice/gan"))
    assert "Rolled out to https://git.example/deploy.git main : a , b version 1:" in shown


def test_an_old_version_is_made_the_latest_again(site: Site) -> None:
    site.new_version()
    site.new_version("rich", digest="sha256:" + "d" * 64)
    made = post(site, "/environments/alice/gan/versions/1/rollback")
    assert made.status_code == 303
    assert made.headers["location"] == "/environments/alice/gan/versions/3"


def test_a_failed_build_says_what_was_wrong_and_where(site: Site) -> None:
    build_id = site.ask("nope")["id"]
    site.workers.begin(build_id)
    problem = {"type": "unresolvable", "detail": "There is no nope.", "file": "requirements.txt"}
    site.workers.fail(build_id, problem | {"line": 1})
    shown = text(get(site, f"/builds/{build_id}"))
    assert "No set of versions satisfies the requirements. There is no nope." in shown
    assert "In requirements.txt:1" in shown


def test_a_failed_build_is_built_again_by_one_button(site: Site) -> None:
    build_id = site.ask("nope")["id"]
    site.workers.begin(build_id)
    site.workers.fail(build_id, {"type": "unresolvable", "detail": "There is no nope."})
    made = post(site, f"/builds/{build_id}/again")
    assert made.status_code == 303
    again = made.headers["location"].rpartition("/")[2]
    assert again != build_id
    site.workers.wait_told(build_id, again)


def test_a_build_is_cancelled_by_one_button(site: Site) -> None:
    build_id = site.ask()["id"]
    assert post(site, f"/builds/{build_id}/cancel").status_code == 303
    assert site.http.get(f"/v1/builds/{build_id}").json()["state"] == "cancelled"


def test_typed_packages_become_a_build(site: Site) -> None:
    made = post(site, "/new", name="alice/new", packages="numpy\r\nrich>=13\r\n")
    assert made.status_code == 303
    build_id = made.headers["location"].rpartition("/")[2]
    request = site.http.get(f"/v1/builds/{build_id}").json()["request"]
    assert request["source"] == {"files": {"requirements.txt": "numpy\nrich>=13\n"}}
    site.workers.wait_told(build_id)


def test_a_repository_becomes_a_build_named_after_it(site: Site) -> None:
    made = post(site, "/new", kind="git", url="https://git.example/a/GAN.git", ref="main")
    build = site.http.get(f"/v1{made.headers['location']}").json()
    assert build["environment"] == "default/gan"
    assert build["request"]["source"]["git"]["ref"] == "main"


def test_the_form_shows_what_would_be_built_without_building_it(
    site: Site, plan: dict[str, Any]
) -> None:
    site.workers.plan = plan
    shown = post(site, "/new", name="alice/new", packages="numpy", action="plan")
    assert "What would be built" in shown.text and "1 known, 0 new" in text(shown)
    assert 'value="alice/new"' in shown.text
    assert site.http.get("/v1/builds").json()["items"] == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"packages": "numpy"}, "Give the environment a name"),
        ({"name": "My Tools", "packages": "numpy"}, "lower-case letters"),
        ({"name": "alice/😀", "packages": "numpy"}, "lower-case letters"),
        ({"name": "../../etc", "packages": "numpy"}, "lower-case letters"),
        ({"name": "alice/x", "packages": "numpy", "python": "three"}, "minor version"),
        ({"kind": "git"}, "address of the git repository"),
        ({"kind": "git", "url": "ext::sh -c id"}, "no git URL"),
        ({"kind": "git", "url": "https://a:b@git.example/x"}, "credentials"),
    ],
)
def test_what_is_wrong_in_the_form_is_said_above_it(
    site: Site, fields: dict[str, str], told: str
) -> None:
    refused = post(site, "/new", **fields)
    assert refused.status_code == 422
    assert told in text(refused) and 'role="alert"' in refused.text
    assert all(
        f'value="{value}"' in refused.text for name, value in fields.items() if name == "name"
    )
    assert site.http.get("/v1/builds").json()["items"] == []


def test_a_plan_that_is_refused_says_why_in_the_page(site: Site) -> None:
    site.workers.problem = {"type": "unresolvable", "detail": "There is no package nope."}
    shown = post(site, "/new/plan", name="alice/new", packages="nope")
    assert shown.status_code == 200 and "There is no package nope." in text(shown)
    assert "<html" not in shown.text


@pytest.mark.parametrize("kind", ["files", "upload", "git"])
def test_the_form_is_filled_in_as_the_environment_was_built(site: Site, kind: str) -> None:
    if kind == "files":
        site.ask("numpy\nrich\n")
    elif kind == "git":
        site.ask(source={"git": {"url": "https://git.example/a/b", "ref": "main"}})
    else:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            entry = tarfile.TarInfo("./requirements.txt")
            entry.size = 11
            tar.addfile(entry, io.BytesIO(b"numpy\nrich\n"))
        sent = {"archive": archive.getvalue()}
        asked = {"request": '{"environment": "alice/gan"}'}
        assert site.http.post("/v1/builds", data=asked, files=sent).status_code == 202
    shown = get(site, "/new?like=alice/gan").text
    if kind == "git":
        assert 'value="https://git.example/a/b"' in shown and 'value="main"' in shown
    else:
        assert ">numpy\nrich\n</textarea>" in shown


def test_names_are_completed_from_the_catalog_and_from_well_known_ones(site: Site) -> None:
    site.new_version(packages=[{"name": "numpy-of-ours", "version": "1", "size_bytes": 1}])
    names = site.http.get("/new/packages?q=NumPy").json()
    assert names[0] == "numpy-of-ours" and "numpy" in names
    assert site.http.get("/new/packages?q=%25").json() == []


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def test_html_in_a_log_line_a_branch_or_a_package_stays_text(site: Site) -> None:
    build_id = site.ask(HOSTILE)["id"]
    site.workers.begin(build_id)
    site.workers.say(build_id, HOSTILE)
    package = {"name": HOSTILE, "version": HOSTILE, "size_bytes": 1}
    site.workers.finish(build_id, packages=[package], branches=[HOSTILE], commit="a" * 40)
    for path in (
        "/",
        f"/?q={HOSTILE}",
        "/environments/alice/gan",
        "/environments/alice/gan/versions/1",
        f"/environments/alice/gan/versions/{HOSTILE}",
        f"/builds/{build_id}",
        "/new?like=alice/gan",
        f"/{HOSTILE}",
    ):
        shown = get(site, path)
        assert "<script>alert" not in shown.text and "<img src=x" not in shown.text, path


@pytest.mark.parametrize("path", ["/", "/new", "/builds", "/status", "/nothing-here", "/sign-in"])
def test_every_page_forbids_scripts_and_frames_that_are_not_ours(site: Site, path: str) -> None:
    policy = get(site, path).headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe-inline" not in policy and "frame-ancestors 'none'" in policy


def test_an_unknown_page_is_a_page_and_an_unknown_route_is_a_problem(
    site: Site, problem: Callable[..., dict[str, Any]]
) -> None:
    page = get(site, "/environments/no/body")
    assert page.status_code == 404 and "There is no environment" in text(page)
    problem(site.http.get("/environments/no/body"), 404, "environment-not-found")
    problem(get(site, "/v1/environments/no/body"), 404, "environment-not-found")


def test_two_people_who_send_the_same_form_at_once_get_one_build(site: Site) -> None:
    made: list[str] = []

    def send() -> None:
        with httpx.Client(base_url=site.url) as http:
            form = {"name": "alice/same", "packages": "numpy"}
            made.append(http.post("/new", data=form).headers["location"])

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8 and len(set(made)) == 1


TOKEN = "correct horse battery staple"


def test_who_has_no_session_is_asked_for_the_token_and_led_back(
    make_site: Callable[..., Any],
) -> None:
    site = make_site(api_token=TOKEN)
    asked = get(site, "/builds?state=ready")
    assert asked.status_code == 303
    assert asked.headers["location"] == "/sign-in?then=/builds%3Fstate%3Dready"
    wrong = post(site, "/sign-in", token="wrong", then="/builds")
    assert wrong.status_code == 403 and "not a token of this server" in text(wrong)
    begun = post(site, "/sign-in", token=TOKEN, then="/builds?state=ready")
    assert begun.headers["location"] == "/builds?state=ready"
    cookie = begun.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and TOKEN not in cookie
    assert get(site, "/builds").status_code == 200
    assert post(site, "/sign-out").status_code == 303
    assert get(site, "/builds").status_code == 303


def test_a_session_follows_a_build_but_changes_nothing_for_another_site(
    make_site: Callable[..., Any], problem: Callable[..., dict[str, Any]]
) -> None:
    site = make_site(api_token=TOKEN)
    post(site, "/sign-in", token=TOKEN)
    assert site.http.get("/v1/builds").status_code == 200
    asked = {"environment": "a/b", "source": {"files": {"requirements.txt": "numpy"}}}
    for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        problem(site.http.post("/v1/builds", json=asked, headers=headers), 401, "unauthorized")
    own = site.http.post("/v1/builds", json=asked, headers={"Sec-Fetch-Site": "same-origin"})
    assert own.status_code == 202


@pytest.mark.parametrize("cookie", ["", "9999999999.00", "0.00", "x.y", "9" * 400 + ".00"])
def test_a_session_that_this_server_did_not_begin_is_none(
    make_site: Callable[..., Any], cookie: str
) -> None:
    site = make_site(api_token=TOKEN)
    site.http.cookies.set("kitbag_session", cookie)
    assert site.http.get("/v1/builds").status_code == 401


@pytest.mark.parametrize(
    "then", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_leads_nowhere_else(make_site: Callable[..., Any], then: str) -> None:
    site = make_site(api_token=TOKEN)
    assert post(site, "/sign-in", token=TOKEN, then=then).headers["location"] == "/"


def test_an_environment_is_offered_by_one_button(make_site: Callable[..., Site]) -> None:
    site = make_site(cluster="in-cluster", spawner="kubeflow/jupyter-web-app-deployment")
    site.add_base()
    site.new_version()
    where = "/environments/alice/gan"
    assert "Offer in the launcher" in get(site, where).text
    assert post(site, f"{where}/offer", offered="true").headers["location"] == where
    assert "Take out of the launcher" in get(site, where).text
    post(site, f"{where}/offer", offered="false")
    assert "Offer in the launcher" in get(site, where).text


def test_without_a_launcher_there_is_no_such_button(site: Site) -> None:
    site.new_version()
    assert "launcher" not in get(site, "/environments/alice/gan").text
    assert post(site, "/environments/alice/gan/offer", offered="true").status_code == 422


def test_the_status_page_shows_parts_workers_and_what_waits(site: Site) -> None:
    now = utcnow()
    site.workers.present = [
        Presence(
            name="builder-1:7",
            release="1.2",
            queues=("engine", "layered"),
            concurrency=3,
            engine="buildkit",
            started_at=now,
            seen_at=now,
        )
    ]
    site.ask("waiting")
    shown = text(get(site, "/status"))
    for wanted in ("All parts answer", "builder-1:7", "engine, layered", "buildkit", "Waiting"):
        assert wanted in shown
    site.workers.present = []
    assert "No worker says that it lives." in text(get(site, "/status"))
