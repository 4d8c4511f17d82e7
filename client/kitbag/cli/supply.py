"""who-has."""

from __future__ import annotations

import click

from kitbag.cli.output import as_json, print_json, print_table, short

_NO = 1


@click.command("who-has")
@click.argument("requirement", metavar="REQUIREMENT")
@click.option("--all", "every", is_flag=True, help="Look into every version, not the latest alone.")
@as_json
def who_has(requirement: str, every: bool, json_: bool) -> int:
    """List the environments that hold a package, such as "urllib3<2.5"; 1 if none does."""
    from kitbag.client import Client

    with Client() as client:
        found = client.supply.holders(requirement, every=every)
    if json_:
        print_json({"requirement": requirement, "items": [item.json for item in found]})
    elif found:
        print_table(
            ("ENVIRONMENT", "VERSION", "RELEASE", "DIGEST"),
            (
                (
                    item.environment,
                    str(item.version),
                    ", ".join(item.releases),
                    short(item.image.rpartition("@")[2]),
                )
                for item in found
            ),
        )
    else:
        where = "version" if every else "latest version"
        click.echo(f"kitbag: no {where} of any environment has it", err=True)
    return 0 if found else _NO
