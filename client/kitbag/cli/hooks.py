"""hook add, ls, show, renew, rm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitbag.cli.output import as_json, clean, print_fields, print_json, print_table

if TYPE_CHECKING:
    from kitbag.hooks import Hook

FORGES = ("github", "gitlab", "gitea", "bitbucket")
_ENVIRONMENT = click.argument("environment", metavar="NS/NAME")
_ID = click.argument("hook_id", metavar="ID")


@click.group()
def hook() -> None:
    """Webhooks: pushes to a git repository build an environment."""


@hook.command()
@_ENVIRONMENT
@click.argument("repository", metavar="GIT_URL")
@click.option("--forge", type=click.Choice(FORGES), required=True, help="Who sends.")
@click.option(
    "--branch",
    "branches",
    multiple=True,
    metavar="PATTERN[=NS/NAME]",
    help="Branches that are built (default: main); others than this environment may be named, "
    "with {branch} for the branch. Repeatable.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="PATTERN[=NS/NAME]",
    help="Tags that become names of the versions of their commits; {tag} as above. Repeatable.",
)
@click.option("--subdir", metavar="D", help="The folder of the repository that is the source.")
@click.option("--pulls", is_flag=True, help="Build pull requests, as NS/NAME-pr-NUMBER.")
@click.option(
    "--accelerator", type=click.Choice(("cpu", "cuda", "tpu")), help="What it computes on."
)
@click.option("--python", metavar="3.11", help="A minor version.")
@click.option(
    "--status-secret", metavar="NAME", help="The operator's secret to report commits with."
)
@as_json
def add(
    environment: str,
    repository: str,
    forge: str,
    branches: tuple[str, ...],
    tags: tuple[str, ...],
    subdir: str | None,
    pulls: bool,
    accelerator: str | None,
    python: str | None,
    status_secret: str | None,
    json_: bool,
) -> None:
    """Make a webhook, and print what to paste into the forge."""
    from kitbag.client import Client

    with Client() as client:
        made = client.hooks.add(
            environment,
            repository,
            forge,
            branches=branches,
            tags=tags,
            subdir=subdir,
            pulls=pulls,
            accelerator=accelerator,
            python=python,
            status_secret=status_secret,
        )
    _print(made, json_)


@hook.command("ls")
@_ENVIRONMENT
@as_json
def ls(environment: str, json_: bool) -> None:
    """List an environment's webhooks."""
    from kitbag.client import Client

    with Client() as client:
        found = client.hooks.all(environment)
    if json_:
        print_json({"items": [each.json for each in found]})
        return
    print_table(
        ("ID", "FORGE", "REPOSITORY", "BRANCHES", "TAGS", "PULLS"),
        (
            (
                *(each.id, each.forge, each.repository),
                *(" ".join(each.branches), " ".join(each.tags), "yes" * each.pulls),
            )
            for each in found
        ),
    )


@hook.command()
@_ENVIRONMENT
@_ID
@as_json
def show(environment: str, hook_id: str, json_: bool) -> None:
    """Print once more what to paste into the forge."""
    from kitbag.client import Client

    with Client() as client:
        _print(client.hooks.get(environment, hook_id), json_)


@hook.command()
@_ENVIRONMENT
@_ID
@as_json
def renew(environment: str, hook_id: str, json_: bool) -> None:
    """Give a webhook another secret."""
    from kitbag.client import Client

    with Client() as client:
        _print(client.hooks.renew(environment, hook_id), json_)


@hook.command()
@_ENVIRONMENT
@_ID
@as_json
def rm(environment: str, hook_id: str, json_: bool) -> None:
    """Forget a webhook."""
    from kitbag.client import Client

    with Client() as client:
        forgotten = client.hooks.remove(environment, hook_id)
    if json_:
        print_json(forgotten.json)
    click.echo(clean(f"{hook_id} is forgotten; remove it from the forge too."), err=True)


def _print(made: Hook, json_: bool) -> None:
    from kitbag.hooks import EVENTS

    if json_:
        print_json(dict(made.json) | {"url": made.url, "repository": made.repository})
        return
    print_fields(
        (
            ("id", made.id),
            ("builds", f"{made.environment} of {made.repository} at {' '.join(made.branches)}"),
            ("URL", made.url),
            ("secret", made.secret or ""),
            ("choose", EVENTS[made.forge]),
        )
    )
