"""Fields that somebody manages, and an object cut down to them."""

from __future__ import annotations

from kitbag.live.fields import cut, known, leading_to, managed, of, union
from kitbag.specs.path import parse

POD = {
    "metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]},
    "spec": {
        "containers": [
            {"name": "main", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
            {"name": "side", "image": "j"},
        ],
        "args": ["a", "b"],
    },
}


def test_an_object_is_cut_down_to_fields_with_the_keys_of_list_items():
    fields = {
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}, "f:finalizers": {'v:"y"': {}}},
        "f:spec": {
            "f:containers": {
                'k:{"name":"main"}': {
                    ".": {},
                    "f:name": {},
                    "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {"f:protocol": {}}},
                }
            },
            "f:args": {},
            "f:gone": {},
        },
    }
    assert cut(POD, fields) == {
        "metadata": {"labels": {"a": "1"}, "finalizers": ["y"]},
        "spec": {
            "containers": [
                {"name": "main", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
            ],
            "args": ["a", "b"],
        },
    }


def test_a_mapping_that_is_managed_itself_and_nothing_in_it_is_empty():
    assert cut(POD, {"f:metadata": {"f:labels": {".": {}}}}) == {"metadata": {"labels": {}}}


def test_a_path_ends_at_a_list_that_the_cluster_replaces_whole():
    path = parse("spec.containers[1].image")
    keyed = {"f:spec": {"f:containers": {'k:{"name":"side"}': {".": {}, "f:image": {}}}}}
    assert leading_to(path, POD, keyed) == {
        "f:spec": {"f:containers": {'k:{"name":"side"}': {"f:image": {}}}}
    }
    assert leading_to(path, POD, {"f:spec": {"f:containers": {}}}) == {
        "f:spec": {"f:containers": {}}
    }


def test_the_union_keeps_what_is_managed_whole_whole():
    assert union({"f:a": {}}, {"f:a": {"f:b": {}}}) == {"f:a": {}}
    assert union({"f:a": {"f:b": {}}}, {"f:a": {}}) == {"f:a": {}}
    assert union({"f:a": {"f:b": {}}}, {"f:a": {"f:c": {}}}) == {"f:a": {"f:b": {}, "f:c": {}}}


def test_a_managers_fields_are_those_it_applied_and_no_status():
    entries = [
        {"manager": "kitbag", "operation": "Apply", "fieldsV1": {"f:a": {}}},
        {"manager": "kitbag", "operation": "Update", "fieldsV1": {"f:b": {}}},
        {"manager": "other", "operation": "Apply", "fieldsV1": {"f:c": {}}},
        {"manager": "kitbag", "operation": "Apply", "subresource": "status", "fieldsV1": {}},
    ]
    item = {"metadata": {"managedFields": entries}}
    assert of(managed(item, "kitbag")) == {"f:a": {}}
    assert known(managed(item)) == {"f:a": {}, "f:b": {}, "f:c": {}}


def test_what_anybody_took_apart_is_known_to_have_parts():
    entries = [{"fieldsV1": {"f:a": {}}}, {"fieldsV1": {"f:a": {"k:{}": {"f:b": {}}}}}]
    assert known(entries) == known(entries[::-1]) == {"f:a": {"k:{}": {"f:b": {}}}}
