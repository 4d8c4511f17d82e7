"""whoami and token: who the server takes you for, and what else may act as you."""

from __future__ import annotations

import click

from kitbag.cli.output import ago, as_json, print_fields, print_json, print_table

_ROLES = click.Choice(["reader", "user", "maintainer", "admin"])


@click.command()
@as_json
def whoami(json_: bool) -> None:
    """Show who the server takes you for, and what you are in which namespaces."""
    from kitbag.client import Client

    with Client() as client:
        who = client.whoami()
    if json_:
        print_json(who)
        return
    roles = [f"{role['role']} of {role['namespaces']}" for role in who["roles"]]
    print_fields(
        (
            ("user", who["user"]),
            ("known as", who["kind"]),
            ("groups", ", ".join(who["groups"])),
            ("roles", ", ".join(roles) or "none: ask whoever gives out roles"),
        )
    )


@click.group()
def token() -> None:
    """Make, list and revoke tokens."""


@token.command()
@click.argument("name")
@click.option("--role", type=_ROLES, default="user", show_default=True, help="The most it may.")
@click.option("--only", metavar="NS", multiple=True, help="And where; all by default. Repeatable.")
@click.option("--namespace", metavar="NS", help="A token of this namespace, for a CI.")
@click.option(
    "--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long."
)
@as_json
def create(
    name: str, role: str, only: tuple[str, ...], namespace: str | None, days: int, json_: bool
) -> None:
    """Make a token and print it, which is the only time."""
    from kitbag.client import Client

    with Client() as client:
        made = client.tokens.create(name, role=role, only=only, namespace=namespace, days=days)
    if json_:
        print_json(made)
    else:
        click.echo(f"kitbag: token {made['id']}, until {made['expires_at'][:10]}", err=True)
        click.echo(made["secret"])


@token.command("ls")
@as_json
def ls(json_: bool) -> None:
    """List your tokens and those of the namespaces whose admin you are."""
    from kitbag.client import Client
    from kitbag.versions import moment

    with Client() as client:
        items = client.tokens.list()
    if json_:
        print_json({"items": items})
        return
    print_table(
        ("ID", "NAME", "OF", "ROLE", "NAMESPACES", "EXPIRES", "USED"),
        (
            (
                str(item["id"]),
                item["name"],
                item["user"] or item["namespace"],
                item["role"],
                ", ".join(item["namespaces"]),
                (item["expires_at"] or "-")[:10],
                ago(moment(item["last_used_at"])) or "-",
            )
            for item in items
        ),
    )


@token.command("rm")
@click.argument("token_id", metavar="ID", type=click.IntRange(1))
@as_json
def rm(token_id: int, json_: bool) -> None:
    """Revoke a token: it is worth nothing from now on."""
    from kitbag.client import Client

    with Client() as client:
        gone = client.tokens.remove(token_id)
    if json_:
        print_json(gone)
    else:
        click.echo(f"kitbag: token {gone['id']} ({gone['name']}) is revoked", err=True)
