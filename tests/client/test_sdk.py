"""The SDK against the real API and a real catalog."""

from __future__ import annotations

import tarfile
import threading
from datetime import datetime

import pytest

from builder.source import ArchiveSource, FilesSource, GitSource
from kitbag import (
    BuildFailedError,
    BuildState,
    Change,
    EventKind,
    Files,
    KitbagError,
    Way,
)
from worker.request import BuildRequest


def files(*lines: str) -> Files:
    return Files({"requirements.txt": "".join(f"{line}\n" for line in lines)})


def test_a_build_is_followed_to_its_version(server):
    with server.client() as client:
        seen = []
        build = client.build(files("numpy==2.0", "six"), name="sdk/first")
        ready = client.wait(build, on_event=seen.append)
        assert ready.state is BuildState.READY
        assert ready.way is Way.LAYERED
        assert ready.image == f"registry.example.org/sdk/first@{ready.digest}"
        assert ready.version == 1
        assert ready.stats is not None
        assert ready.stats.bytes_moved == 1_234_567
        assert isinstance(ready.ended_at, datetime)
        assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
        assert seen[-1].kind is EventKind.DONE
        assert [event.seq for event in client.events(build.id)] == [event.seq for event in seen]
        assert list(client.follow(build.id, after=seen[-1].seq)) == []


def test_the_same_request_again_is_the_same_build_and_ready_at_once(server):
    with server.client() as client:
        first = client.wait(client.build(files("six"), name="sdk/again"))
        second = client.build(files("six"), name="sdk/again")
        assert (second.id, second.state) == (first.id, BuildState.READY)
        assert client.wait(second) is second
        third = client.build(files("six"), name="sdk/again", upgrade=True)
        assert third.id != first.id


def test_a_build_that_fails_raises_its_problem_with_file_and_line(server):
    with server.client() as client:
        build = client.build(files("six", "broken"), name="sdk/fails")
        with pytest.raises(BuildFailedError) as caught:
            client.wait(build)
    assert str(caught.value) == "requirements.txt:2: There is no version of broken; check its name."
    assert caught.value.problem is not None
    assert caught.value.problem.type == "unresolvable"
    assert caught.value.problem.extra["package"] == "broken"


def test_a_cancelled_build_ends_the_wait_and_can_not_be_cancelled_after_its_end(server):
    with server.client() as client:
        build = client.build(files("slow"), name="sdk/slow")
        asked = threading.Timer(0.2, client.cancel, (build.id,))
        asked.start()
        with pytest.raises(BuildFailedError, match="cancelled"):
            client.wait(build)
        asked.join()
        assert client.cancel(build.id).state is BuildState.CANCELLED
        ready = client.wait(client.build(files("six"), name="sdk/slow"))
        with pytest.raises(KitbagError) as caught:
            client.cancel(ready.id)
        assert caught.value.problem is not None
        assert caught.value.problem.type == "build-ended"


def test_a_folder_is_uploaded_as_it_was_packed(server, tmp_path):
    (tmp_path / "requirements.txt").write_text("six\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "deep/run.sh").chmod(0o755)
    with server.client() as client:
        build = client.wait(client.build(tmp_path, name="sdk/folder", python="3.11"))
        (tmp_path / "requirements.txt").touch()
        again = client.build(tmp_path, name="sdk/folder", python="3.11")
    assert again.id == build.id
    assert server.request(build.id)["python"] == "3.11"
    kept = []
    for upload in (server.data / "uploads").iterdir():
        with tarfile.open(upload) as archive:
            kept.append(archive.getnames())
    assert kept.count(["deep/run.sh", "requirements.txt"]) == 1


def test_a_git_url_is_sent_and_named_by_the_server(server):
    with server.client() as client:
        build = client.build(
            "https://git.example.org/sdk/3DGAN.git", ref="main", subdir="train", accelerator="cuda"
        )
    assert build.environment == "default/3dgan"
    request = server.request(build.id)
    assert request["accelerator"] == "cuda"
    assert request["source"]["git"] == {
        "url": "https://git.example.org/sdk/3DGAN.git",
        "ref": "main",
        "subdir": "train",
    }


@pytest.mark.parametrize("place", ["folder", "folder/requirements.txt", "https://x.example/y"])
def test_a_worker_reads_every_source_that_the_client_sends(server, tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/requirements.txt").write_text("six\n")
    source = place if "://" in place else tmp_path / place
    with server.client() as client:
        build = client.build(source, name="sdk/contract")
    asked = BuildRequest.model_validate(dict(server.request(build.id)))
    found = asked.builder_source(server.data / "uploads")
    assert isinstance(found, (GitSource, FilesSource, ArchiveSource))
    if isinstance(found, ArchiveSource):
        assert found.path.is_file()


def test_a_plan_tells_what_would_change(server):
    with server.client() as client:
        client.wait(client.build(files("six==1", "old==1"), name="sdk/plan"))
        plan = client.plan(files("six==2", "new==1"), name="sdk/plan")
    assert plan.way is Way.LAYERED
    assert (plan.layers_known, plan.layers_new) == (40, 1)
    assert [(p.name, p.version) for p in plan.added] == [("new", "1")]
    assert [(p.name, p.version) for p in plan.removed] == [("old", "1")]
    assert plan.changed == (Change("six", "1", "2", 1000, 1000),)
    assert [package.known for package in plan.packages] == [True, False]


def test_versions_are_found_by_number_and_name_and_compared(server):
    with server.client() as client:
        for lines in (("six==1",), ("six==2", "numpy==2"), ("numpy==2",)):
            client.wait(client.build(files(*lines), name="sdk/versions"))
        assert [version.number for version in client.versions("sdk/versions")] == [3, 2, 1]
        assert client.environment("sdk/versions").latest == next(client.versions("sdk/versions"))
        version = client.version("sdk/versions:2")
        assert version.name == "sdk/versions:2"
        assert [package.name for package in version.packages_list] == ["six", "numpy"]
        assert version.lock.startswith("lock-version")
        assert [layer.packages for layer in version.layers][1:3] == [(), ("six",)]
        assert client.version("sdk/versions").number == 3
        assert client.resolve("sdk/versions:1").image == client.version("sdk/versions:1").image
        diff = client.diff("sdk/versions", "1", "latest")
        assert [package.name for package in diff.added + diff.removed] == ["numpy", "six"]
        back = client.rollback("sdk/versions", "1")
        assert (back.number, back.image) == (4, client.version("sdk/versions:1").image)


def test_lists_go_on_over_the_servers_pages(server, monkeypatch):
    monkeypatch.setattr("kitbag.client._PAGE", 2)
    with server.client() as client:
        for number in range(5):
            client.wait(client.build(files("six"), name=f"pages/e{number}"))
        assert [found.name for found in client.environments(namespace="pages")] == [
            f"pages/e{number}" for number in range(5)
        ]
        assert [found.name for found in client.environments("e3", namespace="pages")] == [
            "pages/e3"
        ]
        for number in range(5):
            client.wait(client.build(files(f"six=={number}"), name="pages/e0"))
        assert len(list(client.versions("pages/e0"))) == 6
        assert len(list(client.builds("pages/e0"))) == 6
        assert list(client.builds("pages/e0", state=BuildState.FAILED)) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sdk/none", "environment-not-found"), ("sdk/none:7", "environment-not-found")],
)
def test_what_is_not_there_is_named(server, name, kind):
    with server.client() as client, pytest.raises(KitbagError, match="none") as caught:
        client.resolve(name)
    assert caught.value.problem is not None
    assert caught.value.problem.type == kind


def test_a_server_that_asks_for_a_token_says_how_to_log_in(closed_server):
    with closed_server.client() as client, pytest.raises(KitbagError, match="asks for a token"):
        client.resolve("a/b")
    with (
        closed_server.client("wrong") as client,
        pytest.raises(KitbagError, match="does not take this token: run `kitbag login http"),
    ):
        client.resolve("a/b")
    with closed_server.client("s3cret-token") as client:
        assert list(client.environments()) == []


def test_two_threads_may_share_a_client(server):
    with server.client() as client:
        found: list[str] = []

        def build(number: int) -> None:
            built = client.build(files(f"six=={number}"), name="sdk/threads")
            found.append(str(client.wait(built).image))

        threads = [threading.Thread(target=build, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 4
