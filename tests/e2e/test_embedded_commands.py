"""The `kitbag` command against an embedded server: what it prints, and how it exits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e.servers import ROOT, Embedded, SlowIndex

ENVIRONMENT = "hep/3dgan"
PINNED = ("k8s/notebook.yaml", "pipeline.yaml", "k8s/tfjob.yaml")


@pytest.fixture(scope="module")
def builds(embedded: Embedded) -> list[dict[str, Any]]:
    """Two builds of one environment: `one` and `two`, then `three` added and `one` older."""
    return [
        embedded.build(ENVIRONMENT, "two"),
        embedded.build(ENVIRONMENT, "two", "one<2", "three"),
    ]


def shown(embedded: Embedded, *arguments: str) -> Any:
    """The JSON that a command prints, which must succeed."""
    done = embedded.kitbag(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_resolve_prints_the_digest_of_a_version(
    embedded: Embedded, builds: list[dict[str, Any]]
) -> None:
    latest = embedded.kitbag("resolve", ENVIRONMENT)
    assert (latest.returncode, latest.stdout) == (0, builds[1]["image"] + "\n")
    assert shown(embedded, "resolve", f"{ENVIRONMENT}:1")["digest"] == builds[0]["digest"]


def test_ls_show_and_history_name_what_was_built(
    embedded: Embedded, builds: list[dict[str, Any]]
) -> None:
    assert ENVIRONMENT in embedded.kitbag("ls").stdout
    names = [item["name"] for item in shown(embedded, "ls", "--namespace", "hep")["items"]]
    assert ENVIRONMENT in names
    text = embedded.kitbag("show", f"{ENVIRONMENT}:1").stdout
    assert builds[0]["image"] in text
    lock = shown(embedded, "show", f"{ENVIRONMENT}:1")["lock"]
    assert 'name = "two"' in lock
    numbers = [item["number"] for item in shown(embedded, "history", ENVIRONMENT)["items"]]
    assert numbers[-2:] == [2, 1]


def test_diff_says_what_changed(embedded: Embedded, builds: list[dict[str, Any]]) -> None:
    done = embedded.kitbag("diff", f"{ENVIRONMENT}:1", ":2")
    assert done.returncode == 0
    assert "+ three 1.0" in done.stdout
    assert "~ one 2.0 -> 1.0" in done.stdout
    found = shown(embedded, "diff", f"{ENVIRONMENT}:1", f"{ENVIRONMENT}:2")
    changed = [(item["name"], item["before"], item["after"]) for item in found["changed"]]
    assert changed == [("one", "2.0", "1.0")]
    assert found["bytes_to_move"] == sum(layer["size_bytes"] for layer in found["layers_new"])


def test_rollback_is_a_new_version_of_the_old_image(embedded: Embedded) -> None:
    old = embedded.build("cli/back", "one")
    embedded.build("cli/back", "one", "four")
    done = embedded.kitbag("rollback", "cli/back", "--to", "1")
    assert (done.returncode, done.stdout) == (0, old["image"] + "\n")
    assert shown(embedded, "resolve", "cli/back") == {
        "environment": "cli/back",
        "version": 3,
        "accelerator": "cpu",
        "image": old["image"],
        "digest": old["digest"],
        "images": {"cpu": old["image"]},
        "target": None,
        "pull_secret": None,
    }


def test_plan_says_what_would_move_and_builds_nothing(
    embedded: Embedded, builds: list[dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("two\none<2\nthree\nfour\n")
    plan = shown(embedded, "plan", str(file), "--name", ENVIRONMENT)
    assert plan["way"] == "layered"
    assert [(item["name"], item["version"]) for item in plan["added"]] == [("four", "1.0")]
    assert plan["layers"]["known"] >= 3
    assert {item["name"] for item in plan["packages"]} == {"four", "one", "pip", "three", "two"}
    text = embedded.kitbag("plan", file, "--name", ENVIRONMENT)
    assert text.returncode == 0
    assert "+ four 1.0" in text.stdout
    assert "jupyterlab" in text.stderr
    versions = embedded.get(f"/v1/environments/{ENVIRONMENT}/versions")["items"]
    assert "four" not in {name["name"] for name in embedded_packages(embedded, versions[0])}


def embedded_packages(embedded: Embedded, version: dict[str, Any]) -> list[dict[str, Any]]:
    path = f"/v1/environments/{version['environment']}/versions/{version['number']}"
    found: list[dict[str, Any]] = embedded.get(path)["packages_list"]
    return found


def test_logs_tell_a_build_from_its_first_line_to_its_last(
    embedded: Embedded, builds: list[dict[str, Any]]
) -> None:
    done = embedded.kitbag("logs", builds[0]["id"])
    followed = embedded.kitbag("logs", "-f", builds[0]["id"])
    assert done.returncode == followed.returncode == 0
    assert "resolving" in done.stdout
    assert followed.stdout == done.stdout
    lines = embedded.kitbag("logs", builds[0]["id"], "--json").stdout.splitlines()
    assert json.loads(lines[-1])["kind"] == "done"


def test_cancel_stops_a_build_that_was_not_waited_for(
    embedded: Embedded, slow_index: SlowIndex, tmp_path: Path
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"--index-url {slow_index.url}\nfour\n")
    begun = embedded.kitbag("build", file, "--name", "cli/stop", "--no-wait")
    build = begun.stdout.strip()
    assert begun.returncode == 0
    cancelled = embedded.kitbag("cancel", build)
    assert cancelled.returncode == 0
    assert build in cancelled.stdout
    assert embedded.wait(build, timeout_s=30)["state"] == "cancelled"
    again = embedded.kitbag("logs", "-f", build)
    assert again.returncode == 0
    assert again.stdout.rstrip().endswith("Cancelled.")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("resolve", "cli/nowhere"), "cli/nowhere"),
        (("show", f"{ENVIRONMENT}:99"), "99"),
        (("logs", "nosuchbuild"), "nosuchbuild"),
        (("diff", f"{ENVIRONMENT}:1", "cli/back:1"), "two environments"),
        (("build", "/no/such/folder"), "/no/such/folder"),
        (("rollback", ENVIRONMENT, "--to", "99"), "99"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    embedded: Embedded, builds: list[dict[str, Any]], arguments: tuple[str, ...], says: str
) -> None:
    done = embedded.kitbag(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("kitbag: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_a_build_that_fails_names_the_line_that_asked_for_it(
    embedded: Embedded, tmp_path: Path
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("one\nnosuchpackage\n")
    done = embedded.kitbag("build", file, "--name", "cli/fails")
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.strip().splitlines()[-1]
    assert "requirements.txt" in last
    assert "nosuchpackage" in last
    failed = json.loads(embedded.kitbag("build", file, "--name", "cli/fails", "--json").stdout)
    assert failed["state"] == "failed"
    assert failed["error"]["line"] == 2
    assert failed["error"]["status"] == 422


def test_the_example_is_pinned_to_the_digest_and_nothing_else_changes(
    embedded: Embedded, builds: list[dict[str, Any]], tmp_path: Path
) -> None:
    example = tmp_path / "3dgan"
    shutil.copytree(ROOT / "examples/3dgan", example)
    image = builds[1]["image"]
    check = embedded.kitbag("pin", *PINNED, "--env", f"{ENVIRONMENT}:2", "--check", cwd=example)
    assert check.returncode == 1
    pin = embedded.kitbag("pin", *PINNED, "--env", f"{ENVIRONMENT}:2", "-i", cwd=example)
    assert pin.returncode == 0, pin.stderr
    for name in PINNED:
        before = (ROOT / "examples/3dgan" / name).read_text().splitlines()
        after = (example / name).read_text().splitlines()
        assert len(before) == len(after)
        changed = [new for old, new in zip(before, after, strict=True) if old != new]
        assert changed
        assert all(image in line and "image" in line for line in changed)
    again = embedded.kitbag("pin", *PINNED, "--env", f"{ENVIRONMENT}:2", "--check", cwd=example)
    assert (again.returncode, again.stdout) == (0, "")


def test_the_api_pins_as_the_command_does(embedded: Embedded, builds: list[dict[str, Any]]) -> None:
    text = (ROOT / "examples/3dgan/k8s/tfjob.yaml").read_text()
    answer = embedded.http.post(
        "/v1/pins", json={"text": text, "filename": "tfjob.yaml", "environment": ENVIRONMENT}
    )
    assert answer.status_code == 200, answer.text
    file = embedded.kitbag("pin", "-", "--env", ENVIRONMENT, stdin=text)
    assert answer.json()["text"] == file.stdout


def test_verify_builds_it_again_and_a_base_of_the_same_digest_has_nothing_to_rebase(
    embedded: Embedded, builds: list[dict[str, Any]]
) -> None:
    done = embedded.kitbag("verify", f"{ENVIRONMENT}:1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{ENVIRONMENT}:1 is equal: {builds[0]['digest']}\n"
    assert shown(embedded, "verify", ENVIRONMENT)["equal"] is True
    base = shown(embedded, "show", ENVIRONMENT)["base"]
    found = shown(embedded, "rebase", "--base", base, base, "hep/*")
    assert (found["new"]["name"], found["items"]) == (base, [])
    unknown = embedded.kitbag("rebase", "--base", base, "nowhere")
    assert unknown.returncode == 2 and "nowhere" in unknown.stderr
