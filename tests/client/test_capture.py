"""What differs between an image and what is installed in it, in a real environment."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig.wheels import WheelFactory, wheel_factory

from kitbag.capture import Capture, Image, image, look
from kitbag.capture.image import environment_name, notebook_name
from kitbag.capture.installed import Installed, Origin
from kitbag.capture.local import wheel
from kitbag.errors import KitbagError, PackError
from kitbag.source import Files, Folder

LOCKED = {"one": "1.0", "two": "1.0", "pip": "99.0"}
PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "Own.Tools"
version = "0.3"
[project.scripts]
own = "own_tools:main"
[tool.hatch.build.targets.wheel]
packages = ["own_tools"]
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WheelFactory]:
    with wheel_factory(tmp_path_factory.mktemp("index")) as made:
        for version in ("1.0", "2.0"):
            made.wheel("one", version, scripts={"one": "one:main"})
        made.wheel("two", requires=["one"])
        made.wheel("humanize", "4.9.0")
        made.wheel("torch", "2.4.0+cpu")
        made.wheel("compiled", "1.0", tag="cp311-cp311-linux_x86_64", purelib=False)
        yield made


class Place:
    """An environment as an image has it, and uv to change it by."""

    def __init__(self, folder: Path, index: WheelFactory) -> None:
        self.prefix = folder / "env"
        self.index = index
        self._uv("venv", "--quiet", "--python", sys.executable, str(self.prefix))
        self.install("one==1.0", "two")

    def install(self, *what: str) -> None:
        self._pip("install", "--index-url", self.index.index_url, "--no-build-isolation", *what)

    def install_backend(self) -> None:
        """What the project is built by, from the public index."""
        self._pip("install", "hatchling", "editables")

    def uninstall(self, *what: str) -> None:
        self._pip("uninstall", *what)

    def image(self) -> Image:
        return Image(self.prefix, "{}.{}.{}".format(*sys.version_info), "auto", LOCKED)

    @property
    def site(self) -> Path:
        return self.image().site

    def look(self) -> Capture:
        return look(self.image())

    def _pip(self, *command: str) -> None:
        self._uv("pip", command[0], "--quiet", "--python", str(self.prefix), *command[1:])

    def _uv(self, *command: str) -> None:
        uv = Path(sys.executable).with_name("uv")
        done = subprocess.run([uv, *command], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def place(tmp_path: Path, index: WheelFactory) -> Place:
    return Place(tmp_path, index)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "own tools"
    (folder / "own_tools").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "own_tools/__init__.py").write_text("def main():\n    print('mine')\n")
    (folder / "own_tools/data.txt").write_text("data\n")
    return folder


def test_an_untouched_environment_differs_in_nothing(place: Place) -> None:
    found = place.look()
    assert not found.difference
    assert found.difference.stays == ()


def test_installed_changed_and_removed_packages_are_told(place: Place) -> None:
    place.install("one==2.0", "humanize")
    place.uninstall("two")
    difference = place.look().difference
    assert [(item.name, item.version) for item in difference.added] == [("humanize", "4.9.0")]
    assert [(c.name, c.before, c.after) for c in difference.changed] == [("one", "1.0", "2.0")]
    assert difference.removed == (("two", "1.0"),)


def test_everything_is_asked_for_to_the_version(place: Place) -> None:
    place.install("humanize", "torch")
    found = place.look()
    assert found.requirements().splitlines()[1:] == [
        "humanize==4.9.0",
        "one==1.0",
        "torch==2.4.0",
        "two==1.0",
    ]
    with found.source("a/b") as source:
        assert isinstance(source, Files)
        assert source.files == {"requirements.txt": found.requirements()}


def test_installers_and_what_lies_outside_of_the_prefix_do_not_count(place: Place) -> None:
    (place.site / "setuptools-70.0.dist-info").mkdir()
    (place.site / "pip-100.0.dist-info").mkdir()
    found = place.look()
    assert not found.difference
    assert "pip==99.0" in found.requirements()
    assert "setuptools" not in found.requirements()


def test_a_package_from_a_url_or_a_repository_is_asked_for_by_it(place: Place) -> None:
    url = f"{place.index.index_url.removesuffix('simple/')}files/humanize-4.9.0-py3-none-any.whl"
    for name, written in (
        ("fromurl", {"url": url, "archive_info": {"hash": "sha256=00"}}),
        (
            "fromgit",
            {
                "url": "https://git.example.org/a/b.git",
                "vcs_info": {"vcs": "git", "commit_id": "c" * 40, "requested_revision": "main"},
                "subdirectory": "sub",
            },
        ),
    ):
        info = place.site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "direct_url.json").write_text(json.dumps(written))
    lines = place.look().requirements().splitlines()
    assert f"fromurl @ {url}" in lines
    assert f"fromgit @ git+https://git.example.org/a/b.git@{'c' * 40}#subdirectory=sub" in lines


@pytest.mark.parametrize("editable", [False, True])
def test_a_folders_package_travels_as_a_wheel(
    place: Place, project: Path, editable: bool, tmp_path: Path
) -> None:
    place.install_backend()
    place.install(*(["--editable"] if editable else []), str(project))
    found = place.look()
    (own,) = [item for item in found.difference.added if item.name == "own-tools"]
    assert own.origin is (Origin.EDITABLE if editable else Origin.FOLDER)
    assert own.url == str(project)
    with found.source("a/b") as source:
        assert isinstance(source, Folder)
        (name,) = [name for name in source.names if name.endswith(".whl")]
        text = (source.path / "requirements.txt").read_text()
        assert f"./{name}" in text.splitlines()
        made = source.path / name
        with zipfile.ZipFile(made) as archive:
            assert {"own_tools/__init__.py", "own_tools/data.txt"} <= set(archive.namelist())
            assert not any(
                entry.endswith((".pyc", "direct_url.json")) for entry in archive.namelist()
            )
        target = tmp_path / "other"
        place._uv("venv", "--quiet", "--python", sys.executable, str(target))
        place._uv("pip", "install", "--quiet", "--python", str(target), "--no-deps", str(made))
    done = subprocess.run([target / "bin/own"], capture_output=True, text=True, check=True)
    assert done.stdout == "mine\n"


def test_the_same_files_give_the_same_wheel(place: Place, project: Path, tmp_path: Path) -> None:
    place.install_backend()
    place.install(str(project))
    (own,) = [item for item in place.look().difference.added if item.name == "own-tools"]
    first, second = (tmp_path / name for name in "ab")
    for folder in (first, second):
        folder.mkdir()
    assert wheel(own, first).read_bytes() == wheel(own, second).read_bytes()


def test_a_compiled_package_of_a_folder_stays_and_is_named(
    place: Place, index: WheelFactory
) -> None:
    (file,) = index.folder.glob("compiled-*.whl")
    copied = place.prefix / "compiled-1.0-cp311-cp311-linux_x86_64.whl"
    copied.write_bytes(file.read_bytes())
    place.install(str(copied))
    found = place.look()
    assert found.difference.stays == (f"compiled 1.0 from {copied}, compiled for this machine",)
    assert "compiled" not in found.requirements()
    package = Installed(
        "compiled", "1.0", place.site / "compiled-1.0.dist-info", Origin.FOLDER, "x"
    )
    with pytest.raises(PackError, match="compiled for this machine"):
        wheel(package, place.prefix)


def test_an_editable_package_whose_folder_is_gone_is_named(place: Place, tmp_path: Path) -> None:
    info = place.site / "lost-1.0.dist-info"
    info.mkdir()
    gone = {"url": f"file://{tmp_path}/gone", "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(gone))
    assert place.look().difference.stays == (f"lost 1.0: its folder {tmp_path}/gone is gone",)


def test_what_conda_installed_stays_and_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    info = place.site / "numpy-1.26.dist-info"
    info.mkdir()
    (info / "INSTALLER").write_text("conda\n")
    (info / "direct_url.json").write_text('{"url": "file:///croot/numpy", "dir_info": {}}')
    meta = place.prefix / "conda-meta"
    meta.mkdir()
    (meta / "gdal-3.8.json").write_text('{"name": "gdal", "version": "3.8"}')
    (meta / "broken.json").write_text("{")
    difference = place.look().difference
    assert difference.stays == (
        "gdal 3.8, which conda installed",
        "numpy 1.26, which conda installed",
    )
    assert not difference


def test_the_image_says_what_it_is_made_of(tmp_path: Path) -> None:
    facts, lock = tmp_path / "environment.json", tmp_path / "pylock.toml"
    with pytest.raises(KitbagError, match="inside of an image"):
        image(facts, lock)
    facts.write_text(
        '{"base": {"name": "auto", "digest": "sha256:0"}, "packages": {"one": "1.0"},'
        ' "prefix": "/opt/env", "python": "3.11.2"}'
    )
    lock.write_text(
        'lock-version = "1.0"\n\n[[packages]]\nname = "one"\nversion = "1.0"\n'
        'archive = { url = "https://h.example/one-1.0-py3-none-any.whl", hashes = {} }\n'
    )
    made = image(facts, lock)
    assert made.site == Path("/opt/env/lib/python3.11/site-packages")
    assert made.urls == {"one": "https://h.example/one-1.0-py3-none-any.whl"}
    for broken in ("{", "[]", '{"prefix": 1}'):
        facts.write_text(broken)
        with pytest.raises(KitbagError, match=r"environment\.json"):
            image(facts, lock)


@pytest.mark.parametrize(
    ("given", "variables", "name"),
    [
        ("a/b", {"KITBAG_ENVIRONMENT": "c/d"}, "a/b"),
        (None, {"KITBAG_ENVIRONMENT": "c/d:4", "NB_PREFIX": "/notebook/e/f"}, "c/d"),
        (None, {"NB_PREFIX": "/notebook/hep/nb"}, "hep/nb"),
        (None, {"NB_PREFIX": "/user/alice"}, None),
        (None, {}, None),
        ("../x", {}, None),
    ],
)
def test_the_environments_name_is_given_or_the_notebooks(
    given: str | None,
    variables: dict[str, str],
    name: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("KITBAG_ENVIRONMENT", "NB_PREFIX"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    if name is None:
        with pytest.raises(KitbagError):
            environment_name(given)
    else:
        assert environment_name(given) == name


Configured = Callable[..., tuple[str, str | None]]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configured:
    """The server and the token by these variables, with token files of a pod that is given."""
    from kitbag import config

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("KITBAG_URL", "KITBAG_TOKEN", "KITBAG_TOKEN_FILE", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)

    def load(
        projected: str | None, account: str | None, **variables: str
    ) -> tuple[str, str | None]:
        for name, text in (("PROJECTED_TOKEN", projected), ("ACCOUNT_TOKEN", account)):
            file = tmp_path / name
            if text is not None:
                file.write_text(f"{text}\n")
            monkeypatch.setattr(config, name, file)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        found = config.load()
        return found.url, found.token

    return load


def test_a_pod_shows_its_own_token_to_the_clusters_kitbag(configured: Configured) -> None:
    found = configured(None, "account", KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert found == ("http://kitbag-api.kitbag.svc", "account")
    assert configured("own", "account") == ("http://kitbag-api.kitbag.svc", "own")


def test_the_accounts_token_stays_in_the_cluster(configured: Configured) -> None:
    url = "https://kitbag.example.org"
    assert configured(None, "account", KITBAG_URL=url) == (url, None)
    assert configured("own", "account") == (url, "own")
    assert configured("own", "account", KITBAG_TOKEN="mine") == (url, "mine")


def test_outside_of_a_pod_there_is_no_token(configured: Configured) -> None:
    assert configured(None, None) == ("http://127.0.0.1:8484", None)


@pytest.mark.parametrize(
    ("prefix", "told"),
    [
        ("/notebook/hep/nb", ("hep", "nb")),
        ("/notebook/hep/nb/", ("hep", "nb")),
        ("/workspace/connect/hep/nb/jupyterlab/", "stop and start it on Kubeflow's page"),
        ("/user/ana/", "stop this server and start it again"),
        ("/notebook/hep", "stop this server and start it again"),
        ("", "stop this server and start it again"),
    ],
)
def test_a_notebook_knows_its_own_name_and_what_to_do_where_it_has_none(
    monkeypatch: pytest.MonkeyPatch, prefix: str, told: tuple[str, str] | str
) -> None:
    monkeypatch.setenv("NB_PREFIX", prefix)
    if isinstance(told, tuple):
        assert notebook_name() == told
        return
    with pytest.raises(KitbagError, match=told):
        notebook_name()
