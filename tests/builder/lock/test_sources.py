"""What an index and an archive say of a package that is released as source."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from builder.errors import InvalidSpecError
from builder.sdists.container import DEFAULT_REQUIRES, asked_for, requires_of
from builder.sdists.page import newest

HASH = "a" * 64
URL = "https://index.example/simple/foo/"
ANY = SpecifierSet()


def entry(filename: str, **more: object) -> dict[str, object]:
    return {"filename": filename, "url": f"../../{filename}", "hashes": {"sha256": HASH}} | more


def version_of(*files: dict[str, object], specifier: str = "") -> str | None:
    page = json.dumps({"files": files}).encode()
    kind = "application/vnd.pypi.simple.v1+json"
    found = newest(page, kind, URL, "foo", SpecifierSet(specifier), "3.11.2")
    return str(found.version) if found else None


def test_the_newest_release_that_fits_is_chosen() -> None:
    files = [entry(f"foo-{each}.tar.gz") for each in ("1.0", "1.10", "1.9", "2.0", "3.0rc1")]
    assert version_of(*files) == "2.0"
    assert version_of(*files, specifier="<2") == "1.10"
    assert version_of(*files, specifier=">=5") is None


@pytest.mark.parametrize(
    "file",
    [
        entry("foo-9.tar.gz", yanked="broken"),
        entry("foo-9.tar.gz", **{"requires-python": ">=3.12"}),
        entry("foo-9.tar.gz", hashes={"md5": "x"}),
        entry("foo-9-py3-none-any.whl"),
        entry("bar-9.tar.gz"),
        entry("foo-9.tar.bz2"),
        {"filename": 7, "hashes": [], "url": None},
    ],
)
def test_a_file_that_can_not_be_built_is_passed_over(file: dict[str, object]) -> None:
    assert version_of(entry("foo-1.tar.gz"), file) == "1"


def test_a_page_in_html_says_the_same() -> None:
    page = (
        f'<a href="../../files/foo-1.0.tar.gz#sha256={HASH}">foo</a>'
        f'<a href="/files/foo-2.0.tar.gz#sha256={HASH}" data-requires-python="&gt;=3.12">foo</a>'
        f'<a href="/files/foo-3.0.tar.gz#sha256={HASH}" data-yanked>foo</a>'
    )
    found = newest(page.encode(), "text/html", URL, "foo", ANY, "3.11.2")
    assert found is not None
    assert found.sdist.url == "https://index.example/files/foo-1.0.tar.gz"
    assert (found.sdist.filename, found.sdist.sha256) == ("foo-1.0.tar.gz", HASH)


@given(st.binary(max_size=300), st.sampled_from(["text/html", "application/json"]))
def test_any_other_page_has_nothing(page: bytes, kind: str) -> None:
    assert newest(page, kind, URL, "foo", ANY, "3.11.2") is None


def archive(folder: Path, pyproject: str | None, name: str = "foo-1/pyproject.toml") -> Path:
    path = folder / "foo-1.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        data = (pyproject or "").encode()
        info = tarfile.TarInfo(name if pyproject is not None else "foo-1/setup.py")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return path


def test_a_source_without_a_build_system_needs_setuptools(tmp_path: Path) -> None:
    assert requires_of(archive(tmp_path, None)) == DEFAULT_REQUIRES
    assert requires_of(archive(tmp_path, "[project]\nname='foo'\n")) == DEFAULT_REQUIRES
    deep = archive(tmp_path, "[build-system]\nrequires=['x']\n", "foo-1/docs/pyproject.toml")
    assert requires_of(deep) == DEFAULT_REQUIRES


def test_a_source_names_what_its_build_needs(tmp_path: Path) -> None:
    text = "[build-system]\nrequires = ['hatchling >=1.2', 'cython']\n"
    assert requires_of(archive(tmp_path, text)) == ("hatchling>=1.2", "cython")
    zipped = tmp_path / "foo-1.zip"
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("foo-1/pyproject.toml", text)
    assert requires_of(zipped) == ("hatchling>=1.2", "cython")


@pytest.mark.parametrize(
    "text",
    [
        "[build-system",
        "[build-system]\nrequires = 7\n",
        "[build-system]\nrequires = ['--index-url=https://evil.example']\n",
        "[build-system]\nrequires = ['x @ file:///etc/passwd']\n",
        "[build-system]\nrequires = ['x @ https://10.0.0.1/x-1-py3-none-any.whl']\n",
    ],
)
def test_a_source_that_asks_for_something_else_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidSpecError, match=r"foo-1\.tar\.gz"):
        requires_of(archive(tmp_path, text))


def test_an_archive_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "foo-1.tar.gz").write_bytes(b"no archive")
    with pytest.raises(InvalidSpecError, match="no archive"):
        requires_of(tmp_path / "foo-1.tar.gz")


def test_what_a_backend_asks_for_is_read_off_the_end() -> None:
    lines = ["ERROR: No matching distribution found for numpy<3,>=2", "The command returned 1"]
    assert asked_for(lines) == "numpy<3,>=2"
    assert asked_for(["No matching distribution found for -r /etc/passwd"]) is None
    assert asked_for(["No matching distribution found for x @ file:///etc/passwd"]) in (None, "x")
    assert asked_for(["all well"]) is None
