"""rollout: the objects that get each new version, and those that get one now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from kitbag.cli.hooks import FORGES
from kitbag.cli.live import choices, now, part
from kitbag.cli.output import as_json, clean, print_json, print_table


class _Rollout(click.Group):
    """`rollout NS/NAME` beside `rollout add`, `ls` and `rm`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *self.get_help_option_names(ctx)):
            args = ["now", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Rollout)
def rollout() -> None:
    """Give live objects an environment's image: `kitbag rollout NS/NAME` now, or at every version.

    \b
    kitbag rollout NS/NAME [KIND/NAME]… [--to V] [--dry-run]
    kitbag rollout add NS/NAME (KIND/NAME… | -l SELECTOR)
    kitbag rollout add NS/NAME --git URL --path deploy/ [--pull-request --forge github]

    `kitbag rollout now --help` shows the options of the first.
    """


rollout.add_command(now)


@rollout.command("add")
@click.argument("environment", metavar="NS/NAME")
@click.argument("objects", metavar="[KIND/NAME]…", nargs=-1)
@click.option("-n", "--namespace", metavar="NS", help="The environment's own unless given.")
@click.option("-l", "--selector", metavar="SEL", default="", help="Objects with these labels.")
@click.option("--git", metavar="URL", help="A repository whose files are to name it instead.")
@click.option("--branch", metavar="B", help="Its branch; main unless given.")
@click.option(
    "--path", "paths", metavar="P", multiple=True, help="A file or folder there; repeatable."
)
@click.option("--pull-request", is_flag=True, help="Open a pull or merge request for each version.")
@click.option("--forge", type=click.Choice(FORGES), help="Whose pull requests these are.")
@click.option("--secret", metavar="NAME", help="The operator's secret to push with.")
@click.option("--target", metavar="T", help="The target whose cluster reads the repository.")
@choices
@as_json
def add(
    environment: str,
    objects: Sequence[str],
    namespace: str | None,
    selector: str,
    git: str | None,
    branch: str | None,
    paths: tuple[str, ...],
    pull_request: bool,
    forge: str | None,
    secret: str | None,
    target: str | None,
    restart: bool,
    clone: bool,
    force_conflicts: bool,
    container: str | None,
    json_: bool,
) -> None:
    """Have the server do it at every new version, beginning with the latest.

    It acts in its own cluster, with the rights of the environment's service account there; or with
    --git it commits to a branch, or proposes it as a pull request.
    """
    from kitbag.client import Client

    if bool(objects) + bool(selector) + bool(git) != 1:
        raise click.UsageError(
            "Name objects as KIND/NAME, or choose them with -l, or a repository with --git."
        )
    of_git = any((branch, paths, pull_request, forge, secret, target))
    if git and not paths:
        raise click.UsageError("Say which files or folders are to change: --path deploy/")
    if of_git and not git:
        raise click.UsageError("--branch, --path and the like go with --git.")
    if git and (namespace or restart or clone or force_conflicts):
        raise click.UsageError("-n, --restart, --clone and --force-conflicts are for a cluster.")
    place = {
        "url": git,
        "branch": branch or "main",
        "paths": list(paths),
        "pull_request": pull_request,
        "forge": forge,
        "secret": secret,
        "target": target,
    }
    parts = [part(text) for text in objects]
    with Client() as client:
        made = client.add_rollout(
            environment,
            objects=[{"kind": kind, "name": name} for kind, name in parts],
            selector=selector,
            namespace=namespace,
            restart=restart,
            clone=clone,
            force_conflicts=force_conflicts,
            container=container,
            git=place if git else None,
        )
    if json_:
        print_json(made)
    else:
        where = _repository(made["git"]) if made["git"] else made["namespace"]
        click.echo(clean(f"rollout {made['id']} of {made['environment']} in {where}"))


@rollout.command("ls")
@click.argument("environment", metavar="NS/NAME")
@as_json
def ls(environment: str, json_: bool) -> None:
    """List the rollouts of an environment, and what became of their objects."""
    from kitbag.client import Client

    with Client() as client:
        found = client.rollouts(environment)
    if json_:
        print_json({"items": found})
        return
    rows = [row for one in found for row in _lines(one)]
    if rows:
        print_table(("ID", "VERSION", "STATE", "OBJECT", "BECAME", "WHY"), rows)


def _lines(one: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A line an object of a rollout; one that says what is meant before there are any."""
    run = one["run"] or {"version": "-", "state": "-", "objects": [], "problem": None}
    start = (str(one["id"]), str(run["version"]), str(run["state"]))
    if one.get("git"):
        where = _repository(one["git"])
        became: list[tuple[str, ...]] = [
            (*start, f"{where}: {item['kind']} {item['name']}", item["state"], item["say"])
            for item in run["objects"]
        ]
        if run["problem"] or not became:
            became.insert(0, (*start, where, "-", run["problem"] or ""))
        return became
    place = one["namespace"]
    if not run["objects"]:
        meant = [f"{item['kind']} {place}/{item['name']}" for item in one["objects"]]
        what = ", ".join(meant) or f"{place}: {one['selector']}"
        return [(*start, what, "-", run["problem"] or "")]
    return [
        (*start, f"{item['kind']} {place}/{item['name']}", item["state"], item["say"])
        for item in run["objects"]
    ]


def _repository(git: Mapping[str, Any]) -> str:
    return f"{git['url']} {git['branch']}"


@rollout.command("retry")
@click.argument("environment", metavar="NS/NAME")
@click.argument("rollout_id", metavar="ID", type=click.IntRange(1))
@as_json
def retry(environment: str, rollout_id: int, json_: bool) -> None:
    """Have the server try the newest version again now, such as after a right was given."""
    from kitbag.client import Client

    with Client() as client:
        told = client.retry_rollout(environment, rollout_id)
    if json_:
        print_json(told)
        return
    click.echo(f"kitbag: rollout {rollout_id} is tried again: see `kitbag rollout ls`", err=True)


@rollout.command("rm")
@click.argument("environment", metavar="NS/NAME")
@click.argument("rollout_id", metavar="ID", type=click.IntRange(1))
@as_json
def rm(environment: str, rollout_id: int, json_: bool) -> None:
    """Have the server leave those objects alone; they stay as they are."""
    from kitbag.client import Client

    with Client() as client:
        client.remove_rollout(environment, rollout_id)
    if json_:
        print_json({"removed": rollout_id})
        return
    click.echo(f"kitbag: rollout {rollout_id} is removed", err=True)
