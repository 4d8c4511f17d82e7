"""Images that a file keeps in parts, or offers several of, and notebooks with an image inside."""

from __future__ import annotations

import json

import pytest
from conftest import Registry

from kitbag.specs import AmbiguousContainerError, Target, WriteError, pin

HEX = "c0ffee42" * 8
IMAGE = f"r.example.org:5000/kitbag/alice/3dgan@sha256:{HEX}"

HUB = """\
# values of Zero to JupyterHub
hub: {{db: {{type: sqlite-pvc}}}}
singleuser:
  image:
    name: {name}   # what everybody starts
    tag: "{tag}"
  extraImage: jupyter/base:1
"""
KUSTOMIZATION = """\
resources: [notebook.yaml]
images:
- name: gan3d          # a name in the resources
  newName: {name}
  digest: {digest}
"""


def test_jupyterhub_values_get_the_digest_split_over_name_and_tag() -> None:
    before = HUB.format(name="jupyter/minimal", tag="2024-01-01")
    pinned = pin(before.encode(), Target(image=IMAGE))
    name, _, _ = IMAGE.rpartition(":")
    assert pinned.data.decode() == HUB.format(name=name, tag=HEX)
    assert pin(pinned.data, Target(image=IMAGE)).changes == ()
    with_tag = pin(before.encode(), Target(image="r.io/a:v1")).data.decode()
    assert with_tag == HUB.format(name="r.io/a", tag="v1")


def test_a_profile_list_of_two_images_needs_a_name() -> None:
    text = """\
singleuser:
  profileList:
  - display_name: Small
    kubespawner_override: {image: a/small:1}
  - display_name: Large
    kubespawner_override: {image: a/large:1}
"""
    with pytest.raises(AmbiguousContainerError, match="Small, Large"):
        pin(text.encode(), Target(image=IMAGE))
    pinned = pin(text.encode(), Target(image=IMAGE), container="Large")
    assert pinned.data.decode() == text.replace("a/large:1", IMAGE)


def test_kustomize_gets_a_new_name_and_a_digest(registry: Registry) -> None:
    before = KUSTOMIZATION.format(name="old/name", digest=f"sha256:{'0' * 64}")
    name, _, digest = IMAGE.partition("@")
    after = KUSTOMIZATION.format(name=name, digest=digest)
    file = "dir/kustomization.yaml"
    assert pin(before.encode(), Target(image=IMAGE), filename=file).data.decode() == after
    assert pin(before.encode(), Target(image=IMAGE), filename="other.yaml").changes == ()
    reference = KUSTOMIZATION.format(name="kitbag://a/b", digest="")
    name, _, digest = registry.image("a/b").partition("@")
    pinned = pin(reference.encode(), registry, filename=file)
    assert pinned.data.decode() == KUSTOMIZATION.format(name=name, digest=digest)


def test_missing_parts_are_added_and_stale_ones_refused() -> None:
    text = "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\nimages:\n- name: a\n"
    name, _, digest = IMAGE.partition("@")
    pinned = pin(text.encode(), Target(image=IMAGE)).data.decode()
    assert pinned == f"{text}  digest: {digest}\n  newName: {name}\n"
    assert pin(pinned.encode(), Target(image=IMAGE)).changes == ()
    with pytest.raises(WriteError, match="no digest"):
        pin(pinned.encode(), Target(image="r.io/a:v1"))


@pytest.mark.parametrize("key", ["base_image", "docker_image"])
def test_a_kale_notebook_keeps_its_bytes_but_for_the_image(key: str) -> None:
    notebook = {
        "cells": [
            {"cell_type": "code", "source": ['x = "\\u00e9"\n', "image: old"], "outputs": []}
        ],
        "metadata": {"kubeflow_notebook": {key: "old", "pipeline_name": "gan3d"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    for indent in (1, 4, None):
        text = json.dumps(notebook, indent=indent)
        pinned = pin(text.encode(), Target(image=IMAGE), filename="a.ipynb")
        assert pinned.data.decode() == text.replace(f'"{key}": "old"', f'"{key}": "{IMAGE}"')


def test_elyra_pipelines_get_it_in_every_node_and_the_default() -> None:
    pipeline = {
        "doc_type": "pipeline",
        "primary_pipeline": "p",
        "pipelines": [
            {
                "nodes": [
                    {"app_data": {"component_parameters": {"runtime_image": "old"}}},
                    {"app_data": {"component_parameters": {"runtime_image": "old"}}},
                ],
                "app_data": {"properties": {"pipeline_defaults": {"runtime_image": "old"}}},
            }
        ],
    }
    text = json.dumps(pipeline, indent=4)
    pinned = pin(text.encode(), Target(image=IMAGE), filename="a.pipeline")
    assert pinned.data.decode() == text.replace('"old"', f'"{IMAGE}"')
    assert len(pinned.changes) == 3
