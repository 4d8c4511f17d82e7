"""login: keep a server's address and token."""

from __future__ import annotations

import os
import sys
from contextlib import closing

import click

from kitbag.cli.output import as_json, print_json
from kitbag.errors import KitbagError

_UNAUTHORIZED = 401


@click.command()
@click.argument("url", required=False)
@click.option("--token-stdin", is_flag=True, help="Read the token from stdin.")
@as_json
def login(url: str | None, token_stdin: bool, json_: bool) -> None:
    """Remember a server, and the token that it asks for.

    URL is that of KITBAG_URL by default. The token is KITBAG_TOKEN or is asked for; it is kept in
    ~/.config/kitbag/config.toml for your eyes only, once the server has accepted it.
    """
    from kitbag import config

    address = config.checked(url) if url else config.load().url
    token = sys.stdin.readline().strip() if token_stdin else os.environ.get("KITBAG_TOKEN") or None
    if token_stdin and not token:
        raise KitbagError("--token-stdin found no token on stdin: pipe one line with it in")
    try:
        _try(address, token)
    except KitbagError as error:
        asked = error.problem and error.problem.status == _UNAUTHORIZED
        if not asked or token or not sys.stdin.isatty():
            raise
        token = click.prompt(f"Token for {address}", hide_input=True, err=True).strip()
        _try(address, token)
    saved = config.read(config.path())
    file = config.save(config.Config(address, token, saved.kinds if saved else None))
    if json_:
        print_json({"url": address, "config": str(file)})
    else:
        click.echo(f"{address} is the server from now on ({file})")


def _try(url: str, token: str | None) -> None:
    """Ask the server for something that it shows only to those it knows."""
    from kitbag.config import Config
    from kitbag.transport import Transport

    with closing(Transport(Config(url, token), timeout_s=30)) as server:
        server.get("/v1/environments", limit=1)
