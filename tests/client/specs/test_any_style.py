"""Any manifest, however a tool or a person wrote it: all bytes but the images' stay."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kitbag.specs import PullPolicy, Target, pin

OURS = "example.org/user/env:old"
IMAGE = "registry.example.org:5000/kitbag/alice/3dgan@sha256:" + "c0ffee42" * 8
TARGET = Target(image=IMAGE)
PULLED = Target(image=IMAGE, pull_secrets=("regcred",), pull_policy=PullPolicy.IF_NOT_PRESENT)


@lru_cache
def documents() -> list[Any]:
    """Every document of the manifests here, as plain data."""
    files = sorted((Path(__file__).parent / "manifests").iterdir())
    found = [json.loads(path.read_text()) for path in files if path.suffix == ".json"]
    texts = [path.read_text() for path in files if path.suffix == ".yaml"]
    found += [one for text in texts for one in yaml.safe_load_all(text) if one]
    # Written out without anchors: what an alias may do has tests of its own.
    return [json.loads(json.dumps(one)) for one in found]


def ruamel(document: Any, **settings: Any) -> str:
    writer: Any = YAML()
    for name, value in settings.items():
        setattr(writer, name, value)
    stream = io.StringIO()
    writer.dump(document, stream)
    return stream.getvalue()


STYLES = {
    "pyyaml": lambda one: yaml.dump(one, sort_keys=False),
    "pyyaml sorted, wide": lambda one: yaml.dump(one, width=1000),
    "pyyaml narrow": lambda one: yaml.dump(one, width=20),
    "pyyaml flow": lambda one: yaml.dump(one, default_flow_style=True),
    "pyyaml double quoted": lambda one: yaml.dump(one, default_style='"'),
    "pyyaml single quoted": lambda one: yaml.dump(one, default_style="'"),
    "pyyaml literal": lambda one: yaml.dump(one, default_style="|"),
    "json": json.dumps,
    "json indented": lambda one: json.dumps(one, indent=4) + "\n",
    "json tight": lambda one: json.dumps(one, separators=(",", ":")),
    "json tabs": lambda one: json.dumps(one, indent="\t"),
    "ruamel": ruamel,
    "ruamel deep": lambda one: ruamel(one, indent=6),
    "ruamel lists indented": lambda one: ruamel(one, sequence_indent=4, sequence_dash_offset=2),
    "ruamel flow": lambda one: ruamel(one, default_flow_style=True),
}
NOISE = ["", "# image: python:3.11\n", "# tab\tin a comment \U0001f600\n", "\n\n", "# {{ helm }}\n"]


@st.composite
def files(draw: st.DrawFn, styles: tuple[str, ...] = tuple(sorted(STYLES))) -> bytes:
    """A few documents in one file, each in its own style, with noise between."""
    chosen = draw(st.lists(st.sampled_from(documents()), min_size=1, max_size=4))
    texts = []
    for document in chosen:
        text = STYLES[draw(st.sampled_from(styles))](document)
        texts.append(text + ("" if text.endswith("\n") else "\n") + draw(st.sampled_from(NOISE)))
    text = draw(st.sampled_from(NOISE)) + "---\n".join(texts)
    if draw(st.booleans()):
        text = text.rstrip("\n")
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    return (b"\xef\xbb\xbf" if draw(st.booleans()) else b"") + text.encode()


def images(data: bytes) -> bytes:
    return data.replace(OURS.encode(), IMAGE.encode())


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(files())
def test_the_images_change_and_no_other_byte(data: bytes) -> None:
    pinned = pin(data, TARGET)
    assert pinned.data == images(data)
    assert pin(pinned.data, TARGET) == type(pinned)(pinned.data, (), pinned.skipped, pinned.notes)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(files(tuple(sorted(STYLES.keys() - {"json tabs"}))))  # PyYAML knows no tabs
def test_what_is_added_to_pull_is_all_that_is_added(data: bytes) -> None:
    pinned = pin(data, PULLED)
    assert pin(pinned.data, PULLED).data == pinned.data
    before = [plain(one) for one in yaml.safe_load_all(images(data).decode("utf-8-sig"))]
    after = [plain(one) for one in yaml.safe_load_all(pinned.data.decode("utf-8-sig"))]
    assert [one for one in after if one] == [one for one in before if one]


def plain(value: Any) -> Any:
    """The data without what the target asks for, texts with a manifest in them read as well."""
    if isinstance(value, dict):
        found = {}
        for key, inner in value.items():
            if inner in ("IfNotPresent", [{"name": "regcred"}], ["regcred"]):
                continue
            found[key] = plain(inner)
        found.pop("imagePullPolicy", None)
        found.pop("platforms", None)
        found.pop("platformSpec", None)
        return found
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str) and ("containers" in value or "executors" in value):
        try:
            inner = yaml.safe_load(value)
        except yaml.YAMLError:
            return value
        return plain(inner) if isinstance(inner, dict) else value
    return value
