"""How many names a server resolves in a second, and how long each takes, while all ask at once.

    python bench/resolve.py [--seconds 8] [--connections 20] [--environments 200] [--postgresql]
                            [--json FILE]

The server is one process of `kitbag-server api` on a SQLite catalog, or on one in a PostgreSQL
server of its own (`--postgresql`) on this machine, over plain HTTP on loopback.
Each row is `wrk` (Debian's package) with one thread: every connection asks as soon as it is
answered, so that the server is as busy as it can be, and the times are those under that load. The
peer is /healthz of the same server in the same run, before and after: what HTTP, the framework and
the machine cost. `CPU us` is what the server computes for one request, however busy the machine is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from admission import fill, wait_for  # noqa: E402
from rig.postgres import postgres_server  # noqa: E402

UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
BATCH = 50

# Every connection goes through all names, and shows the tag that the answers of `tags` had.
SCRIPT = """
local number = 0
wrk.headers["Host"] = "localhost"
request = function()
  number = (number + 1) % COUNT
  local path = "/v1/resolve?env=team/env-" .. number
  if TAGS then
    wrk.headers["If-None-Match"] = string.format('"1-sha256:%064x"', number)
  end
  return wrk.format("GET", path)
end
"""


def script(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.lua"
    path.write_text(text)
    return str(path)


def load(url: str, lua: str | None, seconds: float, connections: int) -> dict[str, Any]:
    """What wrk says: requests a second, times in ms, and answers that were neither 2xx nor 3xx."""
    told = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency",
         *(("-s", lua) if lua else ()), url],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    times = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+(?:us|ms|s))$", told, re.MULTILINE))
    assert rate is not None and len(times) == 2, told
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors", told)
    assert wrong is None, told
    return {"rate": float(rate[1]), "p50_ms": _ms(times["50"]), "p99_ms": _ms(times["99"])}


def cpu_s(pid: int) -> float:
    """What a process has computed, in seconds (proc_pid_stat(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]


def cases(folder: Path, environments: int) -> list[tuple[str, str, str | None]]:
    """What is asked for: a name, the path, and wrk's script."""

    def names(tags: bool) -> str:
        return SCRIPT.replace("COUNT", str(environments)).replace("TAGS", str(tags).lower())

    body = json.dumps({"names": [f"team/env-{number}" for number in range(BATCH)]})
    batch = (
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [[{body}]]\n"
    )
    return [
        ("/healthz (the peer)", "/healthz", None),
        ("one name", "/v1/resolve?env=team/env-1", None),
        (f"{environments} names", "/", script(folder, "names", names(tags=False))),
        (f"{environments} names, 304", "/", script(folder, "tags", names(tags=True))),
        (f"a batch of {BATCH} names", "/v1/resolve", script(folder, "batch", batch)),
        ("/healthz again", "/healthz", None),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--environments", type=int, default=200)
    parser.add_argument("--postgresql", action="store_true", help="the catalog is in PostgreSQL")
    parser.add_argument("--port", type=int, default=18484)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("bench/resolve.py needs wrk: apt-get install wrk")
    if chosen.environments < BATCH:
        parser.error(f"--environments must be {BATCH} or more")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{folder}/catalog.db"
        if chosen.postgresql:
            url = stack.enter_context(postgres_server()).create_database()
        fill(url, chosen.environments)
        server = subprocess.Popen(
            [sys.executable, "-m", "server", "api", "--port", str(chosen.port)],
            env={"PATH": os.environ["PATH"], "KITBAG_DATABASE_URL": url,
                 "KITBAG_DATA": str(folder / "data"), "KITBAG_RATE_LIMIT": "0"},
        )  # fmt: skip
        try:
            wait_for(chosen.port)
            root = f"http://127.0.0.1:{chosen.port}"
            with urlopen(f"{root}/v1/resolve?env=team/env-1") as answer:
                assert json.load(answer)["version"] == 1
            rows = []
            for name, path, lua in cases(folder, chosen.environments):
                load(root + path, lua, 1, chosen.connections)
                before = cpu_s(server.pid)
                row = load(root + path, lua, chosen.seconds, chosen.connections)
                spent = (cpu_s(server.pid) - before) / (row["rate"] * chosen.seconds)
                rows.append({"case": name, "server_cpu_us": spent * 1_000_000} | row)
        finally:
            server.terminate()
            server.wait()
    peer = min(row["rate"] for row in rows if row["case"].startswith("/healthz"))
    catalog = "PostgreSQL" if chosen.postgresql else "SQLite"
    told = f"{chosen.connections} connections, {chosen.seconds:g} s each, one server process"
    print(f"{told}, {catalog}")
    print(f"{'':<24}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'of peer':>9}{'CPU us':>9}")
    for row in rows:
        print(
            f"{row['case']:<24}{row['rate']:>12,.0f}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}"
            f"{row['rate'] / peer:>9.2f}{row['server_cpu_us']:>9.0f}"
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
