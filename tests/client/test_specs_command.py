"""`kitbag specs ls`, the user's own kinds, and what pin adds to pull an image."""

from __future__ import annotations

import json

import yaml

IMAGE = "registry.example.org/alice/3dgan@sha256:" + "ab" * 32
WIDGET = "apiVersion: example.com/v1\nkind: Widget\nspec: {image: old}\n"
TABLE = """\
kinds:
- kind: Widget
  group: example.com
  places:
  - image: spec.image
  - text: spec.workflow
    holds: argo
"""
POD = "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: old}]}\n"


def test_the_table_is_printed_with_where_the_images_are(kitbag):
    done = kitbag("specs", "ls")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split() == ["KIND", "GROUP", "WHICH", "WHERE"]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("TFJob")]
    assert "kubeflow.org" in line
    assert line.endswith("spec.tfReplicaSpecs.*.template")


def test_json_says_everything_of_a_row(kitbag):
    rows = json.loads(kitbag("specs", "ls", "--json").stdout)["kinds"]
    (row,) = [row for row in rows if row["kinds"] == ["Notebook"]]
    assert row["table"] == "kinds.yaml"
    (place,) = row["places"]
    assert (place["form"], place["at"], place["choose"]) == ("template", "spec.template", "first")
    assert place["secrets"] == "spec.imagePullSecrets"


def test_kinds_of_ones_own_are_pinned_and_listed_first(kitbag, tmp_path):
    (tmp_path / "widget.yaml").write_text(WIDGET)
    (tmp_path / "kinds.yaml").write_text(TABLE)
    unknown = kitbag("pin", "widget.yaml", "--image", IMAGE)
    assert unknown.stdout == WIDGET
    env = {"KITBAG_KINDS": str(tmp_path / "kinds.yaml")}
    done = kitbag("pin", "widget.yaml", "--image", IMAGE, env=env)
    assert done.stdout == WIDGET.replace("old", IMAGE)
    rows = json.loads(kitbag("specs", "ls", "--json", env=env).stdout)["kinds"]
    assert rows[0]["table"] == str(tmp_path / "kinds.yaml")


def test_the_configuration_may_name_the_table(kitbag, tmp_path):
    folder = tmp_path / "config/kitbag"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('kinds = "mine.yaml"\n')
    (folder / "mine.yaml").write_text(TABLE)
    (tmp_path / "widget.yaml").write_text(WIDGET)
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    done = kitbag("pin", "widget.yaml", "--image", IMAGE, env=env)
    assert done.stdout == WIDGET.replace("old", IMAGE)


def test_a_table_that_is_wrong_or_missing_is_named(kitbag, tmp_path):
    (tmp_path / "kinds.yaml").write_text("kinds:\n- {kind: A, group: a, colour: red}\n")
    (tmp_path / "broken.yaml").write_text("kinds: [\n")
    for name, said in (
        ("kinds.yaml", "kinds.yaml:2: 'colour'"),
        ("broken.yaml", "not YAML"),
        ("no", "can't"),
    ):
        done = kitbag("specs", "ls", env={"KITBAG_KINDS": str(tmp_path / name)})
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_what_it_takes_to_pull_is_added_and_checked(kitbag, tmp_path):
    (tmp_path / "pod.yaml").write_text(POD)
    asked = (
        "--image",
        IMAGE,
        "--pull-secret",
        "regcred",
        "--pull-secret",
        "other",
        "--pull-policy",
        "always",
    )
    assert kitbag("pin", "pod.yaml", *asked, "--check").returncode == 1
    assert kitbag("pin", "pod.yaml", *asked, "-i").returncode == 0
    spec = yaml.safe_load((tmp_path / "pod.yaml").read_text())["spec"]
    assert spec["imagePullSecrets"] == [{"name": "regcred"}, {"name": "other"}]
    assert spec["containers"] == [{"name": "a", "image": IMAGE, "imagePullPolicy": "Always"}]
    assert kitbag("pin", "pod.yaml", *asked, "--check").returncode == 0


def test_a_secret_that_can_have_no_such_name_is_refused(kitbag, tmp_path):
    (tmp_path / "pod.yaml").write_text(POD)
    done = kitbag("pin", "pod.yaml", "--image", IMAGE, "--pull-secret", "a: b")
    assert done.returncode == 2
    assert "no secret's name" in done.stderr
