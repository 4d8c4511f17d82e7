"""audit: who did what."""

from __future__ import annotations

from itertools import islice

import click

from kitbag.cli.output import as_json, print_json, print_table

_COUNT = click.IntRange(1, 100_000)


@click.command()
@click.option("--user", metavar="NAME", help="What this user did.")
@click.option("--env", "subject", metavar="NS/NAME", help="What was done to this environment.")
@click.option("--action", metavar="NAME", help="What was done by this name: create_build.")
@click.option("-n", "limit", type=_COUNT, default=50, show_default=True, help="How many.")
@as_json
def audit(
    user: str | None, subject: str | None, action: str | None, limit: int, json_: bool
) -> int:
    """Show who did what, the newest first; for admins of every namespace."""
    from kitbag.client import Client

    with Client() as client:
        lines = client.audit(user=user, subject=subject, action=action)
        found = list(islice(lines, limit))
    if json_:
        print_json({"items": found})
        return 0
    rows = [
        (
            str(line["at"])[:19].replace("T", " "),
            str(line["user"]) or "-",
            str(line["address"]),
            str(line["action"]),
            str(line["subject"] or line["target"]),
            str(line["status"]),
            str(line["made"]),
        )
        for line in found
    ]
    print_table(("when (UTC)", "who", "from", "what", "on", "status", "made"), rows)
    return 0
