"""Locks and projects that a source brings along."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import uv
from rig.wheels import WheelFactory
from rig.wheels import wheel_factory as serve_wheels

from builder.choices import Choices
from builder.errors import EngineNeededError, InvalidSpecError, NoWheelError, UnresolvableError
from builder.lock import Target, UvSettings, parse
from builder.model import Lock, Platform
from builder.source import HostPolicy


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.wheels}


PROJECT = """
[project]
name = "my-project"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["top"]

[project.optional-dependencies]
plot = ["pretty"]
all = ["my_project[plot]", "extra"]

[dependency-groups]
test = ["tester", {include-group = "base"}]
base = ["bottom"]
dev = ["extra"]
"""


@pytest.fixture
def project_index(wheel_factory: WheelFactory) -> WheelFactory:
    for name in ("leaf", "pretty", "extra", "tester", "bottom", "pip"):
        wheel_factory.wheel(name)
    wheel_factory.wheel("top", requires=["leaf", "winonly; sys_platform == 'win32'"])
    wheel_factory.wheel("winonly")
    return wheel_factory


def test_a_projects_dependencies_are_locked_and_the_project_is_not(project_index, lock_files):
    assert set(versions(lock_files({"pyproject.toml": PROJECT}))) == {"top", "leaf"}


def test_extras_and_groups_of_a_project_can_be_chosen(project_index, lock_files):
    chosen = lock_files({"pyproject.toml": PROJECT}, choices=Choices(("all",), ("test",)))
    assert set(versions(chosen)) == {"top", "leaf", "pretty", "extra", "tester", "bottom"}
    with pytest.raises(InvalidSpecError, match="no extra 'fast'"):
        lock_files({"pyproject.toml": PROJECT}, choices=Choices(extras=("fast",)))
    with pytest.raises(InvalidSpecError, match="dependency-groups"):
        lock_files({"pyproject.toml": PROJECT}, choices=Choices(groups=("nope",)))


def test_a_package_bound_to_an_index_comes_from_there_only(
    project_index, lock_files, tmp_path_factory
):
    with serve_wheels(tmp_path_factory.mktemp("other-index")) as other:
        other.wheel("top", "9.0+special")
        other.wheel("leaf", "9.0")
        text = PROJECT.replace('["top"]', '["top", "leaf"]') + (
            '[tool.uv.sources]\ntop = { index = "special" }\n'
            f'[[tool.uv.index]]\nname = "special"\nurl = "{other.index_url}"\nexplicit = true\n'
        )
        assert versions(lock_files({"pyproject.toml": text})) == {
            "top": "9.0+special",
            "leaf": "1.0",
        }


def test_a_source_bound_to_an_extra_counts_when_that_extra_is_chosen(
    project_index, lock_files, tmp_path_factory
):
    with serve_wheels(tmp_path_factory.mktemp("by-extra")) as other:
        other.wheel("pretty", "9.0")
        text = PROJECT + (
            "[tool.uv.sources]\npretty = [\n"
            "  { index = 'special', extra = 'plot' },\n"
            "  { git = 'https://h/r', marker = \"sys_platform == 'darwin'\" },\n]\n"
            "top = { index = 'special', group = 'gpu' }\n"
            f"[[tool.uv.index]]\nname = 'special'\nurl = '{other.index_url}'\nexplicit = true\n"
        )
        assert (
            versions(lock_files({"pyproject.toml": text}, choices=Choices(extras=("plot",))))[
                "pretty"
            ]
            == "9.0"
        )
        assert "pretty" not in versions(lock_files({"pyproject.toml": text}))


def test_a_dependency_on_a_repository_needs_an_engine(project_index, lock_files):
    text = PROJECT + "[tool.uv.sources]\ntop = { git = 'https://h/r' }\n"
    with pytest.raises(EngineNeededError, match=r"pyproject\.toml, line .*'top'"):
        lock_files({"pyproject.toml": text})


def test_constraints_and_overrides_of_uv_count(wheel_factory, lock_files):
    for version in ("1.0", "2.0", "3.0"):
        wheel_factory.wheel("leaf", version)
    wheel_factory.wheel("top", requires=["leaf<2"])
    text = '[project]\nname="p"\nversion="1"\ndependencies=["top"]\n[tool.uv]\n'
    overridden = lock_files({"pyproject.toml": text + 'override-dependencies=["leaf==3.0"]\n'})
    assert versions(overridden)["leaf"] == "3.0"
    with pytest.raises(UnresolvableError):
        lock_files({"pyproject.toml": text + 'constraint-dependencies=["leaf>=3"]\n'})


def locked(project: str, index: WheelFactory, tmp_path: Path) -> str:
    """The uv.lock of a project as uv itself writes it."""
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(project)
    subprocess.run(
        [uv.find_uv_bin(), "lock", "--quiet", "--no-config", "--default-index", index.index_url,
         "--cache-dir", str(tmp_path / "lock-cache")],
        cwd=folder, check=True,
    )  # fmt: skip
    return (folder / "uv.lock").read_text()


@pytest.fixture
def uv_lock(project_index: WheelFactory, tmp_path: Path) -> str:
    return locked(PROJECT, project_index, tmp_path)


def test_a_uv_lock_is_taken_as_it_is_with_pip_added(uv_lock, project_index, lock_files):
    project_index.wheel("leaf", "2.0")
    project_index.requests.clear()
    files = {"pyproject.toml": PROJECT, "uv.lock": uv_lock}
    lock = lock_files(files)
    assert versions(lock) == {"top": "1.0", "leaf": "1.0"}
    assert project_index.requests == []
    assert versions(lock_files(files, seed=("pip",))) == versions(lock) | {"pip": "1.0"}
    assert parse(lock.text, "3.11", Platform()) == lock


def test_extras_and_groups_of_a_uv_lock_can_be_chosen(uv_lock, lock_files):
    files = {"pyproject.toml": PROJECT, "uv.lock": uv_lock}
    chosen = lock_files(files, choices=Choices(("plot",), ("base",)))
    assert set(versions(chosen)) == {"top", "leaf", "pretty", "bottom"}
    assert set(versions(lock_files(files, choices=Choices(groups=("dev",))))) == {
        "top",
        "leaf",
        "extra",
    }
    with pytest.raises(InvalidSpecError, match=r"'uv\.lock' can't be exported: .*nope"):
        lock_files(files, choices=Choices(extras=("nope",)))


def test_a_uv_lock_for_a_python_that_the_worker_lacks_is_exported(
    project_index, lock_files, tmp_path
):
    project = PROJECT.replace(">=3.10", ">=3.14")
    text = locked(PROJECT, project_index, tmp_path).replace(">=3.10", ">=3.14")
    lock = lock_files({"pyproject.toml": project, "uv.lock": text}, "3.14")
    assert versions(lock) == {"top": "1.0", "leaf": "1.0"}


def test_a_uv_lock_that_is_none_is_refused(lock_files):
    with pytest.raises(InvalidSpecError, match=r"uv\.lock"):
        lock_files({"pyproject.toml": PROJECT, "uv.lock": "version = 1\nnonsense = [\n"})


def pylock(*packages: str, header: str = "") -> str:
    return 'lock-version = "1.0"\ncreated-by = "somebody"\n' + header + "\n" + "\n".join(packages)


def package(name: str, *wheels: str, more: str = "", sha256: str = "a" * 64) -> str:
    listed = ", ".join(
        f'{{ name = "{wheel}", url = "https://files.example/{wheel}", size = 10, '
        f'hashes = {{ sha256 = "{sha256}" }} }}'
        for wheel in wheels
    )
    return f'[[packages]]\nname = "{name}"\nversion = "1.0"\n{more}\nwheels = [{listed}]\n'


def test_a_given_pylock_gives_the_wheel_that_fits_the_target(lock_files):
    text = pylock(
        package(
            "native",
            "native-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
            "native-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
            "native-1.0-cp311-cp311-manylinux_2_39_x86_64.whl",
            "native-1.0-cp311-cp311-musllinux_1_2_x86_64.whl",
            "native-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
        ),
        package("winonly", "winonly-1.0-py3-none-any.whl", more="marker = \"os_name == 'nt'\""),
        package("pip", "pip-1.0-py3-none-any.whl"),
    )

    def tags(target: Target) -> list[str]:
        return [w.filename for w in lock_files({"pylock.toml": text}, target=target).wheels]

    plain = "pip-1.0-py3-none-any.whl"
    glibc = "native-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    assert tags(Target("3.11", (2, 36))) == [glibc, plain]
    assert tags(Target("3.11", (2, 17)))[0] == "native-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"
    assert tags(Target("3.11", None))[0] == "native-1.0-cp311-cp311-musllinux_1_2_x86_64.whl"
    with pytest.raises(NoWheelError, match=r"native \(pylock\.toml\) has no wheel"):
        tags(Target("3.13"))


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("not toml", InvalidSpecError, "not valid TOML"),
        ('lock-version = "9.0"\ncreated-by="x"\npackages=[]\n', InvalidSpecError, "version 9"),
        (pylock(package("a", "a-1.0-py3-none-any.whl"), header='requires-python = ">=3.14"'),
         InvalidSpecError, "3.14"),
        (pylock(package("a", "a-1.0-py3-none-any.whl", sha256="bad")), InvalidSpecError, "sha256"),
        (pylock(package("a", "b-1.0-py3-none-any.whl")), InvalidSpecError, "valid lock"),
        (pylock('[[packages]]\nname="a"\nvcs={type="git",url="https://h/r",commit-id="1"}\n'),
         EngineNeededError, "built from source"),
        (pylock('[[packages]]\nname="a"\ndirectory={path="."}\n'), EngineNeededError, "built"),
        (pylock('[[packages]]\nname="a"\nversion="1.0"\nsdist={name="a-1.0.tar.gz",'
                'url="https://h/a-1.0.tar.gz",hashes={sha256="x"}}\n'), NoWheelError, "a 1.0"),
        (pylock('[[packages]]\nname="a"\nversion="1.0"\nwheels=[{name="a-1.0-py3-none-any.whl",'
                'path="a.whl",hashes={sha256="x"}}]\n'), EngineNeededError, "beside the lock"),
        (pylock('[[packages]]\nname="a"\nversion="1.0"\nwheels=[{name="a-1.0-py3-none-any.whl",'
                'url="file:///etc/passwd",hashes={sha256="x"}}]\n'), EngineNeededError, "a"),
    ],
)  # fmt: skip
def test_a_given_pylock_that_can_not_be_used_says_why(lock_files, text, error, says):
    with pytest.raises(error) as caught:
        lock_files({"pylock.toml": text})
    assert says in caught.value.detail
    assert "\n" not in caught.value.detail


def test_a_given_lock_may_not_point_into_the_servers_network(lock_files, settings: UvSettings):
    text = pylock(package("a", "a-1.0-py3-none-any.whl")).replace(
        "files.example", "169.254.169.254"
    )
    strict = replace(settings, hosts=HostPolicy())
    with pytest.raises(InvalidSpecError, match=r"169\.254\.169\.254"):
        lock_files({"pylock.toml": text}, uv=strict)


def test_credentials_in_a_given_lock_are_left_out(lock_files):
    text = pylock(package("a", "a-1.0-py3-none-any.whl")).replace("https://", "https://u:s3cret@")
    lock = lock_files({"pylock.toml": text})
    assert "s3cret" not in lock.text
    assert lock.wheels[0].url == "https://files.example/a-1.0-py3-none-any.whl"


def test_pip_packages_of_an_environment_yml_are_locked(project_index, lock_files):
    text = "dependencies:\n  - python=3.11\n  - pip\n  - pip:\n      - top\n      - -r more.txt\n"
    lock = lock_files({"environment.yml": text, "more.txt": "pretty\n"})
    assert set(versions(lock)) == {"top", "leaf", "pretty"}
