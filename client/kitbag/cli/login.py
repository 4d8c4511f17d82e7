"""login: keep a server's address and token."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import closing

import click

from kitbag.cli.output import as_json, print_json
from kitbag.errors import KitbagError

_UNAUTHORIZED = 401


@click.command()
@click.argument("url", required=False)
@click.option("--token-stdin", is_flag=True, help="Read the token from stdin.")
@click.option("--web", is_flag=True, help="Sign in with a browser, on this machine or another.")
@as_json
def login(url: str | None, token_stdin: bool, web: bool, json_: bool) -> None:
    """Remember a server, and the token that it asks for.

    URL is that of KITBAG_URL by default. The token is KITBAG_TOKEN or is asked for, or you get one
    with a browser; it is kept in ~/.config/kitbag/config.toml for your eyes only, once the server
    has accepted it.
    """
    from kitbag import config

    address = config.checked(url) if url else config.load().url
    token = sys.stdin.readline().strip() if token_stdin else os.environ.get("KITBAG_TOKEN") or None
    if token_stdin and not token:
        raise KitbagError("--token-stdin found no token on stdin: pipe one line with it in")
    if web:
        token = _by_browser(address)
    try:
        _try(address, token)
    except KitbagError as error:
        asked = error.problem and error.problem.status == _UNAUTHORIZED
        if not asked or token or not sys.stdin.isatty():
            raise
        asking = f"Token for {address} (none: sign in with a browser)"
        token = click.prompt(asking, "", hide_input=True, err=True, show_default=False).strip()
        token = token or _by_browser(address)
        _try(address, token)
    saved = config.read(config.path())
    file = config.save(config.Config(address, token, saved.kinds if saved else None))
    if json_:
        print_json({"url": address, "config": str(file)})
    else:
        click.echo(f"{address} is the server from now on ({file})")


def _by_browser(url: str) -> str:
    """The token that a person gives this command in a browser."""
    from kitbag.config import Config
    from kitbag.tokens import let_in
    from kitbag.transport import Transport

    def show(page: str, code: str) -> None:
        click.echo(f"kitbag: open {page} and let in the code {code}", err=True)
        if sys.stdin.isatty():
            click.launch(page)

    with closing(Transport(Config(url), timeout_s=30)) as server:
        return let_in(server, platform.node()[:100] or "this machine", show)


def _try(url: str, token: str | None) -> None:
    """Ask the server for something that it shows only to those it knows."""
    from kitbag.config import Config
    from kitbag.transport import Transport

    with closing(Transport(Config(url, token), timeout_s=30)) as server:
        server.get("/v1/environments", limit=1)
