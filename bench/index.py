"""How long the layer index takes to answer with a million rows, on SQLite and on PostgreSQL.

    python bench/index.py [--layers 1000000] [--trials 200] [--json FILE]

A catalog with that many layers, each in a repository of one registry and every tenth in as many as
are noted, is asked as a build asks: for the keys of one layer, of an environment of 60, and of one
of 124, half of them known. Milliseconds of the wall for the whole answer, places included: median
and worst; `a row` is the median of 124 divided by them. `record` notes 60 layers that a build made.
PostgreSQL is the tests' own, on this machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from rig.postgres import postgres_server  # noqa: E402
from sqlalchemy import Engine, insert, text  # noqa: E402

from builder.model import LAYER_TYPE, Descriptor, Layer  # noqa: E402
from catalog.engine import make_engine, migrate, writing  # noqa: E402
from catalog.layers import MAX_PLACES  # noqa: E402
from catalog.models import LayerPlace, LayerRow  # noqa: E402
from catalog.types import utcnow  # noqa: E402
from worker.index import CatalogIndex  # noqa: E402

STORE = "registry.example"
SIZES = (1, 60, 124)
ROWS_AT_ONCE = 20_000


def key(number: int) -> str:
    return hashlib.sha256(b"key %d" % number).hexdigest()


def digest(number: int) -> str:
    return f"sha256:{hashlib.sha256(b'digest %d' % number).hexdigest()}"


def rows(start: int, end: int) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    now = utcnow()
    for number in range(start, end):
        layer = {"key": key(number), "digest": digest(number), "diff_id": digest(-number)}
        layer |= {"size_bytes": number, "media_type": LAYER_TYPE}
        layer |= {"created_at": now, "last_used_at": now}
        many = MAX_PLACES if number % 10 == 0 else 1
        yield (
            layer,
            [
                {"digest": layer["digest"], "store": STORE, "repo": f"ns/e-{number % 1000 + each}"}
                | {"created_at": now}
                for each in range(many)
            ],
        )


def fill(engine: Engine, layers: int) -> None:
    for start in range(0, layers, ROWS_AT_ONCE):
        made = list(rows(start, min(start + ROWS_AT_ONCE, layers)))
        with writing(engine) as session:
            session.execute(insert(LayerRow), [layer for layer, _ in made])
            session.execute(insert(LayerPlace), [place for _, each in made for place in each])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def timed(trials: int, ask: Callable[[int], object]) -> tuple[float, float]:
    """Median and worst, in milliseconds."""
    took = []
    for trial in range(trials):
        began = time.perf_counter()
        ask(trial)
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took), max(took)


def measured(url: str, layers: int, trials: int) -> dict[str, float]:
    migrate(url)
    engine = make_engine(url)
    fill(engine, layers)
    index, chance, found = CatalogIndex(engine), random.Random(1), {}
    for size in SIZES:
        asked = [
            [key(chance.randrange(2 * layers)) for _ in range(size)] for _ in range(trials + 1)
        ]
        index.known(asked[-1], STORE)
        found[f"{size}"], found[f"{size} worst"] = timed(
            trials, lambda trial, asked=asked: index.known(asked[trial], STORE)
        )
    found["a row"] = found["124"] / 124

    def record(trial: int) -> None:
        made = [
            (key(-trial * 60 - n), Layer(Descriptor(LAYER_TYPE, digest(n), n), digest(n)))
            for n in range(60)
        ]
        index.record(made, STORE, f"ns/new-{trial}")

    found["record 60"], found["record 60 worst"] = timed(trials, record)
    engine.dispose()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=1_000_000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server:
        sqlite = f"sqlite:///{folder}/catalog.db"
        urls = {"SQLite": sqlite, "PostgreSQL": server.create_database()}
        table = {name: measured(url, args.layers, args.trials) for name, url in urls.items()}
    columns = list(table["SQLite"])
    print(f"| {args.layers:,} layers, ms | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, found in table.items():
        print(f"| {name} | " + " | ".join(f"{found[each]:.3f}" for each in columns) + " |")
    if args.json:
        args.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
