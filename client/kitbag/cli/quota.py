"""quota: what one may use, and uses."""

from __future__ import annotations

import click

from kitbag.cli.output import as_json, print_json, print_table, size


@click.command()
@click.option("-n", "--namespace", metavar="NS", help="Whose, on a server that knows no users.")
@as_json
def quota(namespace: str | None, json_: bool) -> int:
    """Show how many builds and bytes you may use, and how much of it you do."""
    from kitbag.client import Client

    with Client() as client:
        found = client.quota(namespace)
    if json_:
        print_json(found)
        return 0
    limits, used = found["limits"], found["used"]
    rows = [
        ("builds at the same time", str(used["running"]), _count(limits["concurrent_builds"])),
        ("builds that wait", str(used["waiting"]), "-"),
        ("builds in 24 hours", str(used["builds_today"]), _count(limits["builds_a_day"])),
        ("bytes stored", size(used["stored_bytes"]), _bytes(limits["stored_bytes"])),
        ("one image", "-", _bytes(limits["image_bytes"])),
        ("one build", "-", _seconds(limits["build_seconds"])),
    ]
    print_table((found["tenant"], "used", "allowed"), rows)
    return 0


def _count(limit: int | None) -> str:
    return "unlimited" if limit is None else str(limit)


def _bytes(limit: int | None) -> str:
    return "unlimited" if limit is None else size(limit)


def _seconds(limit: float | None) -> str:
    return "unlimited" if limit is None else f"{limit:g} s"
