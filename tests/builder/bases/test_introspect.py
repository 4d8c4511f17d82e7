"""What an image offers is read from its layers: Python, C library, CUDA, users."""

from __future__ import annotations

import gzip
import os
import platform as host
import sys
import tarfile
from pathlib import Path

import pytest

from builder.bases.introspect import introspect
from builder.errors import BaseNotFoundError, InvalidSpecError
from builder.model import Base, Platform, PythonInfo

from .conftest import Entry, Images, folder, link, opaque, tar, whiteout, zstd

GLIBC = b"\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\n\0"
LIBC = Entry("usr/lib/x86_64-linux-gnu/libc.so.6", b"\x7fELF" + bytes(5000) + GLIBC)
PYTHON = Entry("usr/bin/python3.11", b"\x7fELF" + bytes(3000) + b"\x003.11.9\0%.80s (%.80s)\0")
BASE = [link("lib", "usr/lib"), link("bin", "usr/bin"), LIBC, PYTHON]


def look(images: Images, reference: str = "latest", arch: str = "amd64") -> Base:
    return introspect(
        images.store, images.repo, reference, name="some", platform=Platform("linux", arch)
    )


def test_a_base_is_pinned_and_says_what_it_offers(images: Images) -> None:
    passwd, group = Entry("etc/passwd", b"root:x:0:0:::\n"), Entry("etc/group", b"users:x:100:\n")
    digest = images.push(
        [*BASE, passwd, group],
        [Entry("opt/more")],
        Env=["PATH=/usr/bin", "LANG=C.UTF-8"],
        User="1000",
        Labels={"maintainer": "someone"},
    )
    base = look(images)
    assert base.digest == digest
    assert base.image == images.store.reference(images.repo, digest)
    assert base.python == PythonInfo("3.11.9", "/usr/bin/python3.11")
    assert base.glibc == (2, 36)
    assert base.env == ("PATH=/usr/bin", "LANG=C.UTF-8")
    assert (base.user, base.passwd, base.group) == ("1000", "root:x:0:0:::\n", "users:x:100:\n")
    assert base.labels == {"maintainer": "someone"}
    assert base.cuda is None
    assert len(base.layers) == 2
    assert Base.from_json(base.to_json()) == base


@pytest.mark.parametrize("pack", [gzip.compress, zstd, bytes], ids=["gzip", "zstd", "plain"])
def test_layers_are_read_however_they_are_packed(images: Images, pack) -> None:
    images.push(BASE, [Entry("opt/big", os.urandom(3 << 20))], pack=pack)
    assert look(images).python.version == "3.11.9"


def test_a_gzip_layer_may_be_many_members_with_zeros_behind_them(images: Images) -> None:
    data = tar(BASE)
    members = b"".join(gzip.compress(data[i : i + 1500]) for i in range(0, len(data), 1500))
    images.push(members + bytes(512), diff_ids=["sha256:" + "0" * 64])
    assert look(images).python.version == "3.11.9"


def test_this_machines_own_python_and_libc_are_recognised(images: Images) -> None:
    program = Path(os.path.realpath(sys.executable))
    libc = next(Path("/").glob("usr/lib/*-linux-gnu/libc.so.6"))
    minor = f"python3.{sys.version_info.minor}"
    images.push(
        [Entry(f"usr/bin/{minor}", program.read_bytes()), Entry(str(libc)[1:], libc.read_bytes())],
        arch={"x86_64": "amd64", "aarch64": "arm64"}[host.machine()],
    )
    base = look(images, arch={"x86_64": "amd64", "aarch64": "arm64"}[host.machine()])
    assert base.python == PythonInfo(host.python_version().rstrip("+"), f"/usr/bin/{minor}")
    assert base.glibc == tuple(map(int, host.libc_ver()[1].split(".")))


def test_a_shared_pythons_version_is_in_its_library(images: Images) -> None:
    images.push(
        [
            LIBC,
            Entry("usr/local/bin/python3.12", b"\x7fELF tiny"),
            link("usr/local/bin/python3", "python3.12"),
            Entry("usr/local/lib/libpython3.12.so.1.0", b"\x7fELF\x003.12.11+\0"),
            PYTHON,
        ]
    )
    assert look(images).python == PythonInfo("3.12.11", "/usr/local/bin/python3.12")


@pytest.mark.parametrize(
    ("extra", "env"),
    [
        ([Entry("usr/local/include/python3.12/patchlevel.h", b'#define PY_VERSION "3.12.4"')], []),
        ([], ["PYTHON_VERSION=3.12.4"]),
    ],
    ids=["header", "variable"],
)
def test_a_stripped_pythons_version_is_asked_elsewhere(images: Images, extra, env) -> None:
    images.push([LIBC, Entry("usr/local/bin/python3.12", b"\x7fELF tiny"), *extra], Env=env)
    assert look(images).python == PythonInfo("3.12.4", "/usr/local/bin/python3.12")


def test_the_first_python3_on_path_is_the_bases_python(images: Images) -> None:
    conda = [
        Entry("opt/conda/bin/python3.13", b"\x003.13.1\0"),
        link("opt/conda/bin/python3", "/opt/conda/bin/python3.13"),
    ]
    images.push(BASE, conda, Env=["PATH=/opt/conda/bin:/usr/bin"])
    assert look(images).python == PythonInfo("3.13.1", "/opt/conda/bin/python3.13")
    images.push(BASE, conda, Env=["PATH=/usr/bin:/opt/conda/bin"])
    assert look(images).python.path == "/usr/bin/python3.11"


def test_what_python3_leads_to_is_found_through_links_and_alternatives(images: Images) -> None:
    images.push(
        BASE,
        [
            Entry("usr/bin/python3.12", b"\x003.12.1\0"),
            link("usr/bin/python3", "/etc/alternatives/python3"),
            link("etc/alternatives/python3", "../../bin/python3.11"),
        ],
    )
    assert look(images).python.path == "/usr/bin/python3.11"


def test_without_a_python3_the_newest_is_taken(images: Images) -> None:
    images.push(BASE, [Entry("usr/bin/python3.9", b"\x003.9.2\0")])
    assert look(images).python.version == "3.11.9"


def test_a_hard_link_is_the_file_it_links_to(images: Images) -> None:
    same = Entry("usr/local/bin/python3.11", kind=tarfile.LNKTYPE, target="usr/bin/python3.11")
    images.push(BASE, [same])
    assert look(images).python == PythonInfo("3.11.9", "/usr/local/bin/python3.11")


def test_an_upper_layer_replaces_what_is_below(images: Images) -> None:
    images.push(BASE, [Entry("bin/python3.11", b"\x003.11.13\0")])
    assert look(images).python.version == "3.11.13"


@pytest.mark.parametrize(
    "upper",
    [
        [whiteout("usr/bin/python3.11")],
        [whiteout("usr/bin")],
        [whiteout("usr"), LIBC],
        [LIBC, whiteout("usr")],
        [opaque("usr/bin")],
        [Entry("usr/bin/other"), opaque("usr/bin")],
        [Entry("usr/bin")],
        [link("usr/bin", "nowhere")],
        [folder("usr/bin/python3.11")],
        [Entry("usr/bin/python3.11", kind=tarfile.FIFOTYPE)],
    ],
)
def test_what_upper_layers_hide_is_not_there(images: Images, upper: list[Entry]) -> None:
    images.push(BASE)
    assert look(images).python
    images.push(BASE, upper)
    with pytest.raises(BaseNotFoundError, match=r"has no Python; `kitbag-server base add NAME --f"):
        look(images)


@pytest.mark.parametrize("mark", [whiteout("usr/bin"), opaque("usr/bin")])
@pytest.mark.parametrize("first", [True, False])
def test_a_layers_own_files_survive_its_whiteouts(images: Images, mark: Entry, first: bool) -> None:
    own = Entry("usr/bin/python3.12", b"\x003.12.7\0")
    images.push(BASE, [mark, own] if first else [own, mark])
    assert look(images).python == PythonInfo("3.12.7", "/usr/bin/python3.12")


def test_an_index_leads_to_the_platforms_image(images: Images) -> None:
    arm_libc = Entry("lib/aarch64-linux-gnu/libc.so.6", GLIBC)
    arm = images.push([arm_libc, PYTHON], arch="arm64", tag="arm")
    amd = images.push(BASE, tag="amd")
    images.push_index("both", amd64=amd, arm64=arm)
    assert look(images, "both").digest == amd
    assert look(images, "both", arch="arm64").digest == arm
    with pytest.raises(BaseNotFoundError, match="no image for linux/riscv64"):
        look(images, "both", arch="riscv64")
    with pytest.raises(BaseNotFoundError, match="is an image for linux/arm64, not linux/amd64"):
        look(images, arm)


@pytest.mark.parametrize(
    ("settings", "extra", "version"),
    [
        ({"Env": ["CUDA_VERSION=12.6.3"]}, [], "12.6.3"),
        ({"Env": ["NVIDIA_REQUIRE_CUDA=cuda>=11.8 brand=tesla,driver>=450"]}, [], "11.8"),
        ({"Labels": {"com.nvidia.cuda.version": "10.2.89"}}, [], "10.2.89"),
        (
            {},
            [
                Entry(
                    "usr/local/cuda-12.4/version.json",
                    b'{"cuda": {"name": "SDK", "version": "12.4.1"}, "nvcc": {"version": "1"}}',
                ),
                link("usr/local/cuda", "/etc/alternatives/cuda"),
                link("etc/alternatives/cuda", "/usr/local/cuda-12.4"),
            ],
            "12.4.1",
        ),
        ({"Env": ["CUDA_VERSION=$(reboot)"]}, [], None),
    ],
)
def test_the_cuda_version_is_known(images: Images, settings, extra, version) -> None:
    images.push(BASE, extra, **settings)
    assert look(images).cuda == version


def test_an_old_libc_is_found_behind_its_link(images: Images) -> None:
    images.push(
        [
            PYTHON,
            link("lib64/libc.so.6", "libc-2.17.so"),
            Entry("lib64/libc-2.17.so", b"GNU C Library (GNU libc) stable release version 2.17,"),
        ]
    )
    assert look(images).glibc == (2, 17)


def test_alpine_is_refused_by_name(images: Images) -> None:
    release = Entry("etc/os-release", b'NAME="Alpine Linux"\nPRETTY_NAME="Alpine Linux v3.20"\n')
    images.push([release, PYTHON, Entry("lib/ld-musl-x86_64.so.1", b"\x7fELF")])
    with pytest.raises(BaseNotFoundError, match=r"\(Alpine Linux v3.20\) has musl, and most wheel"):
        look(images)


def test_a_missing_image_is_said_to_be_missing(images: Images) -> None:
    with pytest.raises(BaseNotFoundError, match="There is no image some/image:nope; check"):
        look(images, "nope")


def test_layers_and_diff_ids_must_be_equally_many(images: Images) -> None:
    images.push(BASE, diff_ids=[])
    with pytest.raises(InvalidSpecError, match="list different layers"):
        look(images)
