"""What people get wrong: each is one sentence with the right status and exit code."""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from e2e.servers import Embedded
from rig.git import GitServer, Repository
from rig.wheels import WheelFactory

Folder = Callable[[Mapping[str, str | bytes]], Path]
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Writes files into a folder of their own."""

    def make(files: Mapping[str, str | bytes]) -> Path:
        root = tmp_path / "source"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return root

    return make


@pytest.fixture(scope="module")
def repository(git_server: GitServer) -> Repository:
    return git_server.repository("bad-input", {"requirements.txt": "one"})


@pytest.fixture(scope="module", autouse=True)
def hostile(index: WheelFactory) -> None:
    """Wheels that nobody should install."""
    index.wheel("escaping", raw={"../../../etc/passwd": "x"})
    index.wheel("absolute", raw={"/etc/passwd": "x"})
    index.lie_about(index.wheel("liar"))


@pytest.fixture(autouse=True)
def nothing_half_done(embedded: Embedded) -> Iterator[None]:
    """After each of these the server builds on, and no file of the failed build is left."""
    yield
    embedded.build("after/all", "one")
    left = [*embedded.data.glob("cache/scratch/process-*/*")]
    deadline = time.monotonic() + 5
    while any(any(path.iterdir()) for path in left if path.is_dir()):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def refused(embedded: Embedded, *arguments: str | Path) -> str:
    """The sentence on which a command ended with exit code 2."""
    done = embedded.kitbag(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("kitbag: ")
    assert "Traceback" not in done.stderr
    return last.removeprefix("kitbag: ")


def failure(embedded: Embedded, environment: str) -> dict[str, Any]:
    """The problem of the newest build of an environment, of which no version came."""
    (build,) = embedded.get("/v1/builds", environment=environment, limit=1)["items"]
    assert build["state"] == "failed"
    assert build["image"] is None and build["version"] is None
    assert embedded.get(f"/v1/environments/{environment}")["versions"] == 0
    error: dict[str, Any] = build["error"]
    assert error["type"].startswith("https://kitbag.dev/problems/")
    assert error["detail"].count(". ") == 0 and error["detail"].endswith(".")
    return error


@pytest.mark.parametrize(
    ("arguments", "slug", "says"),
    [
        (["{no_repository}"], "source-not-found", "There is no git repository at .*; check the"),
        (
            ["https://no-such-host.invalid/x"],
            "source-unreachable",
            "The host of .* is not known; ch",
        ),
        (["{url}", "--ref", "nope"], "ref-not-found", "no branch, tag or commit 'nope'; check the"),
        (["{url}", "--subdir", "nope"], "source-not-found", "has no folder 'nope'; check the path"),
        (
            ["{url}", "--python", "3.8"],
            "base-not-found",
            "(does not answer|did not answer .* ago), and Debian brings .*; c",
        ),
    ],
)
def test_a_repository_that_is_not_as_it_was_called(
    embedded: Embedded, repository: Repository, arguments: list[str], slug: str, says: str
) -> None:
    environment = f"bad/{slug}-{len(says)}"
    urls = {
        "{url}": repository.http_url,
        "{no_repository}": repository.http_url.replace("bad-input", "nothing"),
    }
    given = [urls.get(argument, argument) for argument in arguments]
    sentence = refused(embedded, "build", *given, "--name", environment)
    assert re.search(says, sentence), sentence
    assert failure(embedded, environment)["type"].endswith(f"/{slug}")


CONTENT: list[tuple[str, Mapping[str, str | bytes], str, int | None, str]] = [
    (
        "unresolvable",
        {"requirements.txt": "two\n\none>=9\n"},
        "unresolvable",
        3,
        "requirements.txt, line 3: .*because only one<=2.0 is available and you require one>=9; ",
    ),
    (
        "contradiction",
        {"requirements.txt": "one==1.0\none>=2\n"},
        "unresolvable",
        1,
        "requirements.txt, line 1: .*you require one==1.0 and one>=2; .*loosen a version",
    ),
    (
        "misspelt",
        {"requirements.txt": "one\nnosuchpackage\n"},
        "unresolvable",
        2,
        "line 2: .*nosuchpackage was not found in the package registry.*; correct the name",
    ),
    (
        "no-wheel",
        {"requirements.txt": "one\nonlysource\n"},
        "no-wheel",
        2,
        r"onlysource 1.0 \(requirements.txt, line 2\) has no wheel for Python 3.11 on .*; pin a",
    ),
    (
        "two-configurations",
        {"binder/requirements.txt": "one", ".binder/requirements.txt": "one"},
        "config-conflict",
        None,
        "has both 'binder/' and '.binder/'; keep one of them",
    ),
    (
        "ten-megabytes",
        {"requirements.txt": b"one # x\n" * 1_300_000},
        "too-large",
        None,
        "'requirements.txt' is larger than 1 MiB; ",
    ),
    (
        "no-yaml",
        {"environment.yml": "name: x\ndependencies:\n  - python=3.11\n - pip: [\n"},
        "invalid-request",
        4,
        "environment.yml, line 4 is not a conda environment",
    ),
    (
        "no-toml",
        {"pyproject.toml": "[project\nname='x'\n"},
        "invalid-request",
        1,
        "'pyproject.toml' is not valid TOML",
    ),
    (
        "no-requirement",
        {"requirements.txt": "one\n===what is this\n"},
        "invalid-request",
        2,
        "requirements.txt, line 2 is not a requirement: '===what is this'",
    ),
    (
        "outside",
        {"requirements.txt": "-r ../other.txt\n"},
        "invalid-request",
        1,
        "line 1 includes '../other.txt', which is outside the repository; copy it inside",
    ),
    (
        "engine",
        {"apt.txt": "curl", "requirements.txt": "one"},
        "engine-needed",
        None,
        "apt.txt asks for system packages, and this server has none; leave it out",
    ),
    (
        "escaping",
        {"requirements.txt": "escaping"},
        "bad-wheel",
        None,
        r"the entry name '\.\./\.\./\.\./etc/passwd' is not allowed; ask for another version",
    ),
    (
        "absolute",
        {"requirements.txt": "absolute"},
        "bad-wheel",
        None,
        "the entry name '/etc/passwd' is not allowed; ask for another version",
    ),
    (
        "wrong-hash",
        {"requirements.txt": "liar"},
        "bad-wheel",
        None,
        "liar-1.0-py3-none-any.whl is not the file that was locked: its SHA-256 is .*; resolve",
    ),
]


@pytest.mark.parametrize(
    ("name", "files", "slug", "line", "says"), CONTENT, ids=[case[0] for case in CONTENT]
)
def test_a_folder_with_something_wrong_in_it(
    embedded: Embedded,
    folder: Folder,
    name: str,
    files: Mapping[str, str | bytes],
    slug: str,
    line: int | None,
    says: str,
) -> None:
    environment = f"wrong/{name}"
    sentence = refused(embedded, "build", folder(files), "--name", environment)
    assert re.search(says, sentence), sentence
    error = failure(embedded, environment)
    assert error["type"].endswith(f"/{slug}")
    assert error["line"] == line


def test_a_plan_is_refused_with_the_same_sentence_as_the_build(
    embedded: Embedded, folder: Folder
) -> None:
    source = folder({"requirements.txt": "nosuchpackage"})
    planned = refused(embedded, "plan", source, "--name", "wrong/plan")
    assert planned == refused(embedded, "build", source, "--name", "wrong/plan")
    answer = embedded.http.post(
        "/v1/plans",
        json={
            "environment": "wrong/plan",
            "source": {"files": {"requirements.txt": "nosuchpackage"}},
        },
    )
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("/unresolvable")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a\\..\\x", "a\0b", ""])
def test_a_file_name_that_leaves_its_folder_is_refused_at_the_door(
    embedded: Embedded, name: str
) -> None:
    answer = embedded.submit("wrong/names", files={name: "one"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"].endswith("/invalid-request")


@pytest.mark.parametrize("link", [None, "../../etc/passwd", "/etc/passwd"])
def test_an_archive_that_leaves_its_folder_is_refused(embedded: Embedded, link: str | None) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("requirements.txt" if link else "../requirements.txt")
        entry.type, entry.linkname = (tarfile.SYMTYPE, link) if link else (tarfile.REGTYPE, "")
        archive.addfile(entry)
    answer = embedded.http.post(
        "/v1/builds",
        data={"request": json.dumps({"environment": "wrong/archive"})},
        files={"archive": ("a.tar", packed.getvalue(), "application/x-tar")},
    )
    if answer.status_code == 202:  # only a look at the link's target tells
        build = embedded.wait(answer.json()["id"])
        assert build["state"] == "failed"
        problem = build["error"]
    else:
        assert answer.status_code == 422
        problem = answer.json()
    assert problem["type"].endswith("/invalid-request"), problem
    assert problem["detail"].endswith(".")


def test_a_manifest_that_is_no_yaml_is_named_with_its_line(
    embedded: Embedded, folder: Folder
) -> None:
    bad = folder({"job.yaml": "kind: TFJob\nspec:\n  a: [1, 2\nb: }\n"}) / "job.yaml"
    assert re.search(
        r"job\.yaml:4: this is not YAML", refused(embedded, "pin", bad, "--image", f"r/x@{DIGEST}")
    )
    answer = embedded.http.post(
        "/v1/pins",
        json={"text": bad.read_text(), "filename": "job.yaml", "image": f"r/x@{DIGEST}"},
    )
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"].endswith("/spec-refused")
    assert (problem["file"], problem["line"]) == ("job.yaml", 4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["build", "nowhere"], "nowhere is not there: give a folder"),
        (["build", ".", "--name", "No Way"], "'No Way' is not an environment: write"),
        (["resolve", "nobody/nothing"], "nobody/nothing"),
        (["logs", "nobuild"], "nobuild"),
        (["cancel", "nobuild"], "nobuild"),
    ],
)
def test_a_command_that_names_what_is_not_there(
    embedded: Embedded, arguments: list[str], says: str
) -> None:
    assert says in refused(embedded, *arguments)


def test_a_base_that_is_not_there_is_refused_at_the_door(
    embedded: Embedded, repository: Repository
) -> None:
    sentence = refused(embedded, "build", repository.http_url, "--base", "nope")
    assert sentence.startswith("There is no base 'nope'; ")
    assert embedded.submit("wrong/base", "one", base="nope").status_code == 422
