"""The same lock on the same base is the same image digest, whoever builds it, where and when."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rig.wheels import WheelFactory

from builder.model import Base, Lock
from builder.stores.layout import LayoutStore

ROOT = Path(__file__).parents[3]
NOBODY = 65534

_BUILD = """
import dataclasses, json, sys
from pathlib import Path
from builder import layered
from builder.download import Downloader
from builder.index import MemoryIndex
from builder.layers import bytecode
from builder.layers.cache import LayerCache
from builder.model import Base, Lock, LockedWheel, Platform
from builder.source import HostPolicy
from builder.stores.layout import LayoutStore
folder, given = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
store = LayoutStore(folder / "layout")
base = Base.from_json(given["base"])
base = dataclasses.replace(base, image=store.reference("bases/tiny", base.digest))
wheels = tuple(LockedWheel(**each) for each in given["wheels"])
lock = Lock(base.python.minor, Platform(), wheels, given["text"])
interpreter = bytecode.find_interpreter(base.python.minor)
with bytecode.Compiler(interpreter) as compiler:
    fetch = Downloader(folder / "wheels", HostPolicy(private=True))
    tools = layered.Tools(store, MemoryIndex(), LayerCache(folder / "layers"), fetch, compiler)
    print(layered.build(lock, base, "ns/env", tools)[0].digest)
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """What may be otherwise where the image is built again."""

    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    umask: int = 0o022
    before: Sequence[str] = ()
    """A program that runs the build."""
    order: Callable[[list[Any]], None] = lambda _: None
    owner: int | None = None


def as_nobody() -> Machine:
    """Another user, who may read all files: the interpreter may lie in root's home."""
    capability = "+dac_read_search"
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    user += [f"--inh-caps={capability}", f"--ambient-caps={capability}"]
    return Machine({"HOME": "/nonexistent"}, before=user, owner=NOBODY)


MACHINES = {
    "one core": Machine(before=["taskset", "-c", str(min(os.sched_getaffinity(0)))]),
    "umask 077": Machine(umask=0o077),
    "umask 000": Machine(umask=0o000),
    "another user": as_nobody(),
    "another place and language": Machine({"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8"}),
    "the C locale": Machine({"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}),
    "another hash seed": Machine({"PYTHONHASHSEED": "4242"}),
    "another temporary folder": Machine({"TMPDIR": "made for it"}),
    "another day": Machine({"SOURCE_DATE_EPOCH": "86400"}),
    "backwards": Machine(order=list.reverse),
    "shuffled": Machine(order=random.Random(3).shuffle),
}


@pytest.fixture
def wheels(few_wheels: list[Path], wheel_factory: WheelFactory) -> list[Path]:
    """Wheels alone and in buckets, with bytecode in which sets and constants are shared."""
    busy = {
        f"busy/m{n}.py": f"S = {{'a{n}', 'b', None, ...}}\ndef f(x=('k', {n})):\n"
        "    return x in {'p', 'q', 1.5}\n"
        for n in range(150)
    }
    made = wheel_factory.wheel(
        "busy",
        files={"busy/__init__.py": "", "busy/größe.txt": "ß", **busy},
        data={"scripts/go": "#!python\n", "data/share/x": "x", "headers/b.h": "1"},
        scripts={"zeta": "busy:z", "alpha": "busy:a"},
        streamed={"busy/m4.py"},
        executable={"busy/größe.txt"},
    )
    return [*few_wheels, made]


def test_no_other_machine_makes_another_image(
    builder: Any,
    put_base: Callable[..., Base],
    lock_of: Callable[..., Lock],
    wheels: list[Path],
    tmp_path: Path,
) -> None:
    base, lock = put_base(LayoutStore(tmp_path / "base")), lock_of(wheels)
    here = LayoutStore(shutil.copytree(tmp_path / "base", tmp_path / "here"))
    base = dataclasses.replace(base, image=here.reference("bases/tiny", base.digest))
    image, _ = builder.build(lock, base, builder.tools(here))
    for parent in (tmp_path, *tmp_path.parents):  # pytest lets no other user in
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    found = {
        name: rebuilt(machine, lock, base, tmp_path / f"machine-{number}")
        for number, (name, machine) in enumerate(MACHINES.items())
        if machine.owner is None or os.geteuid() == 0
    }
    assert found == dict.fromkeys(found, image.digest)


def rebuilt(machine: Machine, lock: Lock, base: Base, folder: Path) -> str:
    """The digest that comes of it on such a machine, from nothing."""
    folder.mkdir()
    shutil.copytree(folder.parent / "base", folder / "layout")
    given = [dataclasses.asdict(wheel) for wheel in lock.wheels]
    machine.order(given)
    order = folder / "order.json"
    order.write_text(json.dumps({"base": base.to_json(), "wheels": given, "text": lock.text}))
    environment = dict(os.environ) | machine.environment
    if "TMPDIR" in machine.environment:
        (folder / "temporary").mkdir()
        environment["TMPDIR"] = str(folder / "temporary")
    if machine.owner is not None:
        subprocess.run(["chown", "-R", f"{machine.owner}:{machine.owner}", folder], check=True)
    done = subprocess.run(
        [*machine.before, sys.executable, "-c", _BUILD, str(folder), str(order)],
        cwd=ROOT,
        env=environment,
        umask=machine.umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (machine, done.stderr[-2000:])
    owner = os.geteuid() if machine.owner is None else machine.owner
    assert {path.stat().st_uid for path in (folder / "layers").rglob("*.layer")} == {owner}
    return done.stdout.strip()
