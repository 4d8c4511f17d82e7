"""`kitbag apply`: what kubectl is given, and what is said when it can't be run.

A real API server takes these objects in the cluster tests; here kubectl is a program that writes
down its arguments and input, and once the real one without a cluster.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

IMAGE = "registry.example.org/alice/3dgan@sha256:" + "ab" * 32
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: c, image: python:3.12}]}
"""
RECORDING = """#!/bin/sh
printf '%s\\n' "$@" > arguments
cat > input
echo pod/p serverside-applied
"""


@pytest.fixture
def recording(tmp_path) -> dict[str, str]:
    """A PATH on which kubectl writes down what it gets, in the current folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "kubectl"
    program.write_text(RECORDING)
    program.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def pod(tmp_path) -> Path:
    file = tmp_path / "pod.yaml"
    file.write_text(POD)
    return file


def test_the_pinned_objects_are_applied_on_the_server_side_as_kitbag(
    kitbag, tmp_path, pod, recording
):
    (tmp_path / "two.yaml").write_text(POD)
    done = kitbag("apply", "-f", pod, "two.yaml", "--image", IMAGE, "-n", "team", env=recording)
    assert (done.stdout, done.stderr, done.returncode) == ("pod/p serverside-applied\n", "", 0)
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments == [
        "apply",
        "--server-side",
        "--field-manager=kitbag",
        "--namespace=team",
        "-f",
        "-",
    ]
    pinned = POD.replace("python:3.12", IMAGE)
    assert (tmp_path / "input").read_text() == f"{pinned}---\n{pinned}"


def test_options_go_on_to_kubectl_and_json_tells_what_it_said(kitbag, tmp_path, pod, recording):
    more = ("--context", "gpu", "--force-conflicts", "--dry-run", "--json")
    done = kitbag("apply", "-f", pod, "--image", IMAGE, *more, env=recording)
    said = json.loads(done.stdout)
    assert said["applied"] == ["pod/p serverside-applied"]
    assert said["files"][0]["changes"][0]["after"] == IMAGE
    arguments = (tmp_path / "arguments").read_text().split()
    assert {"--context=gpu", "--force-conflicts", "--dry-run=server"} <= set(arguments)


def test_nothing_is_applied_when_one_file_is_refused(kitbag, tmp_path, pod, recording):
    (tmp_path / "chart.yaml").write_text("a: {{ .Values.x }}\n{{- if y }}\n")
    done = kitbag("apply", "-f", pod, "-f", "chart.yaml", "--image", IMAGE, env=recording)
    assert done.returncode == 2
    assert "chart.yaml:" in done.stderr
    assert "nothing is applied" in done.stderr
    assert not (tmp_path / "arguments").exists()


def test_notebook_files_of_a_folder_are_passed_over_and_refused_by_name(
    kitbag, tmp_path, recording
):
    folder = tmp_path / "k8s"
    folder.mkdir()
    (folder / "pod.yaml").write_text(POD)
    (folder / "n.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4}')
    assert kitbag("apply", "-f", folder, "--image", IMAGE, env=recording).returncode == 0
    assert (tmp_path / "input").read_text() == POD.replace("python:3.12", IMAGE)
    done = kitbag("apply", "-f", folder / "n.ipynb", "--image", IMAGE, env=recording)
    assert done.returncode == 2
    assert "n.ipynb is no Kubernetes object" in done.stderr


def test_a_machine_without_kubectl_is_told_so(kitbag, tmp_path, pod):
    done = kitbag("apply", "-f", pod, "--image", IMAGE, env={"PATH": str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr.startswith("kitbag: kubectl is not on PATH")


def test_the_reason_of_the_real_kubectl_is_shown(kitbag, tmp_path, pod):
    if shutil.which("kubectl") is None:
        reason = "kubectl is not installed: `apt-get install kubernetes-client` brings it"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    config = tmp_path / "kubeconfig"
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: x,"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}],"
        " contexts: [{name: x, context: {cluster: c, user: u}}], users: [{name: u, user: {}}]}"
    )
    done = kitbag("apply", "-f", pod, "--image", IMAGE, env={"KUBECONFIG": str(config)})
    assert done.returncode == 2
    assert "refused" in done.stderr
    assert "kitbag: kubectl apply ended with exit code 1" in done.stderr
    assert done.stdout == ""
