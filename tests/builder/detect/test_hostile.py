"""Configuration files that are anything at all: each is read, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from builder.detect import detect, read_requirements
from builder.errors import BuildError
from builder.model import Way

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=12),
    st.sampled_from(
        ["python=3.11", "pip", "numpy>=1", "-r x", "a::b", "python", "conda-forge::pip"]
    ),
)
KEYS = st.sampled_from(
    ["dependencies", "pip", "name", "channels", "variables", "project", "tool", "uv", "sources",
     "index", "url", "dynamic", "optional-dependencies", "dependency-groups", "setuptools", "file",
     "requires-python", "build-system", "poetry", "include-group", "numpy", "lock-version"]
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


def flow(value: object) -> str:
    """A value as YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return {None: "null", True: "true", False: "false"}.get(value, str(value))  # type: ignore[call-overload, no-any-return]


def inline(value: object) -> str:
    """A value as TOML's inline style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return '""' if value is None else json.dumps(value, ensure_ascii=False)


def check(root: Path) -> None:
    try:
        detected = detect(root)
        if detected.way is Way.LAYERED:
            read_requirements(root, detected)
    except BuildError as error:
        assert error.detail.isprintable()
        assert error.detail.endswith(".")
    else:
        assert detected.why.isprintable()


CONFIG = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(document=VALUES)
@CONFIG
def test_any_environment_yml(tmp_path: Path, document: object) -> None:
    (tmp_path / "environment.yml").write_text(flow(document), errors="surrogatepass")
    check(tmp_path)


@given(tables=st.dictionaries(KEYS, VALUES, max_size=4))
@CONFIG
def test_any_pyproject_toml(tmp_path: Path, tables: dict[str, object]) -> None:
    text = "".join(f"{key} = {inline(each)}\n" for key, each in tables.items())
    (tmp_path / "pyproject.toml").write_text(text, errors="surrogatepass")
    check(tmp_path)


@given(text=st.text(max_size=60))
@example(text="&a [*a, *a]")
@example(text="!!python/object/apply:os.system ['true']")
@example(text="a: &a {b: *a}\n<<: *a")
@example(text="dependencies:\n- ? [x]\n  : y")
@example(text="[" * 5000)
@example(text="a." * 3000 + "b = 1")
@CONFIG
@pytest.mark.parametrize(
    "name", ["environment.yml", "pyproject.toml", "pylock.toml", "runtime.txt", "DESCRIPTION"]
)
def test_any_text_as_any_file(
    tmp_path_factory: pytest.TempPathFactory, name: str, text: str
) -> None:
    root = tmp_path_factory.mktemp("source")
    (root / name).write_text(text, errors="surrogatepass")
    check(root)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("[[tool.uv.index]]\nurl = 'file:///etc'\n", "http or https URL"),
        ("[[tool.uv.index]]\nurl = '../index'\n", "http or https URL"),
        ("[[tool.uv.index]]\nname = 'x'\n", "list of tables with a url"),
        ("[tool.uv.sources]\nnumpy = { index = ['x'] }\n", "isn't defined"),
        ("[tool.uv.sources]\nnumpy = 'x'\n", "is not a table"),
        ("[tool.uv.sources]\nnumpy = { index = 'x', marker = 'nonsense' }\n", "marker"),
        ("[tool.uv]\nconstraint-dependencies = ['a b']\n", "is not a requirement"),
    ],
)
def test_settings_of_uv_that_make_no_sense_are_refused(
    tmp_path: Path, more: str, says: str
) -> None:
    project = "[project]\nname = 'p'\nversion = '1'\ndependencies = ['numpy']\n"
    (tmp_path / "pyproject.toml").write_text(project + more)
    with pytest.raises(BuildError) as caught:
        detect(tmp_path)
    assert says in caught.value.detail
    assert caught.value.detail.startswith("pyproject.toml, line ")
