"""`kitbag pin` on files, folders and stdin, without a server."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kitbag.manifests import joined

from .conftest import KITBAG

IMAGE = "registry.example.org/alice/3dgan@sha256:" + "ab" * 32
NOTEBOOK = """\
# keep me
apiVersion: kubeflow.org/v1
kind: Notebook
metadata: {name: nb}
spec:
  template:
    spec:
      containers:
      - name: nb   # mine
        image: 'jupyter:v1'
"""
PINNED = NOTEBOOK.replace("jupyter:v1", IMAGE)
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: c, image: python:3.12}]}
"""
REFERENCE = "someone: kitbag://alice/3dgan:4\n"
TEMPLATE = "kind: Pod\nspec:\n  {{- if .Values.x }}\n  a: 1\n"


@pytest.fixture
def manifests(tmp_path):
    """A folder with two manifests, a template and files that are none."""
    folder = tmp_path / "k8s"
    (folder / "deep").mkdir(parents=True)
    (folder / "nb.yaml").write_text(NOTEBOOK)
    (folder / "deep/pod.yml").write_text(POD)
    (folder / "README.md").write_text("image: x\n")
    return folder


def test_one_file_goes_to_stdout_and_differs_in_the_image_alone(kitbag, manifests):
    done = kitbag("pin", manifests / "nb.yaml", "--image", IMAGE)
    assert (done.stdout, done.stderr, done.returncode) == (PINNED, "", 0)
    assert (manifests / "nb.yaml").read_text() == NOTEBOOK


def test_bytes_that_are_not_the_image_stay_crlf_and_bom_too(kitbag, tmp_path):
    data = ("\ufeff" + NOTEBOOK).replace("\n", "\r\n").encode()
    (tmp_path / "nb.yaml").write_bytes(data)
    assert kitbag("pin", "nb.yaml", "-i", "--image", IMAGE).returncode == 0
    assert (tmp_path / "nb.yaml").read_bytes() == data.replace(b"jupyter:v1", IMAGE.encode())


def test_a_dash_reads_stdin(kitbag):
    done = kitbag("pin", "-", "--image", IMAGE, stdin=NOTEBOOK)
    assert (done.stdout, done.returncode) == (PINNED, 0)


def test_several_files_become_one_yaml_stream(kitbag, tmp_path):
    (tmp_path / "a.yaml").write_text(POD.rstrip("\n"))
    (tmp_path / "b.yaml").write_text("# second\n---\n" + NOTEBOOK)
    (tmp_path / "c.yaml").write_text("%YAML 1.1\n---\na: 1\n")
    (tmp_path / "d.yaml").write_text(POD)
    done = kitbag("pin", "a.yaml", "b.yaml", "c.yaml", "d.yaml", "--image", IMAGE)
    pod = POD.replace("python:3.12", IMAGE)
    expected = f"{pod}# second\n---\n{PINNED}---\n...\n%YAML 1.1\n---\na: 1\n---\n{pod}"
    assert done.stdout == expected
    assert "c.yaml: no image that pin knows is in it" in done.stderr


def test_a_folder_is_written_below_another_with_the_same_paths(kitbag, manifests, tmp_path):
    done = kitbag("pin", manifests, "--image", IMAGE, "-o", tmp_path / "out")
    assert done.returncode == 0
    assert done.stdout == ""
    written = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.y*ml")}
    assert written == {"nb.yaml", "deep/pod.yml"}
    assert (tmp_path / "out/nb.yaml").read_text() == PINNED
    assert "nb.yaml:10: jupyter:v1 -> " in done.stderr


def test_a_file_given_by_a_relative_path_keeps_it_below_the_output(kitbag, manifests, tmp_path):
    done = kitbag("pin", "k8s/deep/pod.yml", "--image", IMAGE, "-o", "out")
    assert done.returncode == 0
    assert (tmp_path / "out/k8s/deep/pod.yml").is_file()


def test_two_files_for_one_place_are_not_written_over_each_other(kitbag, manifests, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/nb.yaml").write_text(POD)
    done = kitbag("pin", manifests, tmp_path / "other", "--image", IMAGE, "-o", "out")
    assert done.returncode == 2
    assert "nb.yaml: can't be written: it is already that of" in done.stderr
    assert (tmp_path / "out/nb.yaml").read_text() == PINNED


def test_a_refused_file_is_reported_and_the_rest_go_on(kitbag, manifests, tmp_path):
    (manifests / "chart.yaml").write_text(TEMPLATE)
    done = kitbag("pin", manifests, "--image", IMAGE, "-o", "out")
    assert done.returncode == 2
    assert "chart.yaml:3: this is a template" in done.stderr
    assert not (tmp_path / "out/chart.yaml").exists()
    assert (tmp_path / "out/nb.yaml").read_text() == PINNED


def test_in_place_keeps_mode_and_links_and_leaves_nothing_else_behind(kitbag, manifests):
    file = manifests / "nb.yaml"
    file.chmod(0o640)
    (manifests / "link.yaml").symlink_to("nb.yaml")
    before = sorted(manifests.iterdir())
    assert kitbag("pin", manifests / "link.yaml", "-i", "--image", IMAGE).returncode == 0
    assert file.read_text() == PINNED
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (manifests / "link.yaml").is_symlink()
    assert sorted(manifests.iterdir()) == before


def test_in_place_leaves_a_file_alone_that_is_pinned_already(kitbag, manifests):
    kitbag("pin", manifests, "-i", "--image", IMAGE)
    before = (manifests / "nb.yaml").stat()
    assert kitbag("pin", manifests, "-i", "--image", IMAGE).stderr == ""
    assert (manifests / "nb.yaml").stat().st_ino == before.st_ino


def test_check_says_one_while_something_would_change_and_zero_afterwards(kitbag, manifests):
    done = kitbag("pin", manifests, "--check", "--image", IMAGE)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert (manifests / "nb.yaml").read_text() == NOTEBOOK
    kitbag("pin", manifests, "-i", "--image", IMAGE)
    done = kitbag("pin", manifests, "--check", "--image", IMAGE)
    assert (done.stdout, done.returncode) == ("", 0)


def test_diff_is_a_patch_and_changes_nothing(kitbag, manifests):
    done = kitbag("pin", manifests / "nb.yaml", "--diff", "--image", IMAGE)
    assert done.returncode == 0
    assert f"-        image: 'jupyter:v1'\n+        image: '{IMAGE}'\n" in done.stdout
    assert (manifests / "nb.yaml").read_text() == NOTEBOOK
    assert kitbag("pin", manifests, "--diff", "--check", "--image", IMAGE).returncode == 1


def test_json_tells_every_change_with_its_place(kitbag, manifests):
    (manifests / "chart.yaml").write_text(TEMPLATE)
    done = kitbag("pin", manifests, "--json", "--image", IMAGE)
    assert done.returncode == 2
    files = {Path(one["file"]).name: one for one in json.loads(done.stdout)["files"]}
    assert "template" in files["chart.yaml"]["error"]
    assert files["nb.yaml"]["text"] == PINNED
    (change,) = files["nb.yaml"]["changes"]
    assert change["before"] == "jupyter:v1"
    assert change["after"] == IMAGE
    assert (change["line"], change["kind"], change["container"]) == (10, "Notebook", "nb")


def test_a_reference_without_a_server_says_how_to_get_one(kitbag, tmp_path):
    (tmp_path / "a.yaml").write_text(REFERENCE)
    done = kitbag("pin", "a.yaml", env={"KITBAG_URL": "http://127.0.0.1:9"})
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr == (
        "kitbag: no server answers at http://127.0.0.1:9 (Connection refused): start one with"
        " `kitbag-server up`, or set KITBAG_URL\n"
    )


def test_a_reference_elsewhere_stays_when_only_an_image_is_given(kitbag, tmp_path):
    (tmp_path / "a.yaml").write_text(REFERENCE)
    done = kitbag("pin", "a.yaml", "--image", IMAGE)
    assert (done.stdout, done.returncode) == (REFERENCE, 0)
    assert "kitbag://alice/3dgan:4 is left as it is" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a.yaml", "-i", "-o", "out"), "exclude each other"),
        (("a.yaml", "-i", "--check"), "exclude each other"),
        (("a.yaml", "--env", "a/b", "--image", "x"), "exclude each other"),
        (("-", "-i", "--image", "x"), "stdin has no place"),
        (("a.yaml", "--env", "A B"), "is not an environment"),
        (("a.yaml", "--image", "A B"), "is not an image reference"),
        (("none.yaml", "--image", "x"), "none.yaml: is not there"),
        ((".", "--image", "x"), "holds no .yaml"),
        ((), "Missing argument"),
    ],
)
def test_what_can_not_be_asked_is_two_with_a_reason(kitbag, tmp_path, arguments, sentence):
    done = kitbag("pin", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert sentence in done.stderr


def test_a_folder_that_may_not_be_written_to_is_an_error_of_one_line(kitbag, manifests, tmp_path):
    (tmp_path / "out").write_text("a file")
    done = kitbag("pin", manifests, "--image", IMAGE, "-o", "out/deep")
    assert done.returncode == 2
    assert "can't be written: Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_whose_name_is_not_utf8_can_be_pinned_and_named(kitbag, tmp_path):
    name = b"nb-\xff.yaml"
    (Path(os.fsdecode(bytes(tmp_path))) / os.fsdecode(name)).write_text(NOTEBOOK)
    done = kitbag("pin", tmp_path, "-i", "--image", IMAGE)
    assert done.returncode == 0
    assert "nb-?.yaml:10: jupyter:v1 -> " in done.stderr
    assert (tmp_path / os.fsdecode(name)).read_text() == PINNED
    for option in ("--check", "--diff", "--json"):
        done = kitbag("pin", tmp_path, option, "--image", IMAGE[:-1] + "0")
        assert done.returncode == (1 if option == "--check" else 0)
        assert done.stdout


def test_a_disk_without_room_leaves_the_file_as_it_was(manifests, clean_env):
    before = sorted(manifests.iterdir())
    command = f"ulimit -f 0; exec '{KITBAG}' pin nb.yaml -i --image {IMAGE}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=manifests, env=clean_env, capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr == "kitbag: nb.yaml: can't be written: File too large\n"
    assert (manifests / "nb.yaml").read_text() == NOTEBOOK
    assert sorted(manifests.iterdir()) == before


PIECES = [
    POD,
    NOTEBOOK,
    "\ufeff# c\n",
    "# c\n",
    "",
    "a: 1",
    "--- {a: 1}\n...\n",
    "%YAML 1.1\n---\nb: [1]\n",
    "---\na: |\n  x\n",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=5))
def test_joined_files_mean_what_they_meant_apart(texts):
    def meant(text: str) -> list[object]:
        return [document for document in YAML(typ="safe").load_all(text) if document is not None]

    whole = joined([text.encode() for text in texts]).decode()
    assert meant(whole) == [document for text in texts for document in meant(text)]
