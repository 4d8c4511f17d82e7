"""How long capture itself takes: reading an environment of 300 packages and comparing it.

    python bench/capture.py [--packages 300] [--json]

The environment is a real one, installed by uv from an index of small wheels; every tenth package is
another than the lock's and one was installed from a folder. Each row is the best of five. The
process is one of its own, so that the interpreter's start and all imports count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from rig.wheels import wheel_factory

from kitbag.capture import Image, look

GOAL_S = 1.0
PROCESS = """\
import sys
from pathlib import Path
from kitbag.capture import Image, look
from kitbag.cli.capture import lines_of
import json
packages = json.loads(sys.argv[3])
found = look(Image(Path(sys.argv[1]), sys.argv[2], "auto", packages))
with found.source("bench/env") as source:
    print(len(found.requirements().splitlines()), len(lines_of(found.difference)))
"""


def environment(folder: Path, packages: int) -> tuple[Path, dict[str, str]]:
    """An environment and what its image's lock says."""
    prefix = folder / "env"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(prefix)], check=True)
    (folder / "index").mkdir()
    (folder / "own").mkdir()
    with wheel_factory(folder / "index") as index:
        names = [f"package-{number}" for number in range(packages)]
        for name in names:
            index.wheel(name, "1.1")
        own = index.wheel("own-tools", "0.1")
        moved = own.rename(folder / "own" / own.name)
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", str(prefix), "--index-url",
             index.index_url, str(moved), *names],
            check=True,
        )  # fmt: skip
    lock = {name: "1.0" if number % 10 == 0 else "1.1" for number, name in enumerate(names)}
    return prefix, lock


def best(times: list[float]) -> float:
    return round(min(times), 3)


def timed(prefix: Path, lock: dict[str, str]) -> list[float]:
    """Seconds of looking and making the request, in this process."""
    python = "{}.{}.{}".format(*sys.version_info)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        found = look(Image(prefix, python, "auto", lock))
        with found.source("bench/env"):
            times.append(time.perf_counter() - start)
    return times


def process(prefix: Path, lock: dict[str, str]) -> list[float]:
    """The same as a process of its own."""
    python = "{}.{}.{}".format(*sys.version_info)
    command = [sys.executable, "-c", PROCESS, str(prefix), python, json.dumps(lock)]
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return times


def main() -> int:
    """Print the table; exit 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=int, default=300)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kitbag-bench-") as name:
        prefix, lock = environment(Path(name), arguments.packages)
        rows = [
            {"what": "look and make the request", "seconds": best(timed(prefix, lock))},
            {"what": "as a process of its own", "seconds": best(process(prefix, lock))},
        ]
    for row in rows:
        print(
            json.dumps({**row, "packages": arguments.packages, "goal_s": GOAL_S})
            if arguments.json
            else f"{row['what']:30}{row['seconds']:>8} s, goal {GOAL_S} s"
        )
    return 1 if any(float(row["seconds"]) > GOAL_S for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
