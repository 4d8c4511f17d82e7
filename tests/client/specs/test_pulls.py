"""Pull secrets and the pull policy go where the kind takes them, in the file's own style."""

import json
from pathlib import Path

import pytest
import yaml
from kfp import compiler, dsl

from kitbag.specs import PullPolicy, SharedImageError, Target, pin

IMAGE = "r.example.org/kitbag/alice/3dgan@sha256:" + "c0ffee42" * 8
TARGET = Target(image=IMAGE, pull_secrets=("regcred",), pull_policy=PullPolicy.ALWAYS)
HEAD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"

STYLES = {
    "block": (
        """\
spec:
  serviceAccountName: me
  containers:
  - name: a
    image: old   # mine
    tty: true
""",
        """\
spec:
  imagePullSecrets:
  - name: regcred
  serviceAccountName: me
  containers:
  - name: a
    image: @   # mine
    imagePullPolicy: Always
    tty: true
""",
    ),
    "lists indented, and a comment above": (
        """\
spec:
    # the user's container
    # and no other
    containers:
      - image: 'old'
        name: a
      - name: istio-proxy
        image: auto
""",
        """\
spec:
    imagePullSecrets:
      - name: regcred
    # the user's container
    # and no other
    containers:
      - image: '@'
        imagePullPolicy: Always
        name: a
      - name: istio-proxy
        image: auto
""",
    ),
    "what is there stays": (
        """\
spec:
  imagePullSecrets:
  - name: other   # theirs
  containers:
  - name: a
    imagePullPolicy: "IfNotPresent"
    image: old
""",
        """\
spec:
  imagePullSecrets:
  - name: regcred
  - name: other   # theirs
  containers:
  - name: a
    imagePullPolicy: "Always"
    image: @
""",
    ),
    "flow": (
        "spec: {containers: [{name: a, image: old}]}\n",
        """\
spec: {imagePullSecrets: [{name: regcred}], containers: [{imagePullPolicy: Always, name: a, image: @}]}
""",  # noqa: E501
    ),
    "a flow list, and nothing written": (
        """\
spec:
  imagePullSecrets: [{name: other}]
  containers: [{image: old, imagePullPolicy: }]
""",
        """\
spec:
  imagePullSecrets: [{name: regcred}, {name: other}]
  containers: [{image: @, imagePullPolicy: Always}]
""",
    ),
    "an empty list": (
        "spec:\n  imagePullSecrets: []\n  containers:\n  - image: old\n",
        (
            "spec:\n  imagePullSecrets: [{name: regcred}]\n"
            "  containers:\n  - image: @\n    imagePullPolicy: Always\n"
        ),
    ),
    "no list": (
        "spec:\n  imagePullSecrets:\n  containers:\n  - image: old\n",
        (
            "spec:\n  imagePullSecrets: [{name: regcred}]\n"
            "  containers:\n  - image: @\n    imagePullPolicy: Always\n"
        ),
    ),
    "no image": (
        "spec:\n  containers:\n  - name: a # x\n    tty: true\n",
        (
            "spec:\n  imagePullSecrets:\n  - name: regcred\n  containers:\n  - name: a # x\n"
            "    image: @\n    imagePullPolicy: Always\n    tty: true\n"
        ),
    ),
    "an image without a value": (
        "spec:\n  containers:\n  - image:\n    name: a\n",
        (
            "spec:\n  imagePullSecrets:\n  - name: regcred\n  containers:\n  - image: @\n"
            "    imagePullPolicy: Always\n    name: a\n"
        ),
    ),
    "a block image": (
        "spec:\n  containers:\n  - image: >-\n      old\n",
        (
            "spec:\n  imagePullSecrets:\n  - name: regcred\n  containers:\n"
            "  - imagePullPolicy: Always\n    image: >-\n      @\n"
        ),
    ),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("name", STYLES)
def test_they_are_added_in_the_style_of_the_file_and_once(name: str, newline: str) -> None:
    before, after = ((HEAD + text).replace("\n", newline) for text in STYLES[name])
    pinned = pin(before.encode(), TARGET)
    assert pinned.data.decode() == after.replace("@", IMAGE)
    again = pin(pinned.data, TARGET)
    assert (again.data, again.changes) == (pinned.data, ())
    spec = yaml.safe_load(pinned.data)["spec"]
    assert {"name": "regcred"} in spec["imagePullSecrets"]
    assert spec["containers"][0]["imagePullPolicy"] == "Always"


@pytest.mark.parametrize(
    ("indent", "separators"), [(2, None), (4, None), (None, None), (None, (",", ":")), ("\t", None)]
)
def test_json_stays_json_in_its_own_style(
    indent: int | str | None, separators: tuple[str, str] | None
) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {"containers": [{"name": "a", "image": "old"}]},
    }
    before = json.dumps(pod, indent=indent, separators=separators)
    pinned = pin(before.encode(), TARGET).data.decode()
    pod["spec"] = {
        "imagePullSecrets": [{"name": "regcred"}],
        "containers": [{"imagePullPolicy": "Always", "name": "a", "image": IMAGE}],
    }
    assert pinned == json.dumps(pod, indent=indent, separators=separators)
    assert pin(pinned.encode(), TARGET).data.decode() == pinned


def test_without_being_asked_nothing_is_added() -> None:
    before = HEAD + STYLES["block"][0]
    assert pin(before.encode(), Target(image=IMAGE)).data.decode() == before.replace("old", IMAGE)


def test_a_file_in_which_no_image_is_pinned_gets_no_secret() -> None:
    data = b"apiVersion: v1\nkind: Service\nspec: {ports: [{port: 80}]}\n"
    assert pin(data, TARGET).data == data


KINDS = {
    "notebook": (
        ("kind: Notebook\napiVersion: kubeflow.org/v1\n"
        "spec: {template: {spec: {containers: [{image: old}]}}}\n"),
        ["spec.template.spec.imagePullSecrets"],
    ),
    "workflow": (
        ("kind: Workflow\napiVersion: argoproj.io/v1alpha1\n"
        "spec:\n  templates:\n  - {name: a, container: {image: old}}\n"
        "  - {name: b, script: {image: old}}\n"),
        ["spec.imagePullSecrets"],
    ),
    "server": (
        ("kind: InferenceService\napiVersion: serving.kserve.io/v1beta1\n"
        "spec: {predictor: {model: {image: old}}, transformer: {containers: [{image: old}]}}\n"),
        ["spec.predictor.imagePullSecrets", "spec.transformer.imagePullSecrets"],
    ),
    "spark": (
        "kind: SparkApplication\napiVersion: sparkoperator.k8s.io/v1beta2\nspec: {image: old}\n",
        ["spec.imagePullSecrets"],
    ),
    "hub": (
        "singleuser: {image: {name: old, tag: old}}\n",
        ["singleuser.image.pullSecrets"],
    ),
    "trial": (
        ("kind: Experiment\napiVersion: kubeflow.org/v1beta1\nspec:\n  trialTemplate:\n"
        "    trialSpec:\n      kind: Job\n      apiVersion: batch/v1\n      spec:\n"
        "        template: {spec: {containers: [{image: old}]}}\n"),
        ["spec.trialTemplate.trialSpec.spec.template.spec.imagePullSecrets"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_has_its_own_place_for_them(name: str) -> None:
    text, places = KINDS[name]
    pinned = pin(text.encode(), TARGET)
    added = [change.path for change in pinned.changes if "Secrets" in change.path]
    assert added == places
    assert any(change.path.lower().endswith("pullpolicy") for change in pinned.changes)
    root = yaml.safe_load(pinned.data)
    for place in places:
        node = root
        for key in place.split("."):
            node = node[key]
        assert node in ([{"name": "regcred"}], ["regcred"])
    assert pin(pinned.data, TARGET).data == pinned.data


def test_a_kind_without_a_place_for_them_is_named() -> None:
    text = (
        "kind: TrainJob\napiVersion: trainer.kubeflow.org/v1alpha1\nspec: {trainer: {image: old}}\n"
    )
    pinned = pin(text.encode(), TARGET)
    assert pinned.data.decode() == text.replace("old", IMAGE)
    assert ["pull secret" in note or "pull policy" in note for note in pinned.notes] == [True, True]


def test_a_replica_that_is_an_alias_gets_them_once() -> None:
    text = """\
apiVersion: kubeflow.org/v1
kind: TFJob
spec:
  tfReplicaSpecs:
    Chief: &r
      template:
        spec:
          containers:
          - {name: tensorflow, image: old}
    Worker: *r
"""
    pinned = pin(text.encode(), TARGET)
    assert pinned.data.decode().count("regcred") == 1
    assert pin(pinned.data, TARGET).data == pinned.data
    elsewhere = text + "    extra: {Foo: *r}\n".replace("    extra", "  extra")
    with pytest.raises(SharedImageError):
        pin(elsewhere.encode(), TARGET)


def test_a_text_inside_gets_them_too() -> None:
    text = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
spec:
  templates:
  - name: a
    resource:
      manifest: |
        apiVersion: batch/v1
        kind: Job
        spec:
          template:
            spec:
              containers:
              - name: x
                image: old
"""
    pinned = pin(text.encode(), TARGET).data
    inner = yaml.safe_load(yaml.safe_load(pinned)["spec"]["templates"][0]["resource"]["manifest"])
    assert inner["spec"]["template"]["spec"] == {
        "imagePullSecrets": [{"name": "regcred"}],
        "containers": [{"name": "x", "image": IMAGE, "imagePullPolicy": "Always"}],
    }
    assert pin(pinned, TARGET).data == pinned


# --- KFP: beside the pipeline, in its platform document -------------------------------------------


@dsl.component(base_image="python:3.11-slim")
def step() -> str:
    return "x"


@dsl.pipeline(name="two-steps")
def pipeline() -> None:
    step()
    step()


CONFIG = {
    "imagePullSecret": [
        {
            "secretName": "regcred",
            "secretNameParameter": {"runtimeValue": {"constant": "regcred"}},
        }
    ],
    "imagePullPolicy": "Always",
}


def test_a_compiled_pipeline_gets_a_platform_document(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    before = path.read_bytes()
    pinned = pin(before, TARGET)
    spec, platform = yaml.safe_load_all(pinned.data)
    executors = spec["deploymentSpec"]["executors"]
    assert platform == {
        "platforms": {
            "kubernetes": {"deploymentSpec": {"executors": dict.fromkeys(executors, CONFIG)}}
        }
    }
    assert pinned.data.startswith(before.replace(b"python:3.11-slim", IMAGE.encode()))
    assert pin(pinned.data, TARGET).data == pinned.data


def test_a_platform_document_keeps_what_it_says() -> None:
    text = """\
deploymentSpec:
  executors:
    exec-a: {container: {image: old}}
    exec-b: {container: {image: old}}
pipelineInfo: {name: p}
---
platforms:
  kubernetes:
    deploymentSpec:
      executors:
        exec-a:
          imagePullSecret:
          - secretName: theirs
          pvcMount:   # stays
          - constant: workspace
            mountPath: /data
"""
    pinned = pin(text.encode(), TARGET).data
    executors = list(yaml.safe_load_all(pinned))[1]["platforms"]["kubernetes"]["deploymentSpec"][
        "executors"
    ]
    assert executors["exec-b"] == CONFIG
    assert executors["exec-a"] == {
        "imagePullSecret": [*CONFIG["imagePullSecret"], {"secretName": "theirs"}],
        "imagePullPolicy": "Always",
        "pvcMount": [{"constant": "workspace", "mountPath": "/data"}],
    }
    assert b"pvcMount:   # stays" in pinned
    assert pin(pinned, TARGET).data == pinned


def test_a_wrapped_pipeline_gets_its_platform_beside_it() -> None:
    spec = {"deploymentSpec": {"executors": {"exec-a": {"container": {"image": "old"}}}}}
    before = json.dumps({"pipelineSpec": spec}, indent=2)
    pinned = pin(before.encode(), TARGET).data
    found = json.loads(pinned)
    executors = found["platformSpec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors == {"exec-a": CONFIG}
    assert pin(pinned, TARGET).data == pinned
    bare = json.dumps(spec).encode()
    told = pin(bare, TARGET)
    assert told.data == bare.replace(b"old", IMAGE.encode())
    assert "pull secret" in told.notes[0]
