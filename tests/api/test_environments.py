from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import TimeoutError as CatalogTimeoutError

from api.auth.principal import LOCAL
from api.environments.resolver import Resolver
from catalog.versions import ImageFacts

COMMIT = "c0ffee1" + "0" * 33


def test_an_environment_is_there_from_its_first_request(site):
    site.ask()
    told = site.http.get("/v1/environments/alice/gan").json()
    assert (told["name"], told["versions"], told["latest"]) == ("alice/gan", 0, None)
    site.new_version("scipy", branches=["main"])
    latest = site.http.get("/v1/environments/alice/gan").json()["latest"]
    assert latest == {
        "environment": "alice/gan",
        "number": 1,
        "image": "registry.example/alice/gan@sha256:" + "a" * 64,
        "digest": "sha256:" + "a" * 64,
        "commit": None,
        "refs": ["main"],
        "python": "3.11.2",
        "accelerator": "cpu",
        "base": "auto",
        "packages": 1,
        "size_bytes": 1000,
        "build": latest["build"],
        "rebased_from": None,
        "images": [
            {
                "accelerator": "cpu",
                "platform": "linux/amd64",
                "image": "registry.example/alice/gan@sha256:" + "a" * 64,
                "digest": "sha256:" + "a" * 64,
                "reference": "registry.example/alice/gan@sha256:" + "a" * 64,
                "base": "auto",
                "packages": 1,
                "size_bytes": 1000,
            }
        ],
        "created_at": latest["created_at"],
    }


def test_environments_are_searched_and_paged(site):
    for name in ("alice/gan", "alice/lab", "bob/gan"):
        site.ask(environment=name)

    def names(**query):
        page = site.http.get("/v1/environments", params=query).json()
        return [item["name"] for item in page["items"]], page["next"]

    assert names() == (["alice/gan", "alice/lab", "bob/gan"], None)
    assert names(query="GAN") == (["alice/gan", "bob/gan"], None)
    assert names(namespace="bob") == (["bob/gan"], None)
    assert names(limit=2) == (["alice/gan", "alice/lab"], "alice/lab")
    assert names(limit=2, after="alice/lab") == (["bob/gan"], None)


def test_a_version_is_found_by_all_of_its_names(site, problem):
    site.new_version("1", commit=COMMIT, branches=["main", "feature/new-layer"])
    site.new_version("2", commit="d" * 40, branches=["main"])
    path = "/v1/environments/alice/gan/versions"
    for wanted, number in (
        ("1", 1),
        ("latest", 2),
        (COMMIT, 1),
        ("c0ffee1", 1),
        ("main", 2),
        ("feature/new-layer", 1),
    ):
        assert site.http.get(f"{path}/{wanted}").json()["number"] == number
    whole = site.http.get(f"{path}/1").json()
    assert whole["lock"] == 'lock-version = "1.0"\n'
    assert whole["packages_list"] == [{"name": "numpy", "version": "2.0.0", "size_bytes": 900}]
    assert whole["layers"] == [{"digest": "sha256:1", "size_bytes": 900, "packages": ["numpy"]}]
    for missing in ("3", "0", "nobranch", "c0ffee2"):
        problem(site.http.get(f"{path}/{missing}"), 404, "version-not-found")
    problem(site.http.get("/v1/environments/no/one/versions/1"), 404, "environment-not-found")


def test_the_history_is_paged_newest_first(site, problem):
    for number in range(3):
        site.new_version(str(number))
    path = "/v1/environments/alice/gan/versions"
    page = site.http.get(path, params={"limit": 2}).json()
    rest = site.http.get(path, params={"limit": 2, "before": page["next"]}).json()
    assert [item["number"] for item in page["items"] + rest["items"]] == [3, 2, 1]
    assert rest["next"] is None
    problem(site.http.get("/v1/environments/no/one/versions"), 404, "environment-not-found")


def test_two_versions_are_compared(site, problem):
    def package(name, version):
        return {"name": name, "version": version, "size_bytes": 1}

    site.new_version("1", packages=[package("a", "1"), package("b", "1")])
    site.new_version(
        "2",
        packages=[package("b", "2"), package("c", "1")],
        layers=[{"digest": "sha256:2", "size_bytes": 7, "packages": []}],
        base_digest="sha256:" + "e" * 64,
    )
    path = "/v1/environments/alice/gan/diff"
    assert site.http.get(path, params={"from": "1", "to": "latest"}).json() == {
        "added": [{"name": "c", "version": "1", "size_bytes": 1}],
        "removed": [{"name": "a", "version": "1", "size_bytes": 1}],
        "changed": [
            {"name": "b", "before": "1", "after": "2", "before_bytes": 1, "after_bytes": 1}
        ],
        "base": {"before": "sha256:" + "b" * 64, "after": "sha256:" + "e" * 64},
        "layers_shared": 0,
        "layers_new": [{"digest": "sha256:2", "size_bytes": 7, "packages": []}],
        "bytes_to_move": 7,
    }
    problem(site.http.get(path, params={"from": "1", "to": "9"}), 404, "version-not-found")
    told = problem(site.http.get(path, params={"to": "1"}), 422, "invalid-request")
    assert told["detail"] == "from is missing."


def test_a_rollback_is_a_new_version_with_the_old_image(site, problem):
    old = site.new_version("1", digest="sha256:" + "1" * 64)
    site.new_version("2", digest="sha256:" + "2" * 64)
    response = site.http.post("/v1/environments/alice/gan/rollback", json={"to": "1"})
    assert response.status_code == 201
    assert response.headers["location"] == "/v1/environments/alice/gan/versions/3"
    assert (response.json()["number"], response.json()["image"]) == (3, old.image)
    resolved = site.http.get("/v1/resolve", params={"env": "alice/gan"}).json()
    assert resolved == {
        "environment": "alice/gan",
        "version": 3,
        "accelerator": "cpu",
        "image": old.image,
        "digest": old.digest,
        "images": {"cpu": old.image},
        "target": None,
        "pull_secret": None,
    }
    missing = site.http.post("/v1/environments/alice/gan/rollback", json={"to": "9"})
    problem(missing, 404, "version-not-found")
    unnamed = site.http.post("/v1/environments/alice/gan/rollback", json={})
    assert problem(unnamed, 422, "invalid-request")["detail"] == "to is missing."


def test_a_name_is_resolved_again_only_when_it_changed(site):
    site.new_version("1")
    first = site.http.get("/v1/resolve", params={"env": "alice/gan:1"})
    tag = first.headers["etag"]
    for header in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = site.http.get(
            "/v1/resolve", params={"env": "alice/gan"}, headers={"If-None-Match": header}
        )
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    site.new_version("2")
    changed = site.http.get(
        "/v1/resolve", params={"env": "alice/gan"}, headers={"If-None-Match": tag}
    )
    assert (changed.status_code, changed.json()["version"]) == (200, 2)


@pytest.mark.parametrize(
    ("env", "slug"),
    [
        ("no/one", "environment-not-found"),
        ("nonsense", "environment-not-found"),
        ("alice/gan:7", "version-not-found"),
        ("alice/gan/x", "environment-not-found"),
        ("../../x", "environment-not-found"),
    ],
)
def test_a_name_that_stands_for_nothing_says_so(site, problem, env, slug):
    site.new_version("1")
    problem(site.http.get("/v1/resolve", params={"env": env}), 404, slug)


def an_image(accelerator: str, platform: str, digit: str, package: str) -> ImageFacts:
    digest = "sha256:" + digit * 64
    return ImageFacts(
        image=f"r/alice/gan@{digest}",
        digest=digest,
        accelerator=accelerator,
        platform=platform,
        base_name="auto",
        base_digest="sha256:" + "b" * 64,
        size_bytes=int(digit),
        index_digest=f"sha256:{accelerator}",
        lock=f"# {package}",
        packages=[{"name": package, "version": "1", "size_bytes": 1}],
        layers=[{"digest": f"sha256:{package}", "size_bytes": 1, "packages": [package]}],
    )


def test_a_version_tells_of_each_of_its_images(site, problem):
    images = [
        an_image("cpu", "linux/amd64", "1", "numpy"),
        an_image("cpu", "linux/arm64", "2", "numpy"),
        an_image("cuda", "linux/amd64", "3", "cupy"),
    ]
    site.new_version("1", images=images, image="r/alice/gan@sha256:cpu", digest="sha256:cpu")
    path = "/v1/environments/alice/gan/versions/1"
    first = site.http.get(path).json()
    assert [(each["accelerator"], each["platform"]) for each in first["images"]] == [
        ("cpu", "linux/amd64"),
        ("cpu", "linux/arm64"),
        ("cuda", "linux/amd64"),
    ]
    assert {each["reference"] for each in first["images"][:2]} == {"r/alice/gan@sha256:cpu"}
    assert first["images"][2]["image"] == images[2].image
    assert (first["lock"], first["packages_list"][0]["name"]) == ("# numpy", "numpy")
    cuda = site.http.get(path, params={"accelerator": "cuda"}).json()
    assert (cuda["lock"], cuda["packages_list"][0]["name"]) == ("# cupy", "cupy")
    listed = site.http.get("/v1/environments/alice/gan/versions").json()["items"]
    assert listed[0]["images"] == first["images"]

    def resolved(**more):
        return site.http.get("/v1/resolve", params={"env": "alice/gan", **more})

    assert resolved().json() == {
        "environment": "alice/gan",
        "version": 1,
        "accelerator": "cpu",
        "image": "r/alice/gan@sha256:cpu",
        "digest": "sha256:cpu",
        "images": {"cpu": "r/alice/gan@sha256:cpu", "cuda": "r/alice/gan@sha256:cuda"},
        "target": None,
        "pull_secret": None,
    }
    assert resolved(accelerator="cuda").json()["image"] == "r/alice/gan@sha256:cuda"
    told = problem(resolved(accelerator="tpu"), 404, "image-not-found")
    assert "has no image for tpu: it has cpu on linux/amd64, " in told["detail"]
    nowhere = {"accelerator": "cuda", "platform": "linux/arm64"}
    problem(site.http.get(path, params=nowhere), 404, "image-not-found")

    site.new_version("2", images=[images[0], an_image("cuda", "linux/amd64", "4", "torch")])
    pair = {"from": "1", "to": "2", "accelerator": "cuda"}
    changed = site.http.get("/v1/environments/alice/gan/diff", params=pair).json()
    assert [each["name"] for each in changed["added"] + changed["removed"]] == ["torch", "cupy"]


def test_bases_are_listed_and_shown(site, problem):
    site.add_base("cuda", "sha256:" + "9" * 64)
    listed = site.http.get("/v1/bases").json()["items"]
    assert [base["name"] for base in listed] == ["auto", "cuda"]
    assert listed[0] == {
        "name": "auto",
        "image": "r/b@sha256:" + "b" * 64,
        "digest": "sha256:" + "b" * 64,
        "platform": "linux/amd64",
        "python": "3.11.2",
        "glibc": "2.36",
        "user": "jovyan",
        "cuda": None,
        "created_at": listed[0]["created_at"],
    }
    assert site.http.get("/v1/bases/cuda").json() == listed[1]
    problem(site.http.get("/v1/bases/nothing"), 404, "base-not-found")
    image = "docker.io/library/python:3.12-slim"
    site.add_base(image)
    assert site.http.get(f"/v1/bases/{image}").json()["name"] == image


def test_the_client_library_reads_environments(site):
    from kitbag.client import Client

    site.new_version("1", branches=["main"])
    site.new_version("2")
    with Client(site.url) as client:
        assert [environment.name for environment in client.environments()] == ["alice/gan"]
        assert [version.number for version in client.versions("alice/gan")] == [2, 1]
        assert client.version("alice/gan:main").packages_list[0].name == "numpy"
        assert client.resolve("alice/gan").version == 2


@pytest.mark.parametrize("catalog", ["sqlite", "postgresql"])
def test_many_names_are_resolved_by_one_request_and_a_wrong_one_says_so_in_its_place(
    make_site, request, problem, catalog
):
    url = {"database_url": request.getfixturevalue("postgres_url")} if catalog != "sqlite" else {}
    site = make_site(**url)
    site.add_base()
    site.new_version("1")
    site.new_version("2", digest="sha256:" + "d" * 64)
    names = ["alice/gan", "no/one", "alice/gan:1", "alice/gan:9"]
    items = site.http.post("/v1/resolve", json={"names": names}).json()["items"]
    assert [item["name"] for item in items] == names
    assert items[0]["resolved"] == site.http.get("/v1/resolve?env=alice/gan").json()
    assert [(item["resolved"] or {}).get("version") for item in items] == [2, None, 1, None]
    told = [item["problem"] and item["problem"]["type"].rpartition("/")[2] for item in items]
    assert told == [None, "environment-not-found", None, "version-not-found"]
    odd = ["a\0/b", "alice/gan:\0", "alice/gan/x", "ALICE/gan", "alice/gan"]
    items = site.http.post("/v1/resolve", json={"names": odd}).json()["items"]
    assert [item["resolved"] is None for item in items] == [True] * 4 + [False]
    for wrong in ([], ["a/b"] * 101, [""], "a/b"):
        problem(site.http.post("/v1/resolve", json={"names": wrong}), 422, "invalid-request")


@pytest.mark.parametrize("catalog", ["sqlite", "postgresql"])
def test_every_server_sees_a_version_that_was_made_before_it_was_asked(make_site, request, catalog):
    url = {"database_url": request.getfixturevalue("postgres_url")} if catalog != "sqlite" else {}
    site, other = make_site(**url), make_site(**url)
    site.add_base()
    site.new_version("0", branches=["main"])
    asked, tags = ("alice/gan", "alice/gan:main", "alice/gan:1"), {}
    for number in range(1, 6):
        for server in (site, other):
            for name in asked[: 2 if number > 1 else 3]:
                found = server.http.get(
                    "/v1/resolve",
                    params={"env": name},
                    headers={"If-None-Match": tags.get((server.url, name), '"none"')},
                )
                assert (found.status_code, found.json()["version"]) == (200, number)
                tag = tags[server.url, name] = found.headers["etag"]
                again = server.http.get(
                    "/v1/resolve", params={"env": name}, headers={"If-None-Match": tag}
                )
                assert (again.status_code, again.content) == (304, b"")
        site.new_version(str(number), digest=f"sha256:{number:064x}", branches=["main"])
    assert other.http.get("/v1/resolve", params={"env": "alice/gan:1"}).json()["version"] == 1


def test_who_asks_while_versions_are_made_never_gets_an_older_one_than_before(site):
    site.new_version("0")
    seen: list[list[int]] = [[] for _ in range(4)]
    stop = threading.Event()

    def ask(into: list[int]) -> None:
        with httpx.Client(base_url=site.url, timeout=20) as http:
            while not stop.is_set():
                into.append(http.get("/v1/resolve?env=alice/gan").json()["version"])

    threads = [threading.Thread(target=ask, args=(each,)) for each in seen]
    for thread in threads:
        thread.start()
    for number in range(1, 6):
        site.new_version(str(number), digest=f"sha256:{number:064x}")
        latest = site.http.get("/v1/resolve?env=alice/gan").json()["version"]
        assert latest == number + 1
    stop.set()
    for thread in threads:
        thread.join(20)
    assert all(each == sorted(each) and each[-1] >= 5 for each in seen)


def test_one_question_is_put_for_all_that_ask_while_another_is_under_way(site):
    """Counted at the catalog: forty requests at once are not forty questions."""
    site.new_version()
    questions: list[str] = []
    engine = site.app.state.services.engine
    site.http.get("/v1/resolve?env=alice/gan")

    def count(_c: object, _cursor: object, statement: str, *_more: object) -> None:
        questions.append(statement)
        time.sleep(0.05)

    event.listen(engine, "before_cursor_execute", count)
    with ThreadPoolExecutor(40) as pool:
        answers = list(
            pool.map(lambda _: httpx.get(f"{site.url}/v1/resolve?env=alice/gan"), range(40))
        )
    event.remove(engine, "before_cursor_execute", count)
    assert {answer.status_code for answer in answers} == {200}
    assert 1 <= len(questions) < 40


def test_an_environment_is_offered_and_taken_out_again(make_site):
    site = make_site(cluster="in-cluster", spawner="kubeflow/jupyter-web-app-deployment")
    site.add_base()
    site.new_version()
    assert site.http.get("/v1/environments/alice/gan").json()["offered"] is False
    for offered in (True, False):
        made = site.http.patch("/v1/environments/alice/gan", json={"offered": offered})
        assert made.status_code == 200 and made.json()["offered"] is offered
        assert site.http.get("/v1/environments/alice/gan").json() == made.json()


def test_nothing_is_offered_where_no_list_is_kept(site, problem):
    site.new_version()
    told = site.http.patch("/v1/environments/alice/gan", json={"offered": True})
    assert "KITBAG_SPAWNER" in problem(told, 422, "no-cluster")["detail"]
    assert site.http.patch("/v1/environments/alice/gan", json={"offered": False}).is_success


@pytest.mark.parametrize("body", [{}, {"offered": "perhaps"}, {"offered": True, "x": 1}, []])
def test_a_change_that_is_none_is_refused(site, problem, body):
    site.new_version()
    problem(site.http.patch("/v1/environments/alice/gan", json=body), 422, "invalid-request")


def test_what_is_not_there_is_not_offered(make_site, problem):
    site = make_site(cluster="in-cluster", spawner="kubeflow/jupyter-web-app-deployment")
    for name in ("no/body", "../x/y", "a/%20"):
        asked = site.http.patch(f"/v1/environments/{name}", json={"offered": True})
        assert asked.status_code in (404, 405), asked.text


def test_a_catalog_that_hangs_is_an_error_and_the_next_question_is_put(make_site, postgres_url):
    site = make_site(postgres_url)
    site.add_base()
    site.new_version()

    async def ask():
        resolver = Resolver(site.engine, patience_s=0.5)
        with site.engine.connect() as held:
            held.execute(text("LOCK TABLE environments IN ACCESS EXCLUSIVE MODE"))
            with pytest.raises(CatalogTimeoutError):
                await resolver.resolve(LOCAL, "alice/gan")
        return await resolver.resolve(LOCAL, "alice/gan")

    assert asyncio.run(ask()).resolved.version == 1
