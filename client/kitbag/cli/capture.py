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
@click.option("--restart", is_flag=True, help="Then restart this notebook on it.")
@as_json
@click.pass_context
def capture(
    context: click.Context, name: str | None, yes: bool, check: bool, restart: bool, json_: bool
) -> None:
    """Save what was installed in this notebook as a new version of its environment.

    Shows what differs from the image that is running, asks on a terminal, builds, and prints
    REGISTRY/REPO@sha256:… on stdout.
    """
    from kitbag.capture import look
    from kitbag.capture.image import environment_name, notebook_name

    notebook = notebook_name() if restart else None
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
    context.exit(_save(found, environment, notebook, json_))


def _save(found: Capture, environment: str, notebook: tuple[str, str] | None, json_: bool) -> int:
    from kitbag.capture.save import save
    from kitbag.client import Client

    with Client() as client:
        build = waited(client, save(client, environment, found), json_)
        version = f"{build.environment}:{build.version}"
        if not json_:
            click.echo(build.image)
        restarted = client.restart(version, *notebook) if notebook else None
    if json_:
        document = {"difference": as_document(found), "build": dict(build.json)}
        print_json(document | ({"restart": dict(restarted)} if restarted else {}))
    elif restarted:
        title = f"Notebook {restarted['namespace']}/{restarted['name']}"
        click.echo(clean(f"{title}: {restarted['state']}, {restarted['say']}"), err=True)
    else:
        for line in what_follows(version):
            click.echo(line, err=True)
    return 0 if restarted is None or restarted["state"] in ("done", "same") else _WOULD_CHANGE


def what_follows(version: str) -> list[str]:
    """What there is to do with a version that was just saved."""
    return [
        "what you can do with it now:",
        f"  kitbag pin . --env {version} -i     pin the manifests and pipelines of this folder",
        f"  kitbag restart {version}     restart this notebook on it; what runs in it ends",
        f"  kitbag apply -f FILE --env {version}     start anything else on it",
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
