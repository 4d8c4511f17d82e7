"""verify, rebase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from kitbag.cli.output import as_json, clean, counted, print_json, print_table

_NO = 1


@click.command()
@click.argument("environment", metavar="NS/NAME[:VERSION]")
@as_json
def verify(environment: str, json_: bool) -> int:
    """Build a version again from its lock and compare the digests; 1 if not equal or not whole."""
    from kitbag.client import Client

    with Client() as client:
        verdict = client.verify(environment)
    equal, lost = bool(verdict["equal"]), verdict.get("lost") or []
    name = f"{verdict['environment']}:{verdict['version']}"
    if json_:
        print_json(verdict)
    else:
        # A server of an earlier release tells of the only image, without naming it.
        images = verdict.get("images") or [verdict]
        for image in images:
            about = f" for {image['accelerator']} on {image['platform']}" if images[1:] else ""
            _print_verdict(f"{name}{about}", image)
        if not equal and all(image["equal"] for image in images):
            click.echo(clean(f"{name} has an index that isn't of these images"))
    for digest in [] if json_ else lost:
        click.echo(clean(f"  the registry lost the layer {digest}"))
    if lost and not json_:
        click.echo("  a build with --upgrade puts back what is in the same layers then")
    return 0 if equal and not lost else _NO


def _print_verdict(name: str, image: Mapping[str, Any]) -> None:
    if image["equal"]:
        click.echo(clean(f"{name} is equal: {image['stored']}"))
        return
    click.echo(clean(f"{name} differs: {image['stored']} came out as {image['rebuilt']}"))
    for layer in image["layers"]:
        click.echo(clean(f"  layer {layer['number']} ({layer['holds']})"))
        for file in layer["files"]:
            click.echo(clean(f"    {file}"))
    if not image["layers"]:
        click.echo("  all layers are equal: only the config differs")


@click.command()
@click.argument("environments", metavar="[NS/*]", default="*")
@click.option(
    "--base", "base", nargs=2, required=True, metavar="OLD NEW", help="Names or digests of bases."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be rebased; 1 if anything.")
@as_json
def rebase(environments: str, base: tuple[str, str], dry_run: bool, json_: bool) -> int:
    """Put environments on another base by manifests alone; 1 if some can't be.

    The latest versions on OLD get new versions on NEW; asking again does only what is left.
    """
    from kitbag.client import Client

    with Client() as client:
        found = client.rebase(*base, environments=environments, dry_run=dry_run)
    items = found["items"]
    left = [item for item in items if item["state"] in ("refused", "moved")]
    would = [item for item in items if item["state"] == "would-rebase"]
    if json_:
        print_json(found)
    else:
        if items:
            print_table(
                ("ENVIRONMENT", "FROM", "TO", "OUTCOME"),
                (
                    (
                        item["environment"],
                        str(item["version"]),
                        str(item.get("number") or "-"),
                        item["state"] + (f": {item['reason']}" if item.get("reason") else ""),
                    )
                    for item in items
                ),
            )
        said = "would be rebased" if dry_run else "rebased"
        able = counted(len(items) - len(left), "environment")
        click.echo(f"kitbag: {able} {said}, {len(left)} can't be or moved meanwhile", err=True)
    return _NO if left or would else 0
