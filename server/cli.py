"""The `kitbag-server` command: this layer reads arguments, starts parts and prints.

Nothing is imported before it is used: `up` only starts the parts, which import what they need.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server.errors import ServerError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

_ERROR = 2
_NOT_STARTED = 3  # as uvicorn's own command
_PORT = click.IntRange(0, 65535)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
# Any of these makes the API ask who somebody is.
_ASKING = ("KITBAG_API_TOKEN", "KITBAG_OIDC_ISSUER", "KITBAG_ACCOUNTS", "KITBAG_USER_HEADER")
_COUNT = click.IntRange(1, 64)
_HELD = click.option(
    "--held", is_flag=True, hidden=True, help="Be ready to begin, and begin at a byte on stdin."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def server() -> None:
    """Run Kitbag: `up` runs everything on this machine, the others run one part each.

    Settings come from KITBAG_… environment variables; docs/operate.md lists them.
    """


@server.command()
@click.option("--port", type=_PORT, default=8484, show_default=True, help="0 takes a free one.")
@click.option("--data", type=click.Path(path_type=Path), help="Where everything is kept.")
@click.option(
    "--workers", type=_COUNT, default=2, show_default=True, help="Builds at the same time."
)
def up(port: int, data: Path | None, workers: int) -> None:
    """Run everything embedded, on loopback: API, worker, queue, catalog, image layout."""
    from server import settings
    from server.ports import free_port
    from server.up import up as run

    embedded = settings.Embedded(
        data=(data or settings.default_data()).absolute(),
        port=port or free_port(),
        valkey_port=free_port(),
        environ=dict(os.environ),
    )
    run(embedded, workers=workers, say=lambda line: click.echo(line, err=True))


@server.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=_PORT, default=8484, show_default=True)
@click.option("--tls-cert", type=_FILE, help="Serve HTTPS with this certificate chain (PEM).")
@click.option("--tls-key", type=_FILE, help="Its key (PEM). Renewed files are taken up.")
@click.option("--tls-client-ca", type=_FILE, help="Take only callers with a certificate of it.")
@_HELD
def api(
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    *,
    held: bool,
) -> None:
    """Run the API. Other hosts than loopback need KITBAG_API_TOKEN, or identities of others."""
    import uvicorn

    from server.hold import hold
    from server.ports import check_port
    from server.tls import Tls
    from telemetry import logs
    from telemetry.settings import Level

    logs.start(Level.WARNING)
    tls = Tls.of(tls_cert, tls_key, tls_client_ca)

    if host not in ("127.0.0.1", "::1", "localhost") and not any(map(os.environ.get, _ASKING)):
        raise ServerError(
            f"Listening on {host} lets anyone in; set KITBAG_API_TOKEN, or listen on 127.0.0.1 "
            "(docs/identity.md has other ways to know who asks)."
        )
    check_port(host, port)
    if held:
        hold("server.asgi")
    config = uvicorn.Config(
        "server.asgi:app",
        factory=True,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        # What a caller says of where it comes from is not believed: the address decides who is a
        # trusted proxy.
        proxy_headers=False,
    )
    if tls is not None:
        tls.protect(config)
    served = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):
        served.run()
    if not served.started:
        sys.exit(_NOT_STARTED)


@server.command()
@click.option(
    "--concurrency", type=_COUNT, default=2, show_default=True, help="Builds at the same time."
)
@click.option("--queues", help="layered,plans unless given, and engine where KITBAG_ENGINE is set.")
@_HELD
def worker(concurrency: int, queues: str | None, *, held: bool) -> None:
    """Run a worker, which also sweeps: it takes up what dead workers left."""
    from server.hold import hold
    from telemetry import logs
    from telemetry.settings import Format, Level, LogSettings
    from worker.app import app
    from worker.settings import WorkerSettings

    logs.start(Level.INFO)
    settings = WorkerSettings()  # a wrong setting is said now, not by the first build
    queues = queues or ("layered,plans,engine" if settings.engine != "none" else "layered,plans")
    quiet = ["--quiet"] if LogSettings().log_format is Format.JSON else []
    arguments = [
        *quiet,  # no banner between the lines
        *("worker", "--queues", queues),
        *("--concurrency", str(concurrency), "--without-gossip", "--without-mingle"),
    ]
    if held:
        hold("worker.tasks")
    app().worker_main(arguments)


@server.command()
def migrate() -> None:
    """Bring the catalog's schema up to date."""
    from server.catalog import migrate as run
    from worker.settings import WorkerSettings

    run(WorkerSettings().database_url)
    click.echo("The catalog is up to date.", err=True)


@server.group()
def base() -> None:
    """Bases: named images to build on, pinned by digest."""


@base.command("add")
@click.argument("name")
@click.option("--image", help="A registry image, such as python:3.12-slim.")
@click.option("--debian", "suite", help="A Debian release to make with mmdebstrap: bookworm.")
@click.option("--from", "bare", help="A bare image, such as nvidia/cuda:…: Python is added.")
@click.option("--platform", default="linux/amd64", show_default=True)
@click.option("--json", "as_json", is_flag=True)
def base_add(
    name: str,
    image: str | None,
    suite: str | None,
    bare: str | None,
    platform: str,
    *,
    as_json: bool,
) -> None:
    """Make NAME a base: a registry's image, a Debian root, or whichever can be reached.

    With --from the container engine derives it from a bare image of Debian or Ubuntu: it adds
    python3, wget, bzip2, ca-certificates, git, tini and the notebook user.

    Adding a name again moves it to the new digest; versions that were built keep theirs. A name
    means one base for each platform.
    """
    from server import bases

    if sum(map(bool, (image, suite, bare))) > 1:
        raise click.UsageError("Give one of --image, --debian and --from.")

    def say(line: str) -> None:
        click.echo(line, err=True)

    _show(bases.add(name, image, suite, platform, say, bare=bare), as_json)


@base.command("ls")
@click.option("--json", "as_json", is_flag=True)
def base_ls(*, as_json: bool) -> None:
    """List the bases."""
    from server import bases

    found = bases.every()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo(
            "No bases yet; the first build makes one, or run `kitbag-server base add`.", err=True
        )
    for item in found:
        cuda = f"  CUDA {item['cuda']}" if item["cuda"] else ""
        what = f"{item['name']:<20} {item['platform']:<12} Python {item['python']:<8}"
        click.echo(f"{what} {item['image']}{cuda}")


@base.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True)
def base_show(name: str, *, as_json: bool) -> None:
    """Show what is known of a base."""
    from server import bases

    _show(bases.get(name), as_json)


@server.group()
def target() -> None:
    """Targets: registries near other clusters, to which every version is copied."""


@target.command("add")
@click.argument("namespace")
@click.argument("name")
@click.argument("registry", metavar="HOST[:PORT][/PREFIX]")
@click.option("--accelerator", type=click.Choice(["cpu", "cuda", "tpu"]), help="Its default.")
@click.option("--pull-secret", metavar="NAME", help="The secret that pulls from it there.")
@click.option("--json", "as_json", is_flag=True)
def target_add(
    namespace: str,
    name: str,
    registry: str,
    accelerator: str | None,
    pull_secret: str | None,
    *,
    as_json: bool,
) -> None:
    """Copy the versions of NAMESPACE, '*' for every one, to a registry, known as NAME.

    What is latest is copied now, new versions as they come, older ones when asked for. Credentials
    are those of the workers' Docker config. Adding a name again changes it; with another registry
    all is copied anew. https:// or http:// before the host says how it is spoken to.
    """
    from server import targets

    _show(targets.add(namespace, name, registry, accelerator, pull_secret), as_json)


@target.command("ls")
@click.option("--json", "as_json", is_flag=True)
def target_ls(*, as_json: bool) -> None:
    """List the targets."""
    from server import targets

    found = targets.every()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("No targets yet; add one with `kitbag-server target add`.", err=True)
    for item in found:
        more = "".join(
            f"  {label} {item[key]}"
            for key, label in (("accelerator", "for"), ("pull_secret", "secret"))
            if item[key]
        )
        click.echo(f"{item['namespace']:<20} {item['name']:<12} {item['registry']}{more}")


@target.command("rm")
@click.argument("namespace")
@click.argument("name")
def target_rm(namespace: str, name: str) -> None:
    """Forget a target; what its registry holds stays there."""
    from server import targets

    targets.remove(namespace, name)


@target.command("retry")
@click.argument("namespace")
@click.argument("name")
def target_retry(namespace: str, name: str) -> None:
    """Try now what failed and waits to be tried again."""
    from server import targets

    targets.retry(namespace, name)


@server.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def gc(*, dry_run: bool) -> None:
    """Trim this machine's cache of layers to KITBAG_CACHE_MAX_BYTES, oldest first."""
    from worker.services import services

    kit = services()
    freed = kit.cache.trim(kit.settings.cache_max_bytes, dry_run=dry_run)
    click.echo(f"{'Would free' if dry_run else 'Freed'} {freed:,} bytes.")


def _show(item: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(item, indent=2))
        return
    for key, value in item.items():
        if value not in (None, "", [], {}):
            click.echo(f"{key:<10} {value}")


def main() -> None:
    """Run the command; an expected error is one line and exit code 2."""
    try:
        server(standalone_mode=True)
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        click.echo(f"kitbag-server: {sentence}", err=True)
        sys.exit(_ERROR)


def _sentence(error: Exception) -> str | None:
    """What is said of an expected error; None for any other."""
    if isinstance(error, ServerError):
        return str(error)
    from pydantic import ValidationError
    from pydantic_settings import SettingsError
    from sqlalchemy.exc import SQLAlchemyError

    from builder.errors import BuildError
    from catalog.errors import CatalogError

    if isinstance(error, (BuildError, CatalogError)):
        return str(error)
    if isinstance(error, (ValidationError, SettingsError)):
        return _settings_sentence(error)
    if isinstance(error, SQLAlchemyError):
        from server.catalog import unreachable

        return str(unreachable(error))
    return None


def _settings_sentence(error: ValidationError | SettingsError) -> str:
    from pydantic_settings import SettingsError

    if isinstance(error, SettingsError):
        return f"{error}; docs/operate.md says what each setting may be."
    problems = error.errors()
    missing = [_variable(item["loc"]) for item in problems if item["type"] == "missing"]
    if missing:
        return f"Set {' and '.join(missing)}; docs/operate.md says to what."
    what = "; ".join(f"{_variable(item['loc'])}: {item['msg']}" for item in problems)
    return f"{what}; docs/operate.md says what each setting may be."


def _variable(location: tuple[int | str, ...]) -> str:
    return f"KITBAG_{location[0]}".upper()
