"""resolve, ls, show, history, diff, rollback, login, and pin with environments."""

from __future__ import annotations

import json
import stat

import pytest

from kitbag import Files
from kitbag.cli.output import print_bars

from .conftest import TOKEN


@pytest.fixture(scope="module")
def versions(server) -> list[str]:
    """The images of three versions of env/gan."""
    with server.client() as client:
        return [
            str(
                client.wait(
                    client.build(Files({"requirements.txt": f"six=={number}\n"}), name="env/gan")
                ).image
            )
            for number in (1, 2, 3)
        ]


def test_resolve_prints_the_reference_of_the_version_that_is_named(kitbag, server, versions):
    for name, image in (("env/gan", versions[2]), ("env/gan:1", versions[0])):
        done = kitbag("resolve", name, env=server.env)
        assert (done.stdout, done.stderr, done.returncode) == (f"{image}\n", "", 0)
    found = json.loads(kitbag("resolve", "env/gan:2", "--json", env=server.env).stdout)
    assert (found["environment"], found["version"], found["image"]) == ("env/gan", 2, versions[1])


def test_what_is_not_there_is_one_line_and_two(kitbag, server, versions):
    done = kitbag("resolve", "env/none", env=server.env)
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.startswith("kitbag: There is no environment")
    assert len(done.stderr.splitlines()) == 1
    done = kitbag("show", "env/gan:77", env=server.env)
    assert done.returncode == 2
    assert "77" in done.stderr


def test_environments_are_listed_in_columns_and_as_json(kitbag, server, versions):
    header, row = kitbag("ls", "--namespace", "env", env=server.env).stdout.splitlines()[:2]
    assert header.split() == [
        "ENVIRONMENT",
        "VERSION",
        "PACKAGES",
        "SIZE",
        "PYTHON",
        "UPDATED",
        "DIGEST",
    ]
    assert row.startswith("env/gan ")
    assert "147.0 MB" in row
    found = json.loads(kitbag("ls", "gan", "--json", env=server.env).stdout)
    assert "env/gan" in [item["name"] for item in found["items"]]
    assert kitbag("ls", "nothing-has-this", env=server.env).stdout.splitlines() == [
        "ENVIRONMENT  VERSION  PACKAGES  SIZE  PYTHON  UPDATED  DIGEST"
    ]


def test_a_version_is_shown_with_packages_and_layers(kitbag, server, versions):
    shown = kitbag("show", "env/gan:2", env=server.env).stdout
    assert f"image        {versions[1]}\n" in shown
    assert "six      2        1.0 kB\n" in shown
    layers = shown.partition("LAYER")[2].splitlines()[1:]
    held = [line.partition(" B ")[2].strip() for line in layers]
    assert held == ["(the base)", "(an empty environment)", "six", "(the lock)"]
    found = json.loads(kitbag("show", "env/gan:2", "--json", env=server.env).stdout)
    assert found["packages_list"] == [{"name": "six", "version": "2", "size_bytes": 1000}]


def test_the_history_is_newest_first(kitbag, server, versions):
    rows = kitbag("history", "env/gan", env=server.env).stdout.splitlines()[1:]
    numbers = [int(row.split()[0]) for row in rows]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[-3:] == [3, 2, 1]
    found = json.loads(kitbag("history", "env/gan", "--json", env=server.env).stdout)
    assert [item["number"] for item in found["items"]] == numbers


@pytest.mark.parametrize("after", [":2", "env/gan:2"])
def test_versions_are_compared(kitbag, server, versions, after):
    done = kitbag("diff", "env/gan:1", after, env=server.env)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "~ six 1 -> 2 (1.0 kB)"
    assert "a node fetches" in done.stdout.splitlines()[-1]
    found = json.loads(kitbag("diff", "env/gan:1", after, "--json", env=server.env).stdout)
    sizes = {"before_bytes": 1000, "after_bytes": 1000}
    assert found["changed"] == [{"name": "six", "before": "1", "after": "2"} | sizes]


def test_the_biggest_packages_are_drawn_as_bars(capsys):
    print_bars([("torch", 900_000_000), ("numpy", 18_000_000), ("six", 0)], width=10)
    assert capsys.readouterr().out.splitlines() == [
        "torch  900.0 MB  ██████████",
        "numpy   18.0 MB  ▎",
        "six         0 B  ▏",
    ]


def test_show_sizes_adds_up(kitbag, server, versions):
    lines = kitbag("show", "env/gan:2", "--sizes", env=server.env).stdout.splitlines()
    assert lines[0].startswith("six    1.0 kB  ████")
    assert lines[-1].startswith("env/gan:2: 1 package, 1.0 kB of wheels; 147.0 MB to pull: ")
    assert lines[-1].endswith(" of packages as installed, on a base of 15 B")


def test_a_rollback_is_a_new_version_with_the_old_image(kitbag, server, versions):
    done = kitbag("rollback", "env/gan", "--to", "1", env=server.env)
    assert done.stdout == f"{versions[0]}\n"
    assert "is the image of version 1" in done.stderr
    assert kitbag("resolve", "env/gan", env=server.env).stdout == f"{versions[0]}\n"
    kitbag("rollback", "env/gan", "--to", "3", env=server.env)


def test_an_environment_is_pinned_and_references_are_resolved_each_once(
    kitbag, server, versions, tmp_path
):
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
        "spec: {containers: [{name: c, image: python:3.12}]}\n"
    )
    (tmp_path / "refs.yaml").write_text("a: kitbag://env/gan:1\nb: kitbag://env/gan:2\n")
    (tmp_path / "gone.yaml").write_text("a: kitbag://env/none\n")
    done = kitbag("pin", ".", "--env", "env/gan:3", "-i", env=server.env)
    assert done.returncode == 2
    assert "gone.yaml: There is no environment" in done.stderr
    assert versions[2] in (tmp_path / "pod.yaml").read_text()
    assert (tmp_path / "refs.yaml").read_text() == f"a: {versions[0]}\nb: {versions[1]}\n"
    assert (tmp_path / "gone.yaml").read_text() == "a: kitbag://env/none\n"


def test_without_an_environment_only_references_and_annotations_are_pinned(
    kitbag, server, versions, tmp_path
):
    (tmp_path / "a.yaml").write_text(
        "apiVersion: v1\nkind: Pod\n"
        "metadata:\n  name: p\n  annotations: {kitbag.dev/environment: env.gan.2}\n"
        "spec: {containers: [{name: c, image: x}]}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: q}\n"
        "spec: {containers: [{name: c, image: untouched}]}\n"
    )
    done = kitbag("pin", "a.yaml", env=server.env)
    assert (done.stderr, done.returncode) == ("", 0)
    assert f"image: {versions[1]}" in done.stdout
    assert "image: untouched" in done.stdout


def test_pin_of_an_environment_that_is_not_there_writes_nothing(kitbag, server, tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1\n")
    done = kitbag("pin", "a.yaml", "--env", "env/none", env=server.env)
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.startswith("kitbag: There is no environment")


def test_login_keeps_a_token_that_the_server_takes(kitbag, closed_server, home):
    url = closed_server.url
    assert "asks for a token: run `kitbag login" in kitbag("ls", env=closed_server.env).stderr
    wrong = kitbag("login", url, "--token-stdin", stdin="wrong\n")
    assert wrong.returncode == 2
    assert "does not take this token" in wrong.stderr
    file = home / ".config/kitbag/config.toml"
    assert not file.exists()
    done = kitbag("login", url, "--token-stdin", "--json", stdin=f"{TOKEN}\n")
    assert json.loads(done.stdout) == {"url": url, "config": str(file)}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kitbag("ls").returncode == 0
    assert TOKEN not in done.stdout + done.stderr


def test_login_without_a_token_says_that_one_is_needed_or_saves_the_address(
    kitbag, server, closed_server, versions
):
    assert kitbag("login", closed_server.url).returncode == 2
    assert kitbag("login", server.url).returncode == 0
    assert kitbag("resolve", "env/gan:1").stdout == f"{versions[0]}\n"
    empty = kitbag("login", server.url, "--token-stdin")
    assert "found no token on stdin" in empty.stderr


def test_who_has_a_package_is_listed(kitbag, server, versions):
    done = kitbag("who-has", "six<3", "--all", env=server.env)
    rows = [line.split()[:3] for line in done.stdout.splitlines()]
    assert (rows[0], done.returncode) == (["ENVIRONMENT", "VERSION", "RELEASE"], 0)
    assert [row for row in rows if row[0] == "env/gan"][-2:] == [
        ["env/gan", "2", "2"],
        ["env/gan", "1", "1"],
    ]
    found = json.loads(kitbag("who-has", "six==3", "--all", "--json", env=server.env).stdout)
    assert {"environment": "env/gan", "version": 3, "image": versions[2], "releases": ["3"]} in (
        found["items"]
    )
    none = kitbag("who-has", "six>99", env=server.env)
    assert (none.stdout, none.returncode) == ("", 1)
    assert none.stderr == "kitbag: no latest version of any environment has it\n"
