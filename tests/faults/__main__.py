"""Kills and harms every part of a deployment at random moments, and counts what is wrong then.

    .venv/bin/python tests/faults [--builds 500] [--kills 200] [--others 50] [--seed N]

As root, with all of the rig installed (`.ci/run`) and a C compiler. Everything is on loopback. The
moments are drawn by `--seed`, but what a build does just then is up to the machine. Ends with 1 if
anything is wrong. `tests/e2e/test_faults_random.py` is a small one of these.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from faults.parts import Site, opened  # noqa: E402
from faults.storm import KILLS, OTHERS, Storm, as_json  # noqa: E402
from faults.verdict import Verdict, Watch, judge, requeued, settle  # noqa: E402

_MORE = 60


def rage(
    site: Site, *, builds: int, kills: int, others: int, seed: int, interrupted: int = 0
) -> tuple[Storm, Verdict]:
    """So many builds and so much harm; builds are spread over the moments of harm.

    Where fewer builds than `interrupted` lost their worker by then, more workers are killed.
    """
    site.kitbag.build("storm/base", "one")
    storm = Storm(site, seed)
    watch = Watch(site)
    order = _each(KILLS, kills, site) + _each(OTHERS, others, site)
    storm.chance.shuffle(order)
    began = time.monotonic()
    for number, kind in enumerate(order, start=1):
        while storm.asked < builds * number // len(order):
            storm.ask()
        storm.strike(kind)
        if number % 10 == 0:
            told = f"{number}/{len(order)}: {len(storm.accepted)} accepted"
            print(f"{told}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    for _ in range(_MORE):
        if requeued(site) >= interrupted:
            break
        for _ in range(3):
            storm.ask()
        storm.strike("child")
    settle(site, storm)
    watch.close()
    print(f"settled after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return storm, judge(site, storm, watch)


def _each(kinds: Sequence[str], count: int, site: Site) -> list[str]:
    """So many kinds of harm, each as often as the others, of those that the site has a part for."""
    needs = {"engine": site.engine, "disk": site.disks, "clock": site.clocks}
    possible = [kind for kind in kinds if needs.get(kind, True)]
    return [possible[number % len(possible)] for number in range(count)]


def table(storm: Storm, verdict: Verdict) -> str:
    """What was done, and what came of it."""
    lines = ["| harm | times | while builds ran |", "|---|---:|---:|"]
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for strike in storm.strikes:
        kind = "kill -9 of " if strike.kind in KILLS else ""
        to = f" {strike.to}" if strike.kind in ("cut", "frozen", "slow") else ""
        row = rows[f"{kind}{strike.kind}{to}"]
        row[0] += 1
        row[1] += strike.running > 0
    lines += [f"| {name} | {times} | {hit} |" for name, (times, hit) in sorted(rows.items())]
    lines += [
        "",
        said(storm, verdict),
        "",
        "| what must be 0 | |",
        "|---|---:|",
        *(f"| {name} | {len(found)} |" for name, found in verdict.wrong.items()),
    ]
    return "\n".join(lines)


def said(storm: Storm, verdict: Verdict) -> str:
    failed = ", ".join(f"{count} {slug}" for slug, count in sorted(verdict.failed.items()))
    return (
        f"{storm.asked} asked, {storm.unanswered} without an answer, {verdict.accepted} builds "
        f"accepted: {verdict.ready} ready, {sum(verdict.failed.values())} failed "
        f"({failed or 'none'}), {verdict.requeued} lost a worker on the way. Seed {storm.seed}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--builds", type=int, default=500)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--others", type=int, default=50)
    parser.add_argument("--seed", type=int, default=20_260_101)
    parser.add_argument("--without-engine", action="store_true")
    parser.add_argument("--strikes", type=Path, help="write what was done, as JSON")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="kitbag-faults-") as folder,
        opened(Path(folder), engine=not given.without_engine, disks=True, clocks=True) as site,
    ):
        storm, verdict = rage(
            site, builds=given.builds, kills=given.kills, others=given.others, seed=given.seed
        )
        if not verdict.right:
            print(site.kitbag.logs(), file=sys.stderr)
    print(table(storm, verdict))
    for name, found in verdict.wrong.items():
        for sentence in found[:20]:
            print(f"{name}: {sentence}")
    if given.strikes:
        given.strikes.write_text(as_json(storm))
    return 0 if verdict.right else 1


if __name__ == "__main__":
    sys.exit(main())
