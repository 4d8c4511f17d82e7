"""capture."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from kitbag.cli.builds import waited
from kitbag.cli.output import as_json, clean, print_json
from kitbag.errors import KitbagError

if TYPE_CHECKING:
    from kitbag.capture import Capture, Difference

_WOULD_CHANGE = 1


@click.command()
@click.option("--name", metavar="NS/NAME", help="The environment; KITBAG_ENVIRONMENT by default.")
@click.option("-y", "--yes", is_flag=True, help="Build without asking.")
@click.option("--check", is_flag=True, help="Only show the difference; exit 1 if there is one.")
@as_json
@click.pass_context
def capture(context: click.Context, name: str | None, yes: bool, check: bool, json_: bool) -> None:
    """Save what was installed in this notebook as a new version of its environment.

    Shows what differs from the image that is running, asks on a terminal, builds, and prints
    REGISTRY/REPO@sha256:… on stdout.
    """
    from kitbag.capture import look
    from kitbag.capture.image import environment_name

    found = look()
    _print(found.difference)
    if check:
        if json_:
            print_json({"difference": as_document(found)})
        context.exit(_WOULD_CHANGE if found.difference else 0)
    if not found.difference:
        click.echo("nothing was installed: the image is what is running", err=True)
        if json_:
            print_json({"difference": as_document(found), "build": None})
        return
    environment = environment_name(name)
    if not yes:
        if not sys.stdin.isatty():
            raise KitbagError("this would be built: say --yes where nobody can be asked")
        click.confirm(f"Save this as a new version of {environment}?", err=True, abort=True)
    _save(found, environment, json_)


def _save(found: Capture, environment: str, json_: bool) -> None:
    from kitbag.capture.save import save
    from kitbag.client import Client

    with Client() as client:
        build = waited(client, save(client, environment, found), json_)
    if json_:
        print_json({"difference": as_document(found), "build": dict(build.json)})
        return
    click.echo(build.image)
    for line in what_follows(f"{build.environment}:{build.version}"):
        click.echo(line, err=True)


def what_follows(version: str) -> list[str]:
    """What there is to do with a version that was just saved."""
    return [
        "what you can do with it now:",
        f"  kitbag pin . --env {version} -i     pin the manifests and pipelines of this folder",
        f"  kitbag apply -f FILE --env {version}     start this notebook, or anything, on it",
    ]


def lines_of(difference: Difference) -> list[tuple[str, str]]:
    """A line for each package that differs, with the colour to print it in."""
    lines = [
        (f"+ {item.name} {item.version}" + (f" from {item.url}" if item.url else ""), "green")
        for item in difference.added
    ]
    lines += [(f"- {name} {version}", "red") for name, version in difference.removed]
    lines += [
        (f"~ {item.name} {item.before} -> {item.after}", "yellow") for item in difference.changed
    ]
    lines += [(f"! not carried: {reason}", "magenta") for reason in difference.stays]
    return [(clean(line), colour) for line, colour in lines]


def _print(difference: Difference) -> None:
    for line, colour in lines_of(difference):
        click.secho(line, fg=colour, err=True)


def as_document(found: Capture) -> dict[str, Any]:
    """The difference as JSON."""
    difference = found.difference
    return {
        "added": [
            {
                "name": item.name,
                "version": item.version,
                "origin": item.origin.value,
                "url": item.url,
            }
            for item in difference.added
        ],
        "changed": [
            {"name": item.name, "before": item.before, "after": item.after}
            for item in difference.changed
        ],
        "removed": [{"name": name, "version": version} for name, version in difference.removed],
        "stays": list(difference.stays),
    }
