"""The table of kinds is data: an operator adds a row, and mistakes in it are named."""

from __future__ import annotations

import pytest

from kitbag.specs import KindsError, Target, builtin, extended, pin
from kitbag.specs.path import parse, walk
from kitbag.specs.read import read
from kitbag.specs.source import Source

ROW = b"""\
injected: [our-mesh]
kinds:
- kind: Widget
  group: example.com
  places:
  - template: spec.sets[role=work].template
    named: [$spec.main, worker]
  - image: spec.extra."an.other"
    insert: false
"""
WIDGET = b"""\
apiVersion: example.com/v1
kind: Widget
spec:
  main: chosen
  sets:
  - role: work
    template: {spec: {containers: [{name: our-mesh, image: a}, {name: chosen, image: old}]}}
  - role: rest
    template: {spec: {containers: [{name: chosen, image: b}]}}
  extra: {an.other: old}
"""


def test_an_operators_row_is_one_more_kind(digest: str) -> None:
    kinds = extended(builtin(), ROW, "ours.yaml")
    pinned = pin(WIDGET, Target(image=digest), kinds=kinds)
    assert pinned.data == WIDGET.replace(b"old", digest.encode())
    assert pin(WIDGET, Target(image=digest)).data == WIDGET


def test_an_operators_row_comes_before_the_builtin_one(digest: str) -> None:
    kinds = extended(builtin(), b"kinds: [{kind: Pod, group: '', places: []}]")
    pod = b"apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: old}]}\n"
    assert pin(pod, Target(image=digest), kinds=kinds).changes == ()
    assert len(pin(pod, Target(image=digest)).changes) == 1


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("kinds:\n- kind: A\n", 2, "'group'"),
        ("kinds:\n- {kind: A, group: a, colour: red}\n", 2, "'colour'"),
        ("kinds:\n- {kind: A, group: a, places: [{image: a..b}]}\n", 2, "no path"),
        ("kinds:\n- {kind: A, group: a, places: [{image: a, template: b}]}\n", 2, "exactly one"),
        ("kinds:\n- {kind: A, group: a, places: [{shape: round, at: a}]}\n", 2, "'shape'"),
        ("kinds:\n- {kind: A, group: a, places: [{template: a, choose: best}]}\n", 2, "'choose'"),
        ("kinds:\n- {has: [a]}\n", 2, "'name'"),
        ("kinds: {a: b}\n", 1, "a list"),
        ("- a\n", 1, "a mapping"),
        ("a: b\n---\nc: d\n", 1, "one YAML document"),
    ],
)
def test_a_mistake_in_the_table_is_named_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(KindsError, match=said) as caught:
        extended(builtin(), text.encode(), "ours.yaml")
    assert (caught.value.file, caught.value.line) == ("ours.yaml", line)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b", ["a.b"]),
        ("*.b", ["a.b", "merged.b"]),
        ("l[*].n", ["l[0].n", "l[1].n"]),
        ("l[1].n", ["l[1].n"]),
        ("l[n=y].n", ["l[1].n"]),
        ("l[n^=x].n", ["l[0].n"]),
        ("l[m.k=v]", ["l[1]"]),
        ('"x.y/z"', ['"x.y/z"']),
        ("merged.b", ["merged.b"]),
        ("nothing.here", []),
        ("a[0]", []),
        ("l.n", []),
        ("", [""]),
    ],
)
def test_a_path_leads_to_these_nodes(path: str, found: list[str]) -> None:
    text = b"a: &a {b: 1}\nl: [{n: xx}, {n: y, m: {k: v}}]\nx.y/z: 2\nmerged: {<<: *a, c: 3}\n"
    (root,) = read(Source(text))
    assert [hit.path for hit in walk(root, path)] == found


@pytest.mark.parametrize("path", [".", "a.", ".a", "a..b", "a[", "a[x]", "a]", "a b", '"a', "[a=b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        parse(path)


def test_every_kind_of_the_table_has_a_place_or_a_reason() -> None:
    for row in builtin().rows:
        assert row.places or row.refuse or row.note, row.name
        assert row.kinds or row.has, row.name
