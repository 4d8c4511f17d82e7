"""What was installed in a container becomes a version; tests/cluster/test_story.py goes on."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from e2e.servers import Deployed, Server, StartEmbedded
from rig.docker import DockerEngine
from rig.git import GitServer
from rig.wheels import WheelFactory, wheel_factory

from kitbag.capture import installed
from kitbag.capture.local import wheel

pytestmark = [pytest.mark.slow, pytest.mark.rig]

CLIENT = Path(__file__).parents[2] / "client"
SITE = sysconfig.get_paths()["purelib"]


PROJECT = {
    "pyproject.toml": """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "NAME"
version = "0.3"
""",
    # A build backend of its own (PEP 517, PEP 660), as projects may have one: nothing is fetched.
    "backend.py": """
import pathlib
import zipfile

NAME, PURE, TAG = "NAME", "PURE", "TAG"


def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {f"{NAME}.py": pathlib.Path(f"{NAME}.py").read_text()})


def build_editable(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {f"_{NAME}.pth": str(pathlib.Path.cwd())})


def _wheel(folder, files):
    info = f"{NAME}-0.3.dist-info"
    files |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: 0.3\\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\\nRoot-Is-Purelib: {PURE}\\nTag: {TAG}\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(pathlib.Path(folder, f"{NAME}-0.3-{TAG}.whl"), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return f"{NAME}-0.3-{TAG}.whl"
""",
    "NAME.py": "def where():\n    return 'NAME of the folder'\n",
}


def project(name: str, *, pure: bool = True) -> dict[str, str]:
    """The files of a package that isn't on any index."""
    tag = "py3-none-any" if pure else "cp311-cp311-linux_x86_64"
    said = {"NAME": name, "PURE": str(pure).lower(), "TAG": tag}

    def filled(text: str) -> str:
        for word, value in said.items():
            text = text.replace(f'"{word}"', f'"{value}"')
        return text.replace("NAME of", f"{name} of")

    return {file.replace("NAME", name): filled(text) for file, text in PROJECT.items()}


class Notebook:
    """A container of an image, in which a user works; the platform mounted the client beside it."""

    def __init__(self, docker: DockerEngine, container: str) -> None:
        self.docker = docker
        self.container = container

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.docker.docker("exec", self.container, *command, check=check)

    def kitbag(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("python", "-m", "kitbag", *arguments, check=False)


@contextmanager
def started(docker: DockerEngine, image: str, server: Server, *options: str) -> Iterator[Notebook]:
    container = docker.docker(
        "run", "--detach", "--network=host",
        f"--volume={CLIENT}:/platform/client:ro", f"--volume={SITE}:/platform/site:ro",
        "--env=PYTHONPATH=/platform/client:/platform/site", f"--env=KITBAG_URL={server.url}",
        *options, image, "sleep", "600",
    ).stdout.strip()  # fmt: skip
    try:
        yield Notebook(docker, container)
    finally:
        docker.docker("rm", "--force", container)


@pytest.fixture(scope="module")
def built(deployed: Deployed, index: WheelFactory, docker_engine: DockerEngine) -> dict[str, Any]:
    """Version 1 of hep/nb, pulled."""
    index.wheel("humanize", "4.9.0", {"humanize.py": "def naturalsize(n): return f'{n} Bytes'\n"})
    build: dict[str, Any] = deployed.build("hep/nb", "one==1.0", "two", "three")
    docker_engine.docker("pull", build["image"])
    return build


def test_what_was_installed_is_a_version_that_other_containers_run(
    built: dict[str, Any],
    deployed: Deployed,
    index: WheelFactory,
    docker_engine: DockerEngine,
) -> None:
    with started(docker_engine, built["image"], deployed, "--env=NB_PREFIX=/notebook/hep/nb") as nb:
        nothing = nb.kitbag("capture", "--check")
        assert (nothing.returncode, nothing.stderr) == (0, ""), nothing.stderr
        pip = ("python", "-m", "pip", "install", "--quiet", "--index-url", index.index_url)
        nb.run(*pip, "humanize", "one==2.0")
        nb.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "three")

        shown = nb.kitbag("capture", "--check")
        assert shown.returncode == 1
        assert shown.stderr.splitlines() == [
            "+ humanize 4.9.0",
            "- three 1.0",
            "~ one 1.0 -> 2.0",
        ]
        asks = nb.kitbag("capture")
        assert asks.returncode == 2
        assert "--yes" in asks.stderr

        saved = nb.kitbag("capture", "--yes")
        assert saved.returncode == 0, saved.stderr
        image = saved.stdout.strip()
        assert image.partition("@")[0] == built["image"].partition("@")[0]
        assert image != built["image"]
        assert "kitbag pin . --env hep/nb:2 -i" in saved.stderr
        again = nb.kitbag("capture", "--yes")
        assert again.stdout.strip() == image  # nothing changed since: the same request

    docker_engine.docker("pull", image)
    done = docker_engine.run(
        image, "python", "-c", "import humanize; print(humanize.naturalsize(3))"
    )
    assert done.stdout == "3 Bytes\n"
    assert docker_engine.run(image, "python", "-c", "import three", check=False).returncode == 1
    assert docker_engine.run(image, "one").stdout == "one 2.0\n"


def test_a_cell_of_a_notebook_saves_too(
    built: dict[str, Any], deployed: Deployed, index: WheelFactory, docker_engine: DockerEngine
) -> None:
    with started(
        docker_engine, built["image"], deployed, "--env=KITBAG_ENVIRONMENT=hep/cell"
    ) as nb:
        nb.run(
            "python", "-m", "pip", "install", "--quiet", "--index-url", index.index_url, "humanize"
        )
        cell = "%load_ext kitbag\n%kitbag diff\nimage = %kitbag save\nprint(image)"
        done = nb.run("python", "-m", "IPython", "--colors=NoColor", "-c", cell)
        said = done.stdout.splitlines()
        assert said.count("+ humanize 4.9.0") == 2
        assert "/hep/cell@sha256:" in said[-1]
        wrong = nb.run("python", "-m", "IPython", "-c", "%load_ext kitbag\n%kitbag what")
        assert "%kitbag save [NS/NAME]" in wrong.stderr


def test_two_people_who_save_the_same_name_at_once_both_have_what_they_installed(
    built: dict[str, Any], deployed: Deployed, index: WheelFactory, docker_engine: DockerEngine
) -> None:
    named = "--env=KITBAG_ENVIRONMENT=hep/both"
    pip = ("python", "-m", "pip", "install", "--quiet", "--index-url", index.index_url)
    with (
        started(docker_engine, built["image"], deployed, named) as ana,
        started(docker_engine, built["image"], deployed, named) as ben,
        ThreadPoolExecutor(2) as pool,
    ):
        ana.run(*pip, "humanize")
        ben.run(*pip, "four")
        saved = list(pool.map(lambda nb: nb.kitbag("capture", "--yes"), (ana, ben)))
    assert [done.returncode for done in saved] == [0, 0], [done.stderr for done in saved]
    images = [done.stdout.strip() for done in saved]
    versions = deployed.get("/v1/environments/hep/both/versions")["items"]
    assert {version["image"]: version["number"] for version in versions}.keys() == set(images)
    assert sorted(version["number"] for version in versions) == [1, 2]
    for image, mine in zip(images, ("humanize", "four"), strict=True):
        number = next(item["number"] for item in versions if item["image"] == image)
        whole = deployed.get(f"/v1/environments/hep/both/versions/{number}")
        assert mine in {package["name"] for package in whole["packages_list"]}


def test_what_an_image_cant_carry_is_named(
    built: dict[str, Any], deployed: Deployed, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    with started(docker_engine, built["image"], deployed) as nb:
        site = "/opt/env/lib/python3.11/site-packages"
        nb.run(
            "sh", "-c",
            f"mkdir -p /opt/env/conda-meta {site}/fortran-1.0.dist-info &&"
            """ echo '{"name": "gdal", "version": "3.8"}' > /opt/env/conda-meta/gdal.json &&"""
            f" echo conda > {site}/fortran-1.0.dist-info/INSTALLER",
        )  # fmt: skip
        shown = nb.kitbag("capture", "--check", "--json")
        assert json.loads(shown.stdout)["difference"]["stays"] == [
            "fortran 1.0, which conda installed",
            "gdal 3.8, which conda installed",
        ]
        assert shown.returncode == 0


def test_without_a_name_or_a_server_a_sentence_says_so(
    built: dict[str, Any], deployed: Deployed, index: WheelFactory, docker_engine: DockerEngine
) -> None:
    with started(docker_engine, built["image"], deployed) as nb:
        nb.run(
            "python", "-m", "pip", "install", "--quiet", "--index-url", index.index_url, "humanize"
        )
        nameless = nb.kitbag("capture", "--yes")
        assert nameless.returncode == 2
        assert nameless.stderr.splitlines()[-1].endswith(
            "give --name NS/NAME, or set KITBAG_ENVIRONMENT"
        )
        for name in ("hep/a b", "hep/../x", "hep/\U0001f600"):
            odd = nb.kitbag("capture", "--yes", "--name", name)
            assert odd.returncode == 2
            assert "is not an environment" in odd.stderr
        gone = nb.run(
            "env", "KITBAG_URL=http://127.0.0.1:1", "python", "-m", "kitbag", "capture", "--yes",
            "--name", "hep/nb", check=False,
        )  # fmt: skip
        assert gone.returncode == 2
        assert "127.0.0.1:1" in gone.stderr.splitlines()[-1]


@pytest.fixture
def own_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WheelFactory]:
    """An index with the pip that runs here, since an engine's build runs it."""
    with wheel_factory(tmp_path_factory.mktemp("index")) as made:
        made.wheel("one")
        wheel(installed(Path(SITE))["pip"], made.folder)
        yield made


def test_packages_of_folders_and_repositories_are_carried_and_what_cant_be_is_named(
    docker_engine: DockerEngine,
    start_embedded: StartEmbedded,
    git_server: GitServer,
    own_index: WheelFactory,
    tmp_path: Path,
) -> None:
    server = start_embedded(
        KITBAG_INDEX_URL=own_index.index_url,
        KITBAG_ENGINE="docker",
        KITBAG_ENGINE_ADDRESS=docker_engine.host,
        KITBAG_ENGINE_NETWORK="host",
        KITBAG_BINDER_PACKAGES="",
    )
    repository = git_server.repository("vcstools")
    commit = repository.commit(project("vcstools"))
    for name in ("folded", "edited", "native"):
        for file, text in project(name, pure=name != "native").items():
            path = tmp_path / name / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    built = server.build("hep/own", "one==1.0")
    docker_engine.docker("pull", "--quiet", built["image"])
    named = "--env=KITBAG_ENVIRONMENT=hep/own"
    with started(docker_engine, built["image"], server, named) as nb:
        pip = ("python", "-m", "pip", "install", "--quiet", "--no-index")
        docker_engine.docker("cp", f"{tmp_path}/.", f"{nb.container}:/tmp")
        docker_engine.docker("exec", "--user=0", nb.container, "chown", "-R", "1000:100", "/tmp")
        nb.run(*pip, "/tmp/folded", "/tmp/native", f"git+{repository.git_url}")
        nb.run(*pip, "--editable", "/tmp/edited")
        shown = nb.kitbag("capture", "--check")
        assert shown.stderr.splitlines() == [
            "+ edited 0.3 from /tmp/edited",
            "+ folded 0.3 from /tmp/folded",
            f"+ vcstools 0.3 from git+{repository.git_url}@{commit}",
            "! not carried: native 0.3 from /tmp/native, compiled for this machine",
        ]
        saved = nb.kitbag("capture", "--yes")
        assert saved.returncode == 0, saved.stderr
    image = saved.stdout.strip()
    docker_engine.docker("pull", "--quiet", image)
    code = "import edited, folded, vcstools, one; print(edited.where(), folded.__file__)"
    done = docker_engine.run(image, "python", "-c", code)
    assert done.stdout.startswith("edited of the folder /opt/env/lib/python3.11/site-packages/")
    assert docker_engine.run(image, "python", "-c", "import native", check=False).returncode == 1
