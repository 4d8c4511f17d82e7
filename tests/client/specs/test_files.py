"""A folder stands for the manifests under it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbag.specs import expand


def test_a_folder_is_every_manifest_under_it_sorted_and_without_what_is_hidden(
    tmp_path: Path,
) -> None:
    for name in ["b.yaml", "a.YML", "c.json", "d.ipynb", "e.pipeline", "f.txt", ".g.yaml",
                 "sub/z.yaml", "sub/.hidden/y.yaml", ".git/x.yaml", "aa/w.yml"]:  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [str(path.relative_to(tmp_path)) for path in expand([tmp_path])]
    assert found == [
        "a.YML", "b.yaml", "c.json", "d.ipynb", "e.pipeline", "aa/w.yml", "sub/z.yaml"
    ]  # fmt: skip


def test_a_file_stands_for_itself_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "manifest.txt"
    path.touch()
    assert list(expand([path, str(path)])) == [path, path]


def test_a_link_to_the_folder_above_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert list(expand([tmp_path])) == [tmp_path / "a.yaml"]


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(expand([tmp_path / "missing.yaml"]))
