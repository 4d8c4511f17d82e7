"""Every kind of source becomes a digest in an embedded server, and what is known is not moved."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from e2e.servers import Embedded, SlowIndex
from rig.git import GitServer
from rig.wheels import WheelFactory


def packages(server: Embedded, environment: str, version: str = "latest") -> dict[str, str]:
    found = server.get(f"/v1/environments/{environment}/versions/{version}")
    return {item["name"]: item["version"] for item in found["packages_list"]}


def test_inline_files_become_an_image(embedded: Embedded) -> None:
    build = embedded.build("inline/files", "two")
    assert build["image"] == f"{embedded.host}/inline/files@{build['digest']}"
    assert build["version"] == 1
    assert packages(embedded, "inline/files") == {"one": "2.0", "pip": "99.0", "two": "1.0"}


def test_a_folder_becomes_an_image_named_after_it(embedded: Embedded, tmp_path: Path) -> None:
    folder = tmp_path / "of-a-folder"
    folder.mkdir()
    (folder / "requirements.txt").write_text("-r more.txt\n")
    (folder / "more.txt").write_text("one<2\n")
    done = embedded.kitbag("build", folder)
    assert done.returncode == 0, done.stderr
    image = done.stdout.strip()
    assert image.startswith(f"{embedded.host}/default/of-a-folder@sha256:")
    assert packages(embedded, "default/of-a-folder")["one"] == "1.0"


def test_a_requirements_file_becomes_an_image(embedded: Embedded, tmp_path: Path) -> None:
    file = tmp_path / "wanted.txt"
    file.write_text("three\n")
    done = embedded.kitbag("build", file, "--name", "a/file", "--json")
    assert done.returncode == 0, done.stderr
    build = json.loads(done.stdout)
    assert build["state"] == "ready"
    assert packages(embedded, "a/file") == {"pip": "99.0", "three": "1.0"}


def test_a_git_repository_becomes_an_image_that_knows_its_commit(
    embedded: Embedded, git_server: GitServer
) -> None:
    repository = git_server.repository("e2e-source", {"sub/requirements.txt": "four\n"})
    done = embedded.kitbag(
        "build", repository.http_url, "--ref", "main", "--subdir", "sub", "--name", "a/repo"
    )
    assert done.returncode == 0, done.stderr
    version = embedded.get(f"/v1/environments/a/repo/versions/{repository.head[:7]}")
    assert version["commit"] == repository.head
    assert version["refs"] == ["main"]
    assert version["image"] == done.stdout.strip()


def test_a_push_makes_the_next_version_and_a_branch_finds_it(
    embedded: Embedded, git_server: GitServer
) -> None:
    repository = git_server.repository("e2e-push", {"requirements.txt": "one\n"})
    git = {"url": repository.http_url, "ref": "main"}
    first = embedded.build("a/push", git=git)
    commit = repository.commit({"requirements.txt": "one\nfour\n"})
    second = embedded.build("a/push", git=git)
    assert (first["version"], second["version"]) == (1, 2)
    assert embedded.get("/v1/resolve", env="a/push:main")["digest"] == second["digest"]
    assert embedded.get("/v1/resolve", env=f"a/push:{commit[:10]}")["version"] == 2


def test_an_upload_becomes_the_same_image_as_inline_files(embedded: Embedded) -> None:
    inline = embedded.build("upload/inline", "two", "three")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        content = b"two\nthree"
        member = tarfile.TarInfo("requirements.txt")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    answer = embedded.http.post(
        "/v1/builds",
        data={"request": json.dumps({"environment": "upload/multipart"})},
        files={"archive": ("folder.tar.gz", archive.getvalue(), "application/gzip")},
    )
    assert answer.status_code == 202, answer.text
    build = embedded.wait(answer.json()["id"])
    assert build["state"] == "ready", build["error"]
    assert build["digest"] == inline["digest"]


def test_one_more_package_moves_its_layer_alone(embedded: Embedded, index: WheelFactory) -> None:
    index.wheel("onemore")  # which no other test has
    before = embedded.build("grow/up", "two", "three")
    after = embedded.build("grow/up", "two", "three", "onemore")
    assert (before["version"], after["version"]) == (1, 2)
    assert after["stats"]["layers_new"] == 1
    assert layers(embedded, before) < layers(embedded, after) | {top(embedded, before)}
    # The layer of `onemore`, the record of the lock, the config and the manifest.
    new = embedded.get("/v1/environments/grow/up/versions/2")["layers"]
    mine = [layer for layer in new if "onemore" in layer["packages"]]
    record = new[-1]
    manifest = blob(embedded, after["digest"])
    config = json.loads(manifest)["config"]["size"]
    least = mine[0]["size_bytes"] + record["size_bytes"] + config + len(manifest)
    assert after["stats"]["bytes_moved"] <= 1.1 * least


def test_the_same_request_again_is_answered_without_a_worker(embedded: Embedded) -> None:
    build = embedded.build("same/again", "two", "four")
    log = embedded.data / "logs/worker.log"
    seen = log.read_text().count(build["id"])
    events = len(embedded.events(build["id"]))
    answer = embedded.submit("same/again", "two", "four")
    assert answer.status_code == 200
    assert answer.headers["Location"] == f"/v1/builds/{build['id']}"
    assert answer.json()["id"] == build["id"]
    assert answer.json()["digest"] == build["digest"]
    assert log.read_text().count(build["id"]) == seen
    assert len(embedded.events(build["id"])) == events
    assert embedded.get("/v1/environments/same/again")["versions"] == 1


def test_requests_at_the_same_time_join_one_build(embedded: Embedded) -> None:
    answers = [embedded.submit("all/at-once", "one", "three", "four") for _ in range(5)]
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 202]
    ids = {answer.json()["id"] for answer in answers}
    assert len(ids) == 1
    assert embedded.wait(ids.pop())["state"] == "ready"


def test_the_same_lock_in_another_environment_has_the_same_digest(embedded: Embedded) -> None:
    one = embedded.build("twin/one", "two")
    other = embedded.build("twin/other", "two==1.0", "one==2.0")
    assert one["digest"] == other["digest"]
    assert other["stats"]["layers_new"] == 0


def test_a_cancelled_build_stops_and_publishes_nothing(
    embedded: Embedded, slow_index: SlowIndex
) -> None:
    answer = embedded.submit("stop/it", f"--index-url {slow_index.url}", "one")
    assert answer.status_code == 202, answer.text
    build = embedded.wait_for_state(answer.json()["id"], "resolving")
    assert embedded.http.delete(f"/v1/builds/{build['id']}").status_code == 202
    ended = embedded.wait(build["id"], timeout_s=30)
    assert ended["state"] == "cancelled"
    assert ended["version"] is None
    assert embedded.get("/v1/environments/stop/it")["latest"] is None
    assert embedded.http.delete(f"/v1/builds/{build['id']}").status_code == 200


def test_the_events_of_a_build_end_with_its_image(embedded: Embedded) -> None:
    build = embedded.build("told/live", "one", "four")
    told: list[dict[str, Any]] = []
    with embedded.http.stream("GET", build["events"]) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = [json.loads(x[5:]) for x in stream.iter_lines() if x.startswith("data:")]
    assert [event["seq"] for event in told] == sorted({event["seq"] for event in told})
    assert told[-1]["kind"] == "done"
    assert told[-1]["data"]["image"] == build["image"]
    after = {"Last-Event-ID": str(told[-2]["seq"]), "Accept": "text/event-stream"}
    with embedded.http.stream("GET", build["events"], headers=after) as stream:
        rest = [json.loads(x[5:]) for x in stream.iter_lines() if x.startswith("data:")]
    assert rest == told[-1:]


def blob(server: Embedded, digest: str) -> bytes:
    return (server.layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def layers(server: Embedded, build: dict[str, Any]) -> set[str]:
    return {layer["digest"] for layer in json.loads(blob(server, build["digest"]))["layers"]}


def top(server: Embedded, build: dict[str, Any]) -> str:
    """The layer that holds the lock, which every change of a package changes."""
    digest: str = json.loads(blob(server, build["digest"]))["layers"][-1]["digest"]
    return digest


def test_a_repository_is_built_with_its_submodules_and_lfs_files_when_asked(
    embedded: Embedded, git_server: GitServer
) -> None:
    inner = git_server.repository("e2e-inner", {"more.txt": "two\n"})
    pointer = git_server.lfs.put(b"three\n")
    outer = git_server.repository(
        "e2e-outer",
        {
            "requirements.txt": "one\n-r lib/more.txt\n-r large.txt\n",
            ".gitattributes": "large.txt filter=lfs\n",
            "large.txt": pointer,
        },
    )
    outer.add_submodule("lib", inner.head, f"../{inner.path.name}")
    outer.commit_index()
    git = {"url": outer.http_url, "ref": "main"}
    embedded.build("a/whole", git={**git, "submodules": True, "lfs": True})
    assert {"one", "two", "three"} <= set(packages(embedded, "a/whole"))
