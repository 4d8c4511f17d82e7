"""How the cost grows: with the packages of an environment, and with the environments of a store.

    python bench/growth.py [packages] [environments] [--counts 10,100,300,1000] [--json FILE]

Both work on generated wheels from an index on loopback: a few modules of Python's own library and
data that doesn't compress, with sizes spread as those of 310 real wheels are (cut at 1 or 3 MB).

`packages` builds environments of so many packages, each on a server and a registry of its own, and
compares with `uv pip sync` of the same pins with a cold cache, bytecode compiled on both sides.
`environments` builds environments of 50 packages, 45 of which all of them share and 5 of which are
drawn from 500, and compares what the registry holds with the sum of the images, the base in
neither. Quote the ratios: the machine is shared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench"), str(ROOT / "tests")]

from notebook import kitbag  # noqa: E402
from peers.index import fill, local_index  # noqa: E402
from peers.memory import watched  # noqa: E402
from peers.uv import UvPeer  # noqa: E402
from rebase import base_of  # noqa: E402
from rig.registry import Factory, Registry, registry_factory  # noqa: E402
from rig.wheels import WheelFactory  # noqa: E402
from torch import SEEDS, UV, settled  # noqa: E402

from builder import layered  # noqa: E402
from builder.lock import parse  # noqa: E402
from catalog.engine import migrate  # noqa: E402
from worker.services import Services  # noqa: E402
from worker.settings import WorkerSettings  # noqa: E402

ROWS = ("packages", "environments")
SIZES_KIB = (1, 12, 18, 35, 60, 94, 142, 238, 431, 900, 1_400, 2_900)
"""About what every twentieth wheel of tests/builder/layers/real-wheels.txt has, up to 3 MB."""
SMALL_KIB = SIZES_KIB[:-2]
MODULES, MODULE_BYTES = 4, 16 << 10
ONE_MORE = 5
PACKAGES, SHARED, POOL = 50, 45, 500
LOCK_HEAD = 'lock-version = "1.0"\nrequires-python = ">=3.11"\ncreated-by = "kitbag"\n'


class Wheels:
    """Makes packages into a folder, the same ones at every run."""

    def __init__(self, folder: Path) -> None:
        self._factory = WheelFactory(folder, 0)
        library = Path(sysconfig.get_path("stdlib")).glob("*.py")
        self._modules = sorted(path for path in library if path.stat().st_size <= MODULE_BYTES)

    def make(self, name: str, sizes_kib: tuple[int, ...]) -> Path:
        """Write one wheel, of version 1.0."""
        chance = random.Random(name)
        package = name.replace("-", "_")
        files: dict[str, str | bytes] = {
            f"{package}/{path.name}": path.read_bytes()
            for path in chance.sample(self._modules, MODULES)
        }
        size = round(chance.choice(sizes_kib) * 1024 * chance.uniform(0.7, 1.4))
        files |= {f"{package}/__init__.py": "", f"{package}/data.bin": chance.randbytes(size)}
        return self._factory.wheel(name, files=files)


def pin(path: Path) -> str:
    """The line that asks for a wheel."""
    name, version = path.name.split("-")[:2]
    return f"{name}=={version}"


def measure_packages(
    make_registry: Factory, folder: Path, index: str, wanted: list[str], more: list[str]
) -> dict[str, Any]:
    """One size of environment: Kitbag cold and with one package more, uv cold."""
    pins = folder / "pins.txt"
    pins.write_text("\n".join([f"--index-url {index}", *wanted, ""]))
    with settled(folder / "uv") as own:
        uv_s = UvPeer(UV, own, bytecode=True).sync(pins).total_s
    found: dict[str, Any] = {"packages": len(wanted), "uv_s": uv_s}
    with (
        settled(folder / "kitbag") as own,
        kitbag(own, make_registry().host, bytecode=True) as server,
        watched(server.pid) as peaks,
    ):
        found["cold_s"], build = server.build("\n".join(wanted), "bench/growth")
        found["image_bytes"] = build["stats"]["image_bytes"]
        times, moved = [], []
        for package in more:
            took, build = server.build("\n".join([*wanted, package]), "bench/growth")
            times.append(took)
            moved.append(build["stats"]["bytes_moved"])
        found["layers"] = len(server.version("bench/growth")["layers"])
    found["one_more_s"] = statistics.median(times)
    found["one_more_moved_bytes"] = max(moved)
    found["peak_rss_mb"] = peaks.megabytes
    return found


def measure_environments(
    registry: Registry, folder: Path, counts: list[int], shared: list[Path], pool: list[Path]
) -> list[dict[str, Any]]:
    """What so many environments take: stored in the registry, against the sum of their images.

    Built from locks, as a worker does after uv has made one: a thousand runs of it would take ten
    minutes and not change a byte.
    """
    url = f"sqlite:///{folder}/catalog.db"
    migrate(url)
    store = f"registry://{registry.host}/kitbag"
    settings = WorkerSettings(database_url=url, data=folder, store=store, local=True)
    kit = Services(settings)
    base = base_of(kit, "old")
    before = registry.blobs()
    entries = {path: lock_entry(path) for path in (*shared, *pool)}
    found: list[dict[str, Any]] = []
    seconds: list[float] = []
    images_bytes = done = 0
    for count in counts:
        for number in range(done, count):
            own = random.Random(number).sample(pool, PACKAGES - SHARED)
            text = LOCK_HEAD + "".join(entries[path] for path in (*shared, *own))
            lock = parse(text, "3.11", base.platform)
            name = f"bench/environment-{number}"
            began = time.monotonic()
            made, _ = layered.build(lock, base, name, kit.tools(base.python.version, name))
            seconds.append(time.monotonic() - began)
            new = (layer.descriptor for layer in made.layers)
            images_bytes += sum(each.size_bytes for each in new if each.digest not in before)
        done = count
        stored = registry.blobs()
        found.append(
            {
                "environments": count,
                "images_bytes": images_bytes,
                "stored_bytes": sum(stored.values()) - sum(before.values()),
                "blobs": len(stored) - len(before),
                "last_ten_p50_s": statistics.median(seconds[-10:]),
            }
        )
    kit.close()
    return found


def lock_entry(path: Path) -> str:
    """A wheel's lines of a pylock.toml."""
    name, version = path.name.split("-")[:2]
    url, size = f"{os.environ['KITBAG_INDEX_URL']}/../files/{path.name}", path.stat().st_size
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return (
        f'[[packages]]\nname = "{name.replace("_", "-")}"\nversion = "{version}"\n'
        f'wheels = [{{ name = "{path.name}", url = "{url}", size = {size}, '
        f'hashes = {{ sha256 = "{sha256}" }} }}]\n'
    )


def table_of_packages(rows: list[dict[str, Any]]) -> str:
    """Cold with Kitbag and uv, cold a package, one more package, and the largest process."""
    heads = [
        "packages",
        "image",
        "Kitbag",
        "uv",
        "ratio",
        "each",
        "more",
        "moved",
        "layers",
        "largest",
    ]
    lines = [
        f"| {' | '.join(heads)} |",
        "|---:|" + "---:|" * 9,
    ]
    for row in rows:
        each = (
            f"{row['packages']:,}",
            f"{row['image_bytes'] / 1e6:.0f} MB",
            f"{row['cold_s']:.2f} s",
            f"{row['uv_s']:.2f} s",
            f"{row['cold_s'] / row['uv_s']:.2f}",
            f"{1000 * row['cold_s'] / row['packages']:.0f} ms",
            f"{row['one_more_s']:.2f} s",
            f"{row['one_more_moved_bytes'] / 1e6:.2f} MB",
            str(row["layers"]),
            f"{max(row['peak_rss_mb'].values()):.0f} MB",
        )
        lines.append(f"| {' | '.join(each)} |")
    return "\n".join(lines)


def table_of_environments(rows: list[dict[str, Any]]) -> str:
    """A row for each count; a build's time, from its lock, is the median of the last ten."""
    lines = [
        "| environments | sum of the images | stored | ratio | stored for each | a build, p50 |",
        "|---:|" + "---:|" * 5,
    ]
    for row in rows:
        each = (
            f"{row['environments']:,}",
            f"{row['images_bytes'] / 1e6:,.0f} MB",
            f"{row['stored_bytes'] / 1e6:,.0f} MB",
            f"{row['stored_bytes'] / row['images_bytes']:.3f}",
            f"{row['stored_bytes'] / 1e6 / row['environments']:.1f} MB",
            f"{row['last_ten_p50_s']:.2f} s",
        )
        lines.append(f"| {' | '.join(each)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; both unless given")
    parser.add_argument("--counts", help="how many, such as 10,100; else as in issue 3")
    parser.add_argument("--json", type=Path, help="where every figure is kept from run to run")
    chosen = parser.parse_args()
    if unknown := set(chosen.rows) - set(ROWS):
        parser.error(f"there is no row {min(unknown)!r}: {', '.join(ROWS)}")
    before = chosen.json and chosen.json.exists()
    found: dict[str, Any] = json.loads(chosen.json.read_text()) if before else {}
    for row in chosen.rows or ROWS:
        first = 10 if row == "packages" else 1
        usual = f"{first},{'10,100' if first == 1 else '100,300'},1000"
        counts = sorted({int(count) for count in (chosen.counts or usual).split(",")})
        with tempfile.TemporaryDirectory() as name, registry_factory() as make_registry:
            folder = Path(name)
            fill(folder / "wheels", SEEDS)
            made = Wheels(folder / "wheels")
            if row == "packages":
                wanted = [pin(made.make(f"package-{n}", SMALL_KIB)) for n in range(counts[-1])]
                more = [pin(made.make(f"one-more-{n}", (20,))) for n in range(ONE_MORE)]
            else:
                shared = [made.make(f"shared-{n}", SIZES_KIB) for n in range(SHARED)]
                pool = [made.make(f"pool-{n}", SIZES_KIB) for n in range(POOL)]
            with local_index(folder / "wheels") as index:
                os.environ["KITBAG_INDEX_URL"] = index
                if row == "packages":
                    found[row] = [
                        measure_packages(make_registry, folder, index, wanted[:count], more)
                        for count in counts
                    ]
                else:
                    registry = make_registry()
                    found[row] = measure_environments(registry, folder, counts, shared, pool)
        if chosen.json:
            chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    if "packages" in found:
        print(table_of_packages(found["packages"]))
    if "environments" in found:
        print(table_of_environments(found["environments"]))


if __name__ == "__main__":
    main()
