"""What pin writes where, how it writes it, and which wish wins."""

from __future__ import annotations

import pytest
from conftest import Registry
from hypothesis import given
from hypothesis import strategies as st

from kitbag.refs import EnvRef
from kitbag.specs import SharedImageError, SpecError, Target, diff, images, pin
from kitbag.specs.write import needs_quotes

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: p
spec:
  containers:
  - name: main
    image: {image}
"""


def pod(image: str) -> bytes:
    return POD.replace("{image}", image).encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("old", "{}"),
        ("'old'", "'{}'"),
        ('"old"', '"{}"'),
        ('"o\\x6cd"  # why', '"{}"  # why'),
        (">-\n      old", ">-\n      {}"),
        ("|  # keep me\n\n      old\n", "|  # keep me\n\n      {}\n"),
        ("|2-\n      old", "|2-\n      {}"),
        ("&img old", "&img {}"),
        ("!!str old", "!!str {}"),
        ("!!str &img 'old'", "!!str &img '{}'"),
        ("\n      old", "\n      {}"),
        ("\n      # first\n      old # second", "\n      # first\n      {} # second"),
        ("", "{}"),
        ("# soon", "{} # soon"),
        ("   # soon", "{}   # soon"),
        ("~", "{}"),
        ("null # none yet", "{} # none yet"),
        ('""', '"{}"'),
        ("\told", "\t{}"),
        ("old\n  # \U0001f600 \u00e9 \t tab", "{}\n  # \U0001f600 \u00e9 \t tab"),
    ],
)
def test_the_style_of_the_scalar_is_kept(digest: str, before: str, after: str) -> None:
    pinned = pin(pod(before), Target(image=digest))
    assert pinned.data == pod(after.format(digest))
    assert len(pinned.changes) == 1
    assert pin(pinned.data, Target(image=digest)).changes == ()


def test_a_missing_image_is_added_in_the_files_own_style(digest: str) -> None:
    cases = {
        "- name: main # mine\n    tty: true": "- name: main # mine\n    image: @\n    tty: true",
        "- tty: true": "- image: @\n    tty: true",
        "- {name: main}": "- {image: @, name: main}",
        '- {"name": "main"}': '- {"image": "@", "name": "main"}',
        '- {\n    "name": "a"\n    }': '- {\n    "image": "@",\n    "name": "a"\n    }',
    }
    head = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  "
    for before, after in cases.items():
        for newline in ("\n", "\r\n"):
            data = (head + before).replace("\n", newline).encode()
            pinned = pin(data, Target(image=digest))
            assert pinned.data.decode() == (head + after.replace("@", digest)).replace(
                "\n", newline
            )
            assert pinned.changes[0].before is None
            assert pin(pinned.data, Target(image=digest)).data == pinned.data


def test_values_that_yaml_reads_as_something_else_are_quoted() -> None:
    for value in ("123", "1.5", "12:30", "1e3", "0x1f", "0o7", "true", "NO", "y", "null", "~", "",
                  "2001-01-01", ".inf", "a: b", "a #b", "@a", "-a", "1_000", "1:2:3"):  # fmt: skip
        assert needs_quotes(value), value
    for value in ("ubuntu", "reg:5000/a/b@sha256:00", "python:3.11", "1password/cli:2", "x_1"):
        assert not needs_quotes(value), value


def test_an_image_whose_name_is_a_time_of_day_is_quoted() -> None:
    assert pin(pod("old"), Target(image="12:30")).data == pod('"12:30"')


# --- references -----------------------------------------------------------------------------


def test_whole_kitbag_scalars_are_replaced_anywhere_and_parts_of_others_never(
    registry: Registry,
) -> None:
    data = b"""\
any: kitbag://alice/3dgan
list: ["kitbag://alice/3dgan:4", 'kitbag://alice/3dgan:main', see kitbag://alice/3dgan]
nested: {a: {b: kitbag://bob/other:1234abc}}
kitbag://alice/key: stays
text: |
  kitbag://alice/3dgan is the environment
block: >-
  kitbag://alice/3dgan
"""
    pinned = pin(data, registry)
    expected = data.decode()
    for before, environment in [
        ("any: kitbag://alice/3dgan", "alice/3dgan"),
        ('"kitbag://alice/3dgan:4"', "alice/3dgan:4"),
        ("'kitbag://alice/3dgan:main'", "alice/3dgan:main"),
        ("kitbag://bob/other:1234abc", "bob/other:1234abc"),
        (">-\n  kitbag://alice/3dgan", "alice/3dgan"),
    ]:
        image = registry.image(environment)
        expected = expected.replace(before, before.replace(f"kitbag://{environment}", image))
    assert pinned.data.decode() == expected
    assert len(pinned.changes) == 5
    assert sorted(registry.asked) == sorted(
        ["alice/3dgan", "alice/3dgan:4", "alice/3dgan:main", "bob/other:1234abc"]
    )


def test_a_file_without_references_is_not_even_read_when_there_is_only_a_resolver(
    registry: Registry,
) -> None:
    assert pin(b"{{ helm }}: [", registry).data == b"{{ helm }}: ["


@pytest.mark.parametrize("where", ["annotations", "labels"])
def test_an_annotated_object_gets_its_environment_in_the_users_container(
    registry: Registry, where: str
) -> None:
    data = f"""\
apiVersion: kubeflow.org/v1
kind: TFJob
metadata:
  name: train
  {where}: {{kitbag.dev/environment: alice.3dgan.release-1.2}}
spec:
  tfReplicaSpecs:
    Worker:
      template:
        spec:
          containers:
          - {{name: tensorflow, image: old}}
          - {{name: other, image: stays}}
""".encode()
    image = registry.image("alice/3dgan:release-1.2")
    assert pin(data, registry).data == data.replace(b"old", image.encode())
    assert pin(pin(data, registry).data, registry).changes == ()


def test_an_annotation_on_the_pod_template_wins_over_the_objects(registry: Registry) -> None:
    data = b"""\
apiVersion: apps/v1
kind: Deployment
metadata: {annotations: {kitbag.dev/environment: alice.outer}}
spec:
  template:
    metadata: {annotations: {kitbag.dev/environment: alice.inner}}
    spec: {containers: [{name: a, image: old}]}
"""
    image = registry.image("alice/inner")
    assert pin(data, registry).data == data.replace(b"old", image.encode())


def test_an_annotation_on_a_kind_without_a_place_is_said(registry: Registry) -> None:
    data = b"kind: ConfigMap\napiVersion: v1\nmetadata: {labels: {kitbag.dev/environment: a.b}}\n"
    pinned = pin(data, registry)
    assert pinned.data == data
    assert "ConfigMap" in pinned.notes[0]


def test_an_explicit_environment_wins_over_its_own_reference_and_not_over_another(
    registry: Registry,
) -> None:
    target = Target(image="r.io/x:1", env=EnvRef.parse("alice/3dgan:4"), resolve=registry)
    assert pin(pod("kitbag://alice/3dgan"), target).data == pod("r.io/x:1")
    other = registry.image("bob/other")
    assert pin(pod("kitbag://bob/other"), target).data == pod(other)
    assert pin(pod("python:3.11"), target).data == pod("r.io/x:1")


def test_a_plain_image_wins_everywhere_and_needs_no_server() -> None:
    data = pod("kitbag://bob/other") + b"    env: [{name: X, value: kitbag://a/b}]\n"
    pinned = pin(data, Target(image="r.io/x:1"))
    assert pinned.data == data.replace(b"kitbag://bob/other", b"r.io/x:1")
    assert any("kitbag://a/b" in note for note in pinned.notes)


@pytest.mark.parametrize("bad", ["kitbag://Alice/x", "kitbag://a", "kitbag://", "kitbag://a/b:"])
def test_a_reference_that_names_no_environment_is_refused(registry: Registry, bad: str) -> None:
    with pytest.raises(SpecError, match=r"^f\.yaml:8: "):
        pin(pod(bad), registry, filename="f.yaml")


def test_what_the_resolver_raises_goes_through() -> None:
    def unknown(_: str) -> str:
        raise LookupError("no such environment")

    with pytest.raises(LookupError):
        pin(pod("kitbag://a/b"), unknown)


def test_an_image_that_is_no_reference_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match="image reference"):
        pin(b"[", Target(image="not an image"))


# --- aliases ---------------------------------------------------------------------------------

SHARED = """\
apiVersion: batch/v1
kind: Job
metadata: {{name: j, annotations: {{was: {first}}}}}
spec:
  template:
    spec:
      initContainers: [{{name: i, image: {second}}}]
      containers: [{{name: a, image: {third}}}]
"""


def test_an_alias_at_the_place_is_written_out_and_the_anchor_stays(digest: str) -> None:
    data = SHARED.format(first="&img old", second="*img", third="*img")
    after = SHARED.format(first="&img old", second="*img", third=digest)
    assert pin(data.encode(), Target(image=digest)).data.decode() == after


def test_an_anchor_at_the_place_that_serves_others_is_refused(digest: str) -> None:
    data = """\
apiVersion: v1
kind: Pod
spec:
  containers: [{name: a, image: &img old}]
  initContainers:
  - {name: i, image: *img}
"""
    with pytest.raises(SharedImageError, match=r"^f:4: .*lines 6"):
        pin(data.encode(), Target(image=digest), filename="f")


def test_an_anchor_whose_every_use_is_the_users_changes_once(digest: str) -> None:
    data = b"""\
apiVersion: kubeflow.org/v1
kind: PyTorchJob
spec:
  pytorchReplicaSpecs:
    Master: {template: {spec: {containers: [{name: pytorch, image: &img old}]}}}
    Worker: {template: {spec: {containers: [{name: pytorch, image: *img}]}}}
"""
    pinned = pin(data, Target(image=digest))
    assert pinned.data == data.replace(b"old", digest.encode())
    assert len(pinned.changes) == 2


def test_a_merged_container_with_another_use_is_refused(digest: str) -> None:
    data = b"""\
apiVersion: v1
kind: Pod
spec:
  initContainers: [&base {name: i, image: old}]
  containers:
  - <<: *base
    name: a
"""
    with pytest.raises(SharedImageError):
        pin(data, Target(image=digest))


# --- reports ---------------------------------------------------------------------------------


def test_a_change_says_where_and_what(digest: str) -> None:
    data = b"# one\n---\n" + pod("old")
    (change,) = pin(data, Target(image=digest)).changes
    assert (change.document, change.line, change.kind, change.name) == (0, 10, "Pod", "p")
    assert (change.path, change.container) == ("spec.containers[0].image", "main")
    assert (change.before, change.after) == ("old", digest)


def test_a_trial_is_reported_under_the_name_of_its_experiment(digest: str) -> None:
    data = b"""\
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {name: search}
spec:
  trialTemplate:
    trialSpec:
      apiVersion: batch/v1
      kind: Job
      spec: {template: {spec: {containers: [{name: a, image: old}]}}}
"""
    (change,) = pin(data, Target(image=digest)).changes
    assert (change.kind, change.name) == ("Job", "search")
    assert change.path == "spec.trialTemplate.trialSpec.spec.template.spec.containers[0].image"


def test_an_image_that_something_else_fills_in_is_skipped_and_said(digest: str) -> None:
    pinned = pin(pod("'${trialParameters.image}'"), Target(image=digest))
    assert pinned.changes == ()
    assert "trialParameters" in pinned.skipped[0]


def test_images_lists_places_and_references_and_changes_nothing() -> None:
    data = pod("python:3.11") + b"    env: [{name: X, value: kitbag://a/b}]\n"
    first, second = images(data)
    assert (first.container, first.image, first.line) == ("main", "python:3.11", 8)
    assert (second.image, second.line) == ("kitbag://a/b", 9)


def test_the_diff_is_unified_and_shows_only_the_changed_lines(digest: str) -> None:
    text = diff(pod("old"), pin(pod("old"), Target(image=digest)).data, "pod.yaml")
    assert text.startswith("--- a/pod.yaml\n+++ b/pod.yaml\n@@ ")
    marked = [line for line in text.splitlines()[2:] if line[0] in "+-"]
    assert marked == ["-    image: old", f"+    image: {digest}"]
    assert diff(b"same", b"same") == ""
    assert "No newline" in diff(b"a", b"b")


# --- anybody's formatting ---------------------------------------------------------------------

quotes = st.sampled_from(["{}", "'{}'", '"{}"', ">-\n      {}", "&a {}", "!!str {}"])
noise = st.sampled_from(
    ["", "# image: python:3.11\n", "  # \U0001f600\n", "\n\n", "    # deep: [\n", "# {{ helm }}\n"]
)


@given(st.lists(noise, min_size=9, max_size=9), quotes, st.booleans(), st.booleans())
def test_bytes_outside_the_image_stay_whatever_is_around_it(
    between: list[str], quote: str, crlf: bool, bom: bool
) -> None:
    digest = "r.example.org/a/b@sha256:" + "0" * 64
    lines = [*POD.splitlines(keepends=True), "    tty: true\n"]
    text = "".join(part for pair in zip(between, lines, strict=True) for part in pair)
    text = text.replace("{image}", quote)
    text = text.replace("\n", "\r\n") if crlf else text
    before, after = (
        (b"\xef\xbb\xbf" if bom else b"") + text.replace("{}", image).encode()
        for image in ("old", digest)
    )
    pinned = pin(before, Target(image=digest))
    assert pinned.data == after
    assert pin(after, Target(image=digest)).data == after
