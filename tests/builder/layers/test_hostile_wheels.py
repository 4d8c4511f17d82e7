"""A hostile wheel is refused by name or makes a correct layer, and no other error comes of it."""

from __future__ import annotations

import hashlib
import io
import random
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import isal.isal_zlib as inflate
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.errors import BadWheelError
from builder.layers import install, wheel

PREFIX = install.Prefix("/opt/env", "3.11")
INFO = {
    "evil-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
    "evil-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
    "evil-1.0.dist-info/RECORD": b"",
}


def evil(path: Path, *entries: tuple[str, bytes], mode: int = 0o100644) -> Path:
    """A wheel with these entries besides those that any wheel has; also twice the same name."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in [*INFO.items(), *entries]:
            if name.startswith("evil-1.0.dist-info/") and any(name == e[0] for e in entries):
                content = dict(entries)[name]
            info = zipfile.ZipInfo("replaced" if "\0" in name else name)
            info.filename = name
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evil-1.0-py3-none-any.whl"


def refused(layer_of: Callable[..., Any], path: Path) -> str:
    with pytest.raises(BadWheelError) as caught:
        layer_of(path)
    assert path.name in caught.value.detail
    return caught.value.detail


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "a/../../evil.py",
        "/etc/passwd",
        "//etc/passwd",
        "a//b.py",
        "a/./b.py",
        "a/..",
        "..",
        ".",
        "/",
        "a\nb.py",
        "a\x7fb.py",
        "n" * 256,
        "/".join(["deep"] * 300),
        "a/.wh.b",
        ".wh..wh..opq",
        "evil-1.0.data/data/../../../etc/passwd",
        "evil-1.0.data/data//etc/passwd",
        "evil-1.0.data/data/bin/.wh.python",
        "evil-1.0.data/data/bin/python",
        "evil-1.0.data/data/bin/python3",
        "evil-1.0.data/scripts/python3.11",
        "evil-1.0.data/scripts/deep/script",
        "evil-1.0.data/unknown/x",
        "evil-1.0.data/data/lib",
        "evil-1.0.data/data/lib64",
        "evil-1.0.data/data/bin",
        "evil-1.0.data/data/lib/python3.11",
        "other-2.0.dist-info/METADATA",
    ],
)
def test_a_name_that_leaves_its_place_is_refused(
    name: str, layer_of: Callable[..., Any], path: Path
) -> None:
    refused(layer_of, evil(path, (name, b"x")))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(kind: int, layer_of: Callable[..., Any], path: Path) -> None:
    refused(layer_of, evil(path, ("evil/link", b"/etc/passwd"), mode=kind | 0o777))


@pytest.mark.parametrize(
    "names",
    [
        ("evil/a", "evil/a/b"),
        ("evil/a/b", "evil/a"),
        ("evil/a", "evil/a/"),
        ("evil/a", "evil-1.0.data/purelib/evil/a/b"),
        ("evil-1.0.data/data/share", "evil-1.0.data/data/share/x"),
        ("evil/__pycache__", "evil/a.py"),
    ],
)
def test_a_file_that_is_a_folder_too_is_refused(
    names: tuple[str, ...], layer_of: Callable[..., Any], path: Path
) -> None:
    contents = [(name, b"" if name.endswith("/") else b"x = 1\n") for name in names]
    refused(layer_of, evil(path, *contents))


@pytest.mark.parametrize(
    "points",
    [
        "[console_scripts]\nx = os;import evil:main\n",
        "[console_scripts]\nx = evil:main()\n",
        "[console_scripts]\nx = evil:main\\nimport os\n",
        "[console_scripts]\nx = evil:main\n  import os\n",
        "[console_scripts]\nx = evil\n",
        "[console_scripts]\n../x = evil:main\n",
        "[console_scripts]\n.. = evil:main\n",
        "[console_scripts]\n. = evil:main\n",
        "[console_scripts]\n.wh.x = evil:main\n",
        "[console_scripts]\npython = evil:main\n",
        f"[console_scripts]\n{'é' * 200} = evil:main\n",
        "[console_scripts]\nx = evil:main\nx = evil:other\n",
        "no section\n",
        "[console_scripts\n",
        "[console_scripts]\n" + "".join(f"x{n} = a:b\n" for n in range(10_001)),
        "# " + "x" * (1 << 20),
    ],
)
def test_entry_points_run_nothing_of_their_own(
    points: str, layer_of: Callable[..., Any], path: Path
) -> None:
    refused(layer_of, evil(path, ("evil-1.0.dist-info/entry_points.txt", points.encode())))


@pytest.mark.parametrize(
    "record",
    [
        b"evil.py,sha256=AAAA,1\n",
        b"evil.py,sha256=AAAA\n",
        b"evil.py,sha256=AAAA,many\n",
        b"evil.py,,,\n",
        b"\xff,,\n",
        b'"' + b"x" * 200_000,
        b"a,,\n" * 200_002,
    ],
)
def test_a_record_that_lies_or_can_not_be_read_is_refused(
    record: bytes, layer_of: Callable[..., Any], path: Path
) -> None:
    refused(layer_of, evil(path, ("evil.py", b"x"), ("evil-1.0.dist-info/RECORD", record)))


def test_rows_of_record_that_name_nothing_of_the_wheel_do_not_come_into_the_image(
    layer_of: Callable[..., Any], path: Path, tmp_path: Path
) -> None:
    record = b"../../../../etc/passwd,,\n/etc/shadow,,\nghost.py,,\n"
    made = layer_of(evil(path, ("evil.py", b"x"), ("evil-1.0.dist-info/RECORD", record)))
    installed = made.tree(tmp_path, PREFIX)
    text = installed["lib/python3.11/site-packages/evil-1.0.dist-info/RECORD"][2].decode()
    assert "etc" not in text
    assert "ghost" not in text
    assert "evil.py,,1\n" in text


@pytest.mark.parametrize("missing", sorted(INFO))
def test_a_wheel_without_its_own_files_is_refused(
    missing: str, layer_of: Callable[..., Any], path: Path
) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in INFO:
            if name != missing:
                archive.writestr(name, INFO[name])
    if missing.endswith("METADATA"):
        layer_of(path)  # the resolver has read it; an installer does not need it
    else:
        refused(layer_of, path)


def test_something_else_than_a_zip_is_refused(layer_of: Callable[..., Any], path: Path) -> None:
    for content in (
        b"",
        b"PK\x05\x06",
        b"PK\x05\x06" + bytes(17),
        b"not a zip" * 999,
        bytes(70_000),
    ):
        path.write_bytes(content)
        refused(layer_of, path)


def test_an_empty_zip_is_refused(layer_of: Callable[..., Any], path: Path) -> None:
    path.write_bytes(b"PK\x05\x06" + bytes(18))
    refused(layer_of, path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(
    method: int, layer_of: Callable[..., Any], path: Path
) -> None:
    evil(path)
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.writestr("evil.py", "x = 1\n" * 99)
    assert "compression" in refused(layer_of, path)


def test_a_hundred_thousand_and_one_entries_are_refused_before_they_are_read(
    layer_of: Callable[..., Any], path: Path
) -> None:
    central = struct.pack(
        "<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0
    )
    directory = (central + b"x") * 100_001
    record = struct.pack(
        "<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 100_001, 100_001, len(directory), 0
    )
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(directory), 1)
    end = struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(directory + record + locator + end)
    assert "100,001" in refused(layer_of, path)


def test_zip64_is_understood(layer_of: Callable[..., Any], path: Path, tmp_path: Path) -> None:
    evil(path)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("evil/wide.py", "w", force_zip64=True) as target,
    ):
        target.write(b"x = 1\n" * 99)
    installed = layer_of(path).tree(tmp_path, PREFIX)
    assert installed["lib/python3.11/site-packages/evil/wide.py"][2] == b"x = 1\n" * 99


def test_of_a_name_twice_the_last_counts(
    layer_of: Callable[..., Any], path: Path, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        evil(path, ("evil.py", b"first"), ("evil.py", b"second"))
    made = layer_of(path, bytecode=False)
    assert [m.name for m in made.members()].count(
        "opt/env/lib/python3.11/site-packages/evil.py"
    ) == 1
    assert made.tree(tmp_path, PREFIX)["lib/python3.11/site-packages/evil.py"][2] == b"second"


def test_a_bomb_is_refused_for_what_it_claims(layer_of: Callable[..., Any], path: Path) -> None:
    evil(path, ("bomb", b"\0" * 1000))
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.rindex(signature)
        struct.pack_into("<I", data, start + at, 0xF0000000)
    path.write_bytes(data)
    assert "damaged" in refused(layer_of, path)


_MEASURE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from builder.errors import BadWheelError
from builder.layers import bytecode, install, splice, wheel
path = Path(sys.argv[1])


def peak_kib():
    # Not getrusage: what the parent had in memory when it forked counts there.
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0])


before = peak_kib()
try:
    python = bytecode.find_interpreter("%d.%d" % sys.version_info[:2])
    prefix = install.Prefix("/opt/env", "3.11")
    with bytecode.Compiler(python, 2) as compiler, ThreadPoolExecutor(2) as threads:
        with open("/dev/null", "wb") as out:
            splice.write_wheel(out, wheel.read(path), prefix, compiler, threads)
    print("made")
except BadWheelError as error:
    print("refused")
print((peak_kib() - before) >> 10)
"""


def grown_mib(path: Path) -> tuple[str, int]:
    """What became of the wheel in a process of its own, and by how much that grew."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    said, grown = done.stdout.split()
    return said, int(grown)


def test_a_bomb_takes_little_memory(path: Path) -> None:
    liar = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join([liar.compress(bytes(1 << 20)) for _ in range(1024)]) + liar.flush()
    name = b"bomb.bin"
    evil(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name.decode(), b"")  # where a gigabyte in a megabyte is to come
    local = struct.pack(
        "<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(packed), 1 << 30, len(name), 0
    )
    data = path.read_bytes()
    start = data.rindex(b"PK\x03\x04")
    first = data.index(b"PK\x01\x02")
    central = data[first : data.rindex(b"PK\x01\x02")]
    record = struct.pack(
        "<4s6H3I5H2I",
        b"PK\x01\x02",
        20,
        20,
        0,
        8,
        0,
        0,
        0,
        len(packed),
        1 << 30,
        len(name),
        0,
        0,
        0,
        0,
        0,
        start,
    )
    body = data[:start] + local + name + packed
    directory = central + record + name
    end = struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, 4, 4, len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    said, grown = grown_mib(path)
    assert said == "refused", "its CRC-32 is wrong, which shows at the end only"
    assert grown < 60


def test_gigabytes_of_source_and_of_bytecode_take_little_memory(path: Path) -> None:
    line = b"x = 1" + b" " * 1000 + b"\n"
    amplified = b"".join(b"y%d='%06d'*600\n" % (n, n) for n in range(200_000))
    sources = [(f"evil/m{n}.py", line * 7000) for n in range(40)]
    evil(path, *sources, ("evil/amplified.py", amplified))
    said, grown = grown_mib(path)
    assert said == "made"
    assert grown < 250


@pytest.fixture(scope="module")
def small_wheel(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("seed") / "evil-1.0-py3-none-any.whl"
    evil(
        path,
        ("evil/__init__.py", b"x = 1\n" * 50),
        ("evil/data.bin", bytes(range(256))),
        ("evil-1.0.data/scripts/run", b"#!python\nprint()\n"),
        ("evil-1.0.dist-info/entry_points.txt", b"[console_scripts]\nevil = evil:main\n"),
    )
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("evil/stored.txt", "stored " * 9)
    return path.read_bytes()


def correct(made: Any) -> None:
    """The layer is a gzip tar that other programs read, and all of it is under the prefix."""
    with tarfile.open(fileobj=io.BytesIO(made.plain)) as archive:
        for member in archive:
            assert member.name == "opt" or member.name.startswith("opt/env"), member.name
            assert ".." not in member.name.split("/")
            assert member.isfile() or member.isdir()
            if member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                assert len(content.read()) == member.size
    assert made.written.digest == "sha256:" + hashlib.sha256(made.data).hexdigest()
    assert made.written.diff_id == "sha256:" + hashlib.sha256(made.plain).hexdigest()
    assert made.written.plain_bytes == len(made.plain)


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from(["byte", "field", "cut", "insert", "copy"]),
                st.integers(0, 1 << 16),
                st.one_of(
                    st.sampled_from([0, 1, 8, 0xFF, 0xFFFF, 0xFFFFFFFF, 0x7FFFFFFF]),
                    st.integers(0, 2**32 - 1),
                ),
            ),
            min_size=1,
            max_size=4,
        )
    )


def mutated(seed: bytes, steps: list[tuple[str, int, int]]) -> bytes:
    data = bytearray(seed)
    signatures = [i for i in range(len(seed) - 3) if seed[i : i + 2] == b"PK" and seed[i + 2] < 8]
    for how, where, value in steps:
        at = where % max(1, len(data))
        if how == "byte":
            data[at] = value & 0xFF
        elif how == "field":  # somewhere in the header of an entry, or in the end record
            header = signatures[where % len(signatures)]
            size = (1, 2, 4)[value % 3]
            start = min(header + 4 + (where // 7) % 42, len(data) - 4)
            data[start : start + size] = (value & (256**size - 1)).to_bytes(size, "little")
        elif how == "cut":
            del data[at : at + 1 + value % 64]
        elif how == "insert":
            data[at:at] = value.to_bytes(4, "little") * (1 + value % 3)
        else:
            data[at : at + 46] = data[value % max(1, len(data)) :][:46]
        if not data:
            return b"\0"
    return bytes(data)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=mutations())
def test_a_damaged_wheel_is_refused_or_makes_a_correct_layer(
    steps: list[tuple[str, int, int]], small_wheel: bytes, layer_of: Callable[..., Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evil-1.0-py3-none-any.whl"
        path.write_bytes(mutated(small_wheel, steps))
        try:
            made = layer_of(path, bytecode=False)
        except BadWheelError as error:
            assert path.name in error.detail
            assert len(error.detail) < 2000
        else:
            correct(made)
        assert list(Path(folder).iterdir()) == [path]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 3), level=st.sampled_from([0, 1, 6, 9]))
def test_what_the_inflater_accepts_gzip_accepts(
    seed: int, flips: int, level: int, layer_of: Callable[..., Any]
) -> None:
    """The stream is copied as it is, so a stricter reader than ours must not refuse it."""
    rng = random.Random(seed)
    plain = bytes(rng.choices(range(40), k=300))
    deflater = zlib.compressobj(level, zlib.DEFLATED, -15, 9, rng.choice([0, 2, 3, 4]))
    packed = bytearray(deflater.compress(plain) + deflater.flush())
    for _ in range(flips):
        packed[rng.randrange(min(40, len(packed)))] ^= 1 << rng.randrange(8)
    entry = wheel.Entry("x", 0, len(packed), 0, 0, False, False, False)
    try:
        stream = inflate.decompressobj(-15)
        found = stream.decompress(bytes(packed), 1 << 20)
        whole = stream.eof and not stream.unused_data
    except inflate.error:  # type: ignore[misc]
        return
    if not whole:
        return
    entry = wheel.Entry("x", 0, len(packed), len(found), zlib.crc32(found), False, False, False)
    try:
        ours = b"".join(wheel.contents(io.BytesIO(packed), entry, "evil"))
    except BadWheelError:
        return
    assert zlib.decompress(bytes(packed), -15) == ours
