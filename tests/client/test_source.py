"""What PATH and GIT_URL mean."""

from __future__ import annotations

import pytest

from kitbag import PackError
from kitbag.source import Files, Folder, Git, derived_name, find, is_git_url


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.org/alice/3dgan",
        "ssh://git@git.example.org:2222/alice/3dgan.git",
        "git@git.example.org:alice/3dgan.git",
        "git://127.0.0.1/3dgan",
        "file:///srv/git/3dgan.git",
        "git+https://git.example.org/alice/3dgan",
    ],
)
def test_urls_that_git_clones_are_git_sources(url):
    source = find(url, ref="v1", subdir="train")
    assert source == Git(url.removeprefix("git+"), "v1", "train")


@pytest.mark.parametrize("path", [".", "./a:b", "/srv/x@y:z", "C:/work", "a/b", "oci://x/y", "~"])
def test_paths_are_no_git_urls(path):
    assert not is_git_url(path)


def test_a_ref_needs_a_git_url(tmp_path):
    with pytest.raises(PackError, match="--ref main needs a git URL"):
        find(tmp_path, ref="main")


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(PackError, match="is not there: give a folder"):
        find(str(tmp_path / "none"))


def test_a_folder_names_the_environment(tmp_path):
    folder = tmp_path / "My 3D-GAN.git"
    folder.mkdir()
    source = find(folder)
    assert isinstance(source, Folder)
    assert source.environment == "default/my-3d-gan"


def test_submodules_and_lfs_files_are_a_git_urls_and_only_sent_when_asked_for(tmp_path):
    url = "https://git.example.org/alice/3dgan"
    plain = {"url": url, "ref": None, "subdir": None}
    assert find(url).as_json() == {"git": plain}
    both = find(url, submodules=True, lfs=True)
    assert both.as_json() == {"git": {**plain, "submodules": True, "lfs": True}}
    with pytest.raises(PackError, match="--submodules needs a git URL"):
        find(tmp_path, submodules=True)
    with pytest.raises(PackError, match="--lfs needs a git URL"):
        find(tmp_path, lfs=True)


def test_a_subdir_of_a_folder_is_taken_by_itself_and_may_not_leave_it(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "requirements.txt").write_text("numpy\n")
    source = find(tmp_path, subdir="train")
    assert isinstance(source, Folder)
    assert source.names == ("requirements.txt",)
    with pytest.raises(PackError, match="leaves the folder"):
        find(tmp_path, subdir="../train")


def test_a_folder_whose_name_has_no_letter_asks_for_one(tmp_path):
    folder = tmp_path / "___"
    folder.mkdir()
    with pytest.raises(PackError, match="--name NS/NAME"):
        find(folder)


def test_a_requirements_file_goes_into_the_request_with_what_it_includes(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "requirements.txt").write_text("-r more/base.txt  # shared\nnumpy\n")
    (tmp_path / "more/base.txt").write_text("-c limits.txt\n--requirement=extra.in\n-rthird.txt\n")
    (tmp_path / "more/limits.txt").write_text("numpy<3\n")
    (tmp_path / "more/extra.in").write_text("-r ../requirements.txt\n-r https://x.example/r.txt\n")
    (tmp_path / "more/third.txt").write_text("six\n")
    source = find(tmp_path / "requirements.txt")
    assert isinstance(source, Files)
    assert sorted(source.files) == [
        "more/base.txt",
        "more/extra.in",
        "more/limits.txt",
        "more/third.txt",
        "requirements.txt",
    ]


def test_a_requirements_file_of_another_name_is_included_by_one_of_the_usual_name(tmp_path):
    (tmp_path / "requirements-gpu.txt").write_text("torch\n")
    source = find(tmp_path / "requirements-gpu.txt")
    assert isinstance(source, Files)
    assert source.files == {
        "requirements.txt": "-r requirements-gpu.txt\n",
        "requirements-gpu.txt": "torch\n",
    }


def test_a_requirements_file_that_includes_the_usual_one_keeps_both(tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "requirements-gpu.txt").write_text("-r requirements.txt\ntorch\n")
    source = find(tmp_path / "requirements-gpu.txt")
    assert isinstance(source, Files)
    assert source.files == {
        "requirements.txt": "-r requirements/requirements-gpu.txt\n",
        "requirements/requirements-gpu.txt": "-r requirements.txt\ntorch\n",
        "requirements/requirements.txt": "numpy\n",
    }


@pytest.mark.parametrize(
    ("include", "reason"),
    [
        ("../base.txt", "outside the folder"),
        ("/etc/passwd", "outside the folder"),
        ("none.txt", "is not there"),
    ],
)
def test_an_include_that_can_not_go_along_is_named_with_its_line(tmp_path, include, reason):
    folder = tmp_path / "repo"
    folder.mkdir()
    (tmp_path / "base.txt").write_text("")
    (folder / "requirements.txt").write_text(f"numpy\n-r {include}\n")
    with pytest.raises(PackError, match=rf"requirements\.txt:2: .*{reason}"):
        find(folder / "requirements.txt")


def test_a_project_file_brings_its_lock(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "uv.lock").write_text("version = 1\n")
    source = find(tmp_path / "pyproject.toml")
    assert isinstance(source, Files)
    assert sorted(source.files) == ["pyproject.toml", "uv.lock"]


def test_a_list_of_packages_of_ten_megabytes_is_refused(tmp_path):
    (tmp_path / "requirements.txt").write_bytes(b"numpy\n" * (10 << 20))
    with pytest.raises(PackError, match="over 1 MiB"):
        find(tmp_path / "requirements.txt")


def test_a_file_that_names_no_packages_is_refused(tmp_path):
    (tmp_path / "train.py").write_text("")
    with pytest.raises(PackError, match="or the folder it is in"):
        find(tmp_path / "train.py")


@pytest.mark.parametrize(
    ("text", "name"),
    [("3DGAN.git", "3dgan"), ("a__b", "a-b"), ("--x--", "x"), ("日本", None), ("a" * 80, "a" * 63)],
)
def test_derived_names_are_valid(text, name):
    assert derived_name(text) == name
