"""Every field of a wheel's zip, wrong on purpose: refused by name, or a layer that others read.

CI runs the same examples each time; `make wide` (KITBAG_FUZZ=20) runs 20 times as many others.
"""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.errors import BadWheelError
from builder.layers import install, tar, wheel

FUZZ = int(os.environ.get("KITBAG_FUZZ", "0"))
MORE = settings(
    max_examples=200 * max(FUZZ, 1),
    derandomize=not FUZZ,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
NAME = "evil-1.0-py3-none-any.whl"
MEMORY_BYTES = 256 << 20

Lies = Mapping[tuple[str, str], int]
"""(record, field) → what it says instead of the truth."""


def fields(names: str, kinds: str) -> dict[str, str]:
    """Field → its struct format."""
    return dict(zip(names.split(), kinds, strict=True))


LOCAL = fields(
    "magic needs flags method time date crc packed size name_bytes extra_bytes", "IHHHHHIIIHH"
)
CENTRAL = fields(
    "magic made needs flags method time date crc packed size name_bytes extra_bytes "
    "comment_bytes disk internal external offset",
    "IHHHHHHIIIHHHHHII",
)
END = fields("magic disk first_disk here count size offset comment_bytes", "IHHHHIIH")
END64 = fields("magic bytes made needs disk first_disk here count size offset", "IQHHIIQQQQ")
LOCATOR = fields("magic disk offset disks", "IIQI")
WIDE = fields("kind bytes size packed offset", "HHQQQ")
"""The zip64 extra field of a central header."""

RECORDS = {
    "local": LOCAL,
    "central": CENTRAL,
    "end": END,
    "end64": END64,
    "locator": LOCATOR,
    "wide": WIDE,
}
FIELDS = [(record, field) for record, names in RECORDS.items() for field in names]
WIDTHS = {"H": 2, "I": 4, "Q": 8}

IDLE = {
    *(("local", field) for field in ("needs", "time", "date")),
    *(("central", field) for field in ("made", "needs", "time", "date", "internal")),
    *(("end", field) for field in ("disk", "first_disk", "here", "count", "size", "offset")),
    *(("end64", field) for field in ("bytes", "made", "needs", "here")),
    *(("locator", field) for field in ("disk", "disks")),
}
"""Fields that decide nothing: times and versions, and what a zip64 record says in their place."""


def zipped(files: Mapping[str, bytes], lies: Lies, victim: str) -> bytes:
    """A zip64 archive; in the records of `victim`, and in the end records, `lies` hold."""
    out, directory = bytearray(), bytearray()

    def packed(record: str, values: Mapping[str, int], *, lying: bool = True) -> bytes:
        told = dict(values)
        for (where, field), value in lies.items():
            if lying and where == record:
                told[field] = value & (256 ** WIDTHS[RECORDS[record][field]] - 1)
        return struct.pack("<" + "".join(RECORDS[record].values()), *told.values())

    for name, content in files.items():
        lying = name == victim
        deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = deflater.compress(content) + deflater.flush()
        raw, crc, at = name.encode(), zlib.crc32(content), len(out)
        flags = 0x800
        local = (0x04034B50, 45, flags, 8, 0, 33, crc, len(body), len(content), len(raw), 0)
        out += packed("local", dict(zip(LOCAL, local, strict=True)), lying=lying) + raw + body
        wide = (1, 24, len(content), len(body), at)
        extra = packed("wide", dict(zip(WIDE, wide, strict=True)), lying=lying)
        full = 0xFFFFFFFF
        central = (0x02014B50, 0x032D, 45, flags, 8, 0, 33, crc, full, full, len(raw), len(extra))
        told = dict(zip(CENTRAL, (*central, 0, 0, 0, 0o100644 << 16, full), strict=True))
        directory += packed("central", told, lying=lying) + raw + extra
    start, end64 = len(out), len(out) + len(directory)
    count = len(files)
    out += directory
    values64 = (0x06064B50, 44, 45, 45, 0, 0, count, count, len(directory), start)
    out += packed("end64", dict(zip(END64, values64, strict=True)))
    out += packed("locator", dict(zip(LOCATOR, (0x07064B50, 0, end64, 1), strict=True)))
    end = (0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return bytes(out + packed("end", dict(zip(END, end, strict=True))))


FILES = {
    "evil/__init__.py": b"x = 1\n" * 50,
    "evil/data.bin": bytes(range(256)) * 9,
    "evil-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
    "evil-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
    "evil-1.0.dist-info/RECORD": b"",
}
VICTIM = "evil/data.bin"

_READ_ALL = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from builder.errors import BadWheelError
from builder.layers import install, splice, wheel
prefix = install.Prefix("/opt/env", "3.11")
told = {}
with ThreadPoolExecutor(1) as threads:
    for path in sorted(Path(sys.argv[1]).iterdir()):
        try:
            with open("/dev/null", "wb") as out:
                splice.write_wheel(out, wheel.read(path), prefix, None, threads)
            told[path.name] = "made"
        except BadWheelError as error:
            told[path.name] = error.detail
# Not getrusage: what the parent had in memory when it forked counts there.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([told, int(status["VmHWM"].split()[0]) << 10]))
"""


def read_all(folder: Path) -> tuple[dict[str, str], int]:
    """What became of each wheel of the folder in a process of little memory, and its peak RSS."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY_BYTES, 4 * MEMORY_BYTES))

    before = sorted(folder.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", _READ_ALL, str(folder)],
        preexec_fn=limited,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(folder.iterdir()) == before, "nothing is written beside the wheels"
    told, peak_bytes = json.loads(done.stdout)
    return told, peak_bytes


def assert_named(told: str, name: str = NAME) -> None:
    """One sentence or two that say which file and what is wrong."""
    assert name in told
    assert told.endswith(".")
    assert "\n" not in told
    assert len(told) < 1000


def test_the_wheel_is_good_before_anything_lies(
    layer_of: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / NAME
    path.write_bytes(zipped(FILES, {}, VICTIM))
    installed = layer_of(path).tree(tmp_path / "out", install.Prefix("/opt/env", "3.11"))
    assert installed[f"lib/python3.11/site-packages/{VICTIM}"][2] == FILES[VICTIM]


def test_every_field_that_says_what_is_not_is_refused_by_name_in_little_memory(
    tmp_path: Path,
) -> None:
    """All six records, each field, from nothing to all ones."""
    made = {}
    for record, field in FIELDS:
        bits = 8 * WIDTHS[RECORDS[record][field]]
        for value in (
            0,
            1,
            7,
            0xFF,
            2 ** (bits - 1) - 1,
            2 ** (bits - 1),
            2**bits - 2,
            2**bits - 1,
        ):
            content = zipped(FILES, {(record, field): value}, VICTIM)
            name = f"evil-{record}.{field}.{value}-py3-none-any.whl"
            if content != zipped(FILES, {}, VICTIM):
                (tmp_path / name).write_bytes(content)
                made[name] = (record, field)
    told, peak_bytes = read_all(tmp_path)
    assert peak_bytes < MEMORY_BYTES
    assert told.keys() == made.keys()
    accepted = {made[name] for name, what in told.items() if what == "made"}
    for name, what in told.items():
        if what != "made":
            assert_named(what, name)
    refused = {made[name] for name, what in told.items() if what != "made"}
    assert not refused & IDLE, "what decides nothing stops nobody"
    lying = {"magic", "crc", "packed", "size", "name_bytes", "count", "offset", "method"}
    assert {f for r, f in refused - {("end", "magic")} if r == "central"} >= lying - {"count"}
    always = {(r, f) for r, f in FIELDS if r in ("local", "central", "end64") and f in lying}
    assert not {made[name] for name, what in told.items() if what == "made"} & (
        always - {("local", f) for f in ("crc", "packed", "size")}
    ), sorted(accepted)


@MORE
@given(
    lies=st.dictionaries(
        st.sampled_from(FIELDS),
        st.one_of(st.integers(0, 70_000), st.integers(0, 2**64 - 1)),
        min_size=1,
        max_size=4,
    ),
    victim=st.sampled_from(sorted(FILES)),
)
def test_several_lies_at_once_are_refused_or_make_the_true_layer(
    lies: dict[tuple[str, str], int], victim: str, layer_of: Callable[..., Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        path.write_bytes(zipped(FILES, lies, victim))
        try:
            made = layer_of(path, bytecode=False)
        except BadWheelError as error:
            assert_named(error.detail)
            return
        finally:
            assert list(Path(folder).iterdir()) == [path]
    with tarfile.open(fileobj=io.BytesIO(made.plain)) as archive:
        for member in archive:
            assert member.name == "opt" or member.name.startswith("opt/env")
            inside = member.name.removeprefix("opt/env/lib/python3.11/site-packages/")
            if inside in FILES and not inside.endswith("RECORD"):
                content = archive.extractfile(member)
                assert content is not None and content.read() == FILES[inside]


@pytest.mark.parametrize("how", ["same", "inside", "header"])
def test_entries_that_share_bytes_are_refused(
    how: str, layer_of: Callable[..., Any], tmp_path: Path
) -> None:
    first, second = list(FILES)[:2]
    honest = zipped(FILES, {}, second)
    at = honest.index(second.encode()) - 30
    offset = {"same": 0, "inside": at - 5, "header": at + 1}[how]
    path = tmp_path / NAME
    path.write_bytes(zipped(FILES, {("wide", "offset"): offset}, second))
    with pytest.raises(BadWheelError) as caught:
        layer_of(path)
    assert_named(caught.value.detail)
    # An entry under its own name, over the bytes of another.
    content = zipfile_twice(first)
    path.write_bytes(content)
    with pytest.raises(BadWheelError, match="overlaps another entry"):
        layer_of(path)


def zipfile_twice(name: str) -> bytes:
    """Two records of the directory for the same bytes, as Fifield's bombs have."""
    honest = zipped(FILES, {}, VICTIM)
    start = honest.index(b"PK\x01\x02")
    size = 46 + len(name) + 28
    assert honest[start + 46 :].startswith(name.encode())
    twice = honest[start : start + size] + honest[start : honest.index(b"PK\x06\x06")]
    count = len(FILES) + 1
    record = struct.pack(
        "<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, len(twice), start
    )
    locator = struct.pack("<IIQI", 0x07064B50, 0, start + len(twice), 1)
    return honest[:start] + twice + record + locator + honest[-22:]


@pytest.mark.parametrize(
    "entries",
    [10_000, pytest.param(wheel.MAX_ENTRIES, marks=[pytest.mark.slow, pytest.mark.wide])],
)
def test_as_many_entries_as_are_allowed_take_little_memory(entries: int, tmp_path: Path) -> None:
    """A hundred thousand, each with a long name: 18 MB of directory, and a layer of it."""
    count = entries - len(FILES)
    files = {f"evil/{'n' * 100}{number}": b"" for number in range(count)}
    (tmp_path / NAME).write_bytes(zipped({**FILES, **files}, {}, VICTIM))
    told, peak_bytes = read_all(tmp_path)
    assert told == {NAME: "made"}
    assert peak_bytes < 2 * MEMORY_BYTES


@pytest.mark.parametrize("size", ["1", "2303", "2305", "999999999999999999999"])
def test_a_record_that_lies_about_a_size_is_refused(
    size: str, layer_of: Callable[..., Any], tmp_path: Path
) -> None:
    record = f"{VICTIM},,{size}\n".encode()
    path = tmp_path / NAME
    path.write_bytes(zipped({**FILES, "evil-1.0.dist-info/RECORD": record}, {}, VICTIM))
    with pytest.raises(BadWheelError, match="RECORD says otherwise") as caught:
        layer_of(path)
    assert VICTIM in caught.value.detail
    assert_named(caught.value.detail)


@MORE
@given(
    path=st.lists(st.text(min_size=1, max_size=85), min_size=1, max_size=12).map("/".join),
    size=st.one_of(st.integers(0, 2**20), st.integers(8**11 - 2, 2**40)),
    mode=st.sampled_from([0o644, 0o755]),
)
def test_whatever_name_a_wheel_may_have_a_tar_header_holds(path: str, size: int, mode: int) -> None:
    """Long and non-ASCII names, and sizes from 8 GiB, are read back by the standard library."""
    if not wheel.is_safe(path):
        return
    try:
        path.encode()
    except UnicodeEncodeError:
        return  # surrogates: no name of a zip decodes to them
    data = tar.header(path, tarfile.REGTYPE, size, mode, uid=1000, gid=100)
    assert len(data) % tarfile.BLOCKSIZE == 0
    found = tarfile.TarFile(fileobj=io.BytesIO(data + bytes(1024))).firstmember
    assert found is not None
    assert (found.name, found.size, found.mode) == (path, size, mode)
    assert (found.uid, found.gid, found.mtime) == (1000, 100, tar.EPOCH_S)


@pytest.mark.parametrize("name_bytes", [1, 89, 90, 99, 100, 101, 255, 991, 992, 999, 5000, 99_999])
def test_a_header_is_the_standard_librarys_byte_by_byte(name_bytes: int) -> None:
    """Around the lengths at which a name needs a pax record, and that record's length a digit."""
    name = "a/=" * (name_bytes // 3) + "b" * (name_bytes % 3)
    for size, mode in ((0, 0o644), (8**11 - 1, 0o755), (8**11, 0o644)):
        wanted = tarfile.TarInfo(name)
        wanted.size, wanted.mode, wanted.uid, wanted.gid = size, mode, 1000, 100
        wanted.mtime = tar.EPOCH_S
        made = tar.header(name, tarfile.REGTYPE, size, mode, uid=1000, gid=100)
        assert made == wanted.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def test_a_name_that_is_not_utf_8_is_refused(layer_of: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(zipped(FILES, {}, VICTIM).replace(VICTIM.encode(), b"evil/d\xe9j\xe0.bin"))
    with pytest.raises(BadWheelError, match="not UTF-8") as caught:
        layer_of(path)
    assert_named(caught.value.detail)
