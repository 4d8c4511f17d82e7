"""The Debian base of mmdebstrap: what is in it, what is not, and that it is reproducible."""

from __future__ import annotations

import gzip
import importlib.util
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from builder.bases.debian import DEFAULT_EPOCH, debian, forget_old
from builder.bases.introspect import introspect
from builder.errors import BaseNotFoundError, IndexUnreachableError, TimedOutError
from builder.model import Platform, Step
from builder.stores.layout import LayoutStore

from .conftest import DebianBase, need_mmdebstrap

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def archive(debian_base: DebianBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base's one layer, inflated."""
    target = tmp_path_factory.mktemp("layer") / "layer.tar"
    digest = debian_base.base.layers[0].descriptor.digest
    packed = target.with_suffix(".tar.gz")
    with packed.open("wb") as file:
        file.writelines(debian_base.store.blob("kitbag/base/debian", digest))
    with gzip.open(packed) as plain, target.open("wb") as file:
        shutil.copyfileobj(plain, file)
    return target


@pytest.fixture(scope="module")
def members(archive: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(archive) as tar:
        return {info.name.removeprefix("./"): info for info in tar}


@pytest.fixture(scope="module")
def root(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base unpacked, to run its programs in."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("chroot needs root")
    folder = tmp_path_factory.mktemp("root")
    subprocess.run(["tar", "--numeric-owner", "-xf", archive, "-C", folder], check=True)
    return folder


def run(root: Path, *command: str) -> str:
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin", "LANG": "C.UTF-8"}
    return subprocess.run(
        ["chroot", str(root), *command], check=True, capture_output=True, text=True, env=environment
    ).stdout


def text(archive: Path, name: str) -> str:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(f"./{name}")
        assert file
        return file.read().decode()


def test_the_base_says_what_it_is(debian_base: DebianBase) -> None:
    base = debian_base.base
    assert base.python.minor == "3.11"
    assert base.python.path == "/usr/bin/python3.11"
    assert base.glibc == (2, 36)
    assert base.source == "debian:bookworm"
    assert "jovyan:x:1000:100::/home/jovyan:/bin/bash" in base.passwd.splitlines()
    assert "users:x:100:" in base.group.splitlines()
    assert "LANG=C.UTF-8" in base.env
    assert base.size_bytes < 90 << 20


def test_its_tag_leads_to_the_same_digest(debian_base: DebianBase) -> None:
    base = introspect(
        debian_base.store,
        "kitbag/base/debian",
        "bookworm",
        name="debian",
        platform=debian_base.base.platform,
    )
    assert base.digest == debian_base.base.digest
    assert base.python == debian_base.base.python


def test_its_programs_run(root: Path, debian_base: DebianBase) -> None:
    python = debian_base.base.python
    assert run(root, python.path, "-VV").startswith(f"Python {python.version}")
    run(root, python.path, "-c", "import ssl, sqlite3, ctypes, venv, ensurepip, distutils.util")
    assert run(root, "id", "jovyan").startswith("uid=1000(jovyan) gid=100(users)")
    for program in ("git", "ssh", "curl", "tini", "ps", "less", "bash"):
        run(root, "which", program)
    assert "libgomp.so.1" in run(root, "ldconfig", "-p")


def test_tls_certificates_are_there(root: Path) -> None:
    count = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    assert int(run(root, "/usr/bin/python3", "-c", count)) > 50


def test_the_user_owns_an_empty_home(members: dict[str, tarfile.TarInfo]) -> None:
    home = members["home/jovyan"]
    assert (home.uid, home.gid, home.mode & 0o777) == (1000, 100, 0o755)
    assert not [name for name in members if name.startswith("home/jovyan/")]


def test_the_standard_library_is_compiled_and_checked_by_nothing(root: Path) -> None:
    library = root / "usr/lib/python3.11"
    sources = [p for p in library.rglob("*.py") if "/lib2to3/tests/" not in str(p)]
    assert len(sources) > 500
    for source in sources:
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
        header = compiled.read_bytes()[:16]
        assert header[4:8] == (1).to_bytes(4, "little"), f"{compiled} is not unchecked-hash"
        assert header[8:16] == importlib.util.source_hash(source.read_bytes())


def test_nothing_of_this_machine_or_day_is_in_it(
    archive: Path, members: dict[str, tarfile.TarInfo]
) -> None:
    assert members["etc/hostname"].size == members["etc/resolv.conf"].size == 0
    assert "etc/machine-id" not in members
    assert max(info.mtime for info in members.values()) <= DEFAULT_EPOCH
    leftovers = ("var/log/", "var/lib/apt/lists/", "var/cache/apt/", "tmp/", "run/", "dev/")
    files = [name for name, info in members.items() if info.isreg() and info.size]
    assert not [name for name in files if name.startswith(leftovers)]
    assert not [name for name in files if name.endswith(("99mmdebstrap", "-old", "/passwd-"))]
    assert not [name for name in files if name.startswith("etc/ssh/ssh_host_")]
    assert all(line.split(":")[2] == "0" for line in text(archive, "etc/shadow").splitlines())


def test_licences_stay_when_manuals_go(members: dict[str, tarfile.TarInfo]) -> None:
    assert "usr/share/doc/git/copyright" in members
    assert not [n for n, i in members.items() if n.startswith("usr/share/man/") and i.isreg()]


def test_made_anew_by_another_worker_it_has_the_same_digest(
    debian_base: DebianBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TZ": "Asia/Tokyo", "LC_ALL": "de_DE", "PYTHONHASHSEED": "7"}.items():
        monkeypatch.setenv(name, value)
    steps: list[Step] = []
    before = os.umask(0o077)
    try:
        again = debian(LayoutStore(tmp_path / "s"), cache=tmp_path / "c", report=steps.append)
    finally:
        os.umask(before)
    assert any("creating tarball" in step.message for step in steps), "mmdebstrap ran again"
    assert again.digest == debian_base.base.digest
    assert again.layers == debian_base.base.layers


@pytest.fixture
def path_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A PATH that lacks one program."""

    def use(missing: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in ("apt-get", "apt-config", "dpkg", "mmdebstrap", "zstd"):
            found = shutil.which(name)
            if found and name != missing:
                (folder / name).symlink_to(found)
        monkeypatch.setenv("PATH", str(folder))

    return use


def test_the_second_time_mmdebstrap_is_not_needed(
    debian_base: DebianBase, tmp_path: Path, path_without
) -> None:
    path_without("mmdebstrap")
    steps: list[Step] = []
    store = LayoutStore(tmp_path / "other")
    base = debian(store, "other/repo", cache=debian_base.cache, report=steps.append, name="mine")
    assert steps == []
    assert base.digest == debian_base.base.digest
    assert base.image == store.reference("other/repo", base.digest)
    assert base.name == "mine"
    assert not store.missing("other/repo", [layer.descriptor.digest for layer in base.layers])


def test_a_mirror_that_is_away_does_not_matter_once_the_base_is_made(
    debian_base: DebianBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "apt.conf"
    config.write_text('Acquire::http::Proxy "http://127.0.0.1:9";\nAcquire::Retries "0";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    steps: list[Step] = []
    base = debian(debian_base.store, cache=debian_base.cache, report=steps.append)
    assert base == debian_base.base
    assert [step.kind for step in steps] == ["warning"]
    assert "Using the Debian root made last" in steps[0].message
    with pytest.raises(IndexUnreachableError, match="does not answer"):
        debian(debian_base.store, cache=tmp_path / "empty", report=steps.append)


def test_without_mmdebstrap_the_error_says_what_to_install(tmp_path: Path, path_without) -> None:
    path_without("mmdebstrap")
    with pytest.raises(BaseNotFoundError, match="run `apt-get install mmdebstrap` on the"):
        debian(LayoutStore(tmp_path / "s"), cache=tmp_path / "c", report=lambda step: None)


def test_a_package_that_does_not_exist_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    need_mmdebstrap()
    store = LayoutStore(tmp_path / "s")
    with pytest.raises(BaseNotFoundError, match="no-such-package-of-debian"):
        debian(
            store,
            packages=("no-such-package-of-debian",),
            cache=tmp_path / "c",
            report=lambda step: None,
        )
    assert store.manifest("kitbag/base/debian", "bookworm") is None
    assert not list((tmp_path / "c").glob("*/layer.json"))


@pytest.mark.parametrize("package", ["--help", "git,curl", "git curl", "", "A", "a\nb"])
def test_a_package_is_a_name(tmp_path: Path, package: str) -> None:
    with pytest.raises(BaseNotFoundError, match="is no name of a Debian package"):
        debian(
            LayoutStore(tmp_path / "s"),
            packages=(package,),
            cache=tmp_path / "c",
            report=lambda step: None,
        )


def test_it_is_for_this_machines_platform(debian_base: DebianBase) -> None:
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    assert debian_base.base.platform == Platform("linux", arch)


def test_at_its_time_limit_it_is_stopped_and_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_mmdebstrap()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    with pytest.raises(TimedOutError, match="mmdebstrap was stopped after 3 s"):
        debian(
            LayoutStore(tmp_path / "s"),
            cache=tmp_path / "c",
            report=lambda step: None,
            timeout_s=3,
        )
    assert not list(scratch.iterdir())
    assert "scratch" not in Path("/proc/mounts").read_text()
    assert not list((tmp_path / "c").glob("*/layer.json"))


def test_old_roots_leave_the_cache(debian_base: DebianBase, tmp_path: Path) -> None:
    """A root whose mirror has moved on is kept once more, for when the mirror is away."""
    made = next(debian_base.cache.glob("*/layer.json")).parent
    recipe = made.name.partition("-")[0]
    for number in range(4):
        old = tmp_path / f"{recipe}-{number}"
        old.mkdir()
        shutil.copy(made / "layer.json", old)
        os.utime(old / "layer.json", (number, number))
    forget_old(tmp_path, recipe)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{recipe}-2", f"{recipe}-3"]
