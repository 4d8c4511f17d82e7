"""Which of an environment's images each container gets."""

from __future__ import annotations

import pytest

from kitbag.specs import BadReferenceError, Images, Target, builtin, extended, pin

CPU, CUDA = "r.io/a@sha256:" + "1" * 64, "r.io/a@sha256:" + "2" * 64
BOTH = Images({"cpu": CPU, "cuda": CUDA})

JOB = """
apiVersion: kubeflow.org/v1
kind: TFJob
metadata: {name: train}
spec:
  tfReplicaSpecs:
    PS:
      template:
        spec:
          containers:
          - name: tensorflow
            image: old
            resources: {limits: {cpu: 2, nvidia.com/gpu: 0}}
    Worker:
      template:
        spec:
          containers:
          - name: tensorflow
            image: old
            resources:
              limits:
                nvidia.com/gpu: 1
"""


def pinned(text: str, image: str = BOTH) -> list[str]:
    return [change.after for change in pin(text.encode(), Target(image=image)).changes]


def pod(resources: str) -> str:
    container = f"[{{name: a, image: old, {resources}}}]"
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: {container}}}\n"


def test_a_container_gets_the_image_that_its_resources_ask_for_and_a_note_says_so() -> None:
    done = pin(JOB.encode(), Target(image=BOTH))
    assert [change.after for change in done.changes] == [CPU, CUDA]
    ps, worker = done.notes
    path = "spec.tfReplicaSpecs.PS.template.spec.containers[0]"
    assert ps == f"line 12: {path} asks for no accelerator and gets the image for cpu"
    path = "spec.tfReplicaSpecs.Worker.template.spec.containers[0]"
    assert worker == f"line 19: {path} asks for nvidia.com/gpu and gets the image for cuda"
    again = pin(done.data, Target(image=BOTH))
    assert (again.changes, again.data) == ((), done.data)


@pytest.mark.parametrize(
    ("resources", "image"),
    [
        ("resources: {limits: {nvidia.com/mig-1g.5gb: 1}}", CUDA),
        ("resources: {requests: {nvidia.com/gpu: '2'}}", CUDA),
        ("resources: {requests: {nvidia.com/gpu: 0}, limits: {nvidia.com/gpu: ''}}", CPU),
        ("resources: {limits: {amd.com/gpu: 1}}", CPU),
        ("resources: {limits: [nvidia.com/gpu]}", CPU),
        ("resources: nvidia.com/gpu", CPU),
        ("env: []", CPU),
    ],
)
def test_what_is_asked_for_is_read_off_the_resources(resources: str, image: str) -> None:
    assert pinned(pod(resources)) == [image]


def test_a_default_for_gpus_is_not_given_to_who_asks_for_none() -> None:
    other = Images({"cuda": CUDA, "cpu": CPU})
    assert str(other) == CUDA
    assert pinned(pod("env: []"), other) == [CPU]
    assert pinned(pod("env: []"), Images({"cuda": CUDA, "tpu": CPU})) == [CUDA]


def test_an_accelerator_without_an_image_gets_the_default_and_is_named() -> None:
    text = pod("resources: {limits: {google.com/tpu: 4}}")
    done = pin(text.encode(), Target(image=BOTH))
    assert [change.after for change in done.changes] == [CPU]
    assert done.notes[0].endswith("there is no image for tpu: it gets that for cpu")


def test_one_image_is_taken_without_a_word() -> None:
    text = pod("resources: {limits: {nvidia.com/gpu: 1}}").encode()
    done = pin(text, Target(image=Images({"cpu": CPU})))
    assert ([change.after for change in done.changes], done.notes) == ([CPU], ())


def test_a_step_of_a_compiled_pipeline_and_a_trainer_say_it_their_way() -> None:
    executor = (
        "deploymentSpec:\n  executors:\n    a:\n      container:\n        image: old\n"
        "        resources: {accelerator: {count: '1', resourceType: nvidia.com/gpu}}\n"
        "    b:\n      container: {image: old}\n"
    )
    assert pinned(executor) == [CUDA, CPU]
    trainer = (
        "apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata: {name: t}\n"
        "spec:\n  trainer:\n    image: old\n    resourcesPerNode: {limits: {nvidia.com/gpu: 1}}\n"
    )
    assert pinned(trainer) == [CUDA]


def test_references_get_the_image_of_their_place() -> None:
    text = JOB.replace("image: old", "image: kitbag://a/b") + "---\nx: kitbag://a/b\n"
    done = pin(text.encode(), Target(resolve=lambda _: BOTH))
    assert sorted(change.after for change in done.changes) == [CPU, CPU, CUDA]
    with pytest.raises(BadReferenceError):
        pin(text.encode(), Target(resolve=lambda _: Images({"cpu": CPU, "cuda": "no image"})))


def test_an_operators_table_names_resources_of_its_own() -> None:
    more = b"accelerators: {cuda: corp.example/gpu}\nresources: [gpus.*]\n"
    kinds = extended(builtin(), more)
    text = pod("resources: {limits: {corp.example/gpu-a100: 1}}").encode()
    assert pin(text, Target(image=BOTH), kinds=kinds).changes[0].after == CUDA
    text = pod("gpus: {nvidia.com/gpu: 1}").encode()
    assert pin(text, Target(image=BOTH), kinds=kinds).changes[0].after == CUDA
