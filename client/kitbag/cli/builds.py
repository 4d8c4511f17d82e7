"""build, plan, logs, cancel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from kitbag.cli.options import listed
from kitbag.cli.output import (
    as_json,
    clean,
    print_changes,
    print_fields,
    print_json,
    print_json_line,
    print_table,
    short,
    size,
)

if TYPE_CHECKING:
    from kitbag.builds import Build, Event, Plan
    from kitbag.client import Client
    from kitbag.source import Source

_F = TypeVar("_F", bound=Callable[..., Any])
# The options of a request that go to the SDK as they are.
_Asked: TypeAlias = Any

_REQUEST = (
    click.argument("place", metavar="[PATH|GIT_URL]", default="."),
    click.option("--ref", metavar="R", help="A branch, tag or commit of the git repository."),
    click.option("--subdir", metavar="D", help="The folder of it that is meant."),
    click.option("--submodules", is_flag=True, help="With the git repository's submodules."),
    click.option("--lfs", is_flag=True, help="With the files that its Git LFS pointers stand for."),
    click.option("--name", metavar="NS/NAME", help="The environment; default/FOLDER by default."),
    click.option(
        "--accelerator",
        "accelerators",
        metavar="cpu|cuda|tpu",
        multiple=True,
        callback=listed("cpu", "cuda", "tpu"),
        help="What it computes on; several with commas between, the default first.",
    ),
    click.option(
        "--platform",
        "platforms",
        metavar="OS/ARCH",
        multiple=True,
        callback=listed("linux/amd64", "linux/arm64"),
        help="linux/amd64 (the default), linux/arm64, or both with a comma between.",
    ),
    click.option("--python", metavar="3.11", help="The Python version; what fits by default."),
    click.option("--base", metavar="NAME|IMAGE", help="What to build on; auto by default."),
    click.option(
        "--extra",
        "extras",
        metavar="X",
        multiple=True,
        help="An extra of pyproject.toml; repeatable.",
    ),
    click.option(
        "--group",
        "groups",
        metavar="G",
        multiple=True,
        help="A dependency group of it; repeatable.",
    ),
    click.option(
        "--index",
        "indexes",
        metavar="URL",
        multiple=True,
        help="An index to try first; repeatable.",
    ),
    click.option("--default-index", metavar="URL", help="The index to try last, not the server's."),
    click.option(
        "--index-strategy",
        type=click.Choice(["first-index", "unsafe-first-match", "unsafe-best-match"]),
        help="Which index a package comes from, as for uv; first-index by default.",
    ),
    click.option("--exclude-newer", metavar="DATE", help="Take no file uploaded after that day."),
    click.option(
        "--compression",
        type=click.Choice(["gzip", "zstd"]),
        help="How layers are packed; the server's choice by default.",
    ),
    click.option("--upgrade", is_flag=True, help="Resolve anew, not from the last lock."),
)


def _request(command: _F) -> _F:
    for decorate in reversed(_REQUEST):
        command = decorate(command)
    return command


@click.command()
@_request
@click.option(
    "--from-pipeline",
    "pipeline",
    metavar="FILE",
    help="Build what the steps of this pipeline install: a .py, which is run, or compiled.",
)
@click.option(
    "--interpreter",
    metavar="PYTHON",
    help="The Python with kfp that imports a pipeline's .py; the active one by default.",
)
@click.option("--no-wait", is_flag=True, help="Print the build's id and don't wait for it.")
@as_json
def build(
    place: str,
    ref: str | None,
    subdir: str | None,
    submodules: bool,
    lfs: bool,
    pipeline: str | None,
    interpreter: str | None,
    no_wait: bool,
    json_: bool,
    **asked: _Asked,
) -> None:
    """Build an image of a folder, a requirements file, a git repository or a pipeline's steps.

    Prints REGISTRY/REPO@sha256:… on stdout and progress on stderr.
    """
    from kitbag.client import Client

    if pipeline is not None:
        other = place, ref, subdir, submodules, lfs
        source = _of_pipeline(pipeline, interpreter, asked, other)
    elif interpreter is not None:
        raise click.UsageError("--interpreter is for --from-pipeline FILE.py.")
    else:
        source = _source(place, ref, subdir, submodules, lfs)
    with Client() as client:
        begun = client.build(source, **asked)
        if not no_wait:
            begun = waited(client, begun, json_)
    if json_:
        print_json(begun.json)
    else:
        click.echo(begun.id if no_wait else begun.image)


def waited(client: Client, begun: Build, json_: bool) -> Build:
    """The build once it is ready, its progress shown on stderr; raises KitbagError."""
    from kitbag.builds import BuildState
    from kitbag.cli import progress
    from kitbag.errors import BuildFailedError, UnreachableError

    if begun.state is BuildState.READY:
        click.echo(f"{begun.environment}:{begun.version} was built already", err=True)
        return begun
    try:
        with progress.on_stderr() as shown:
            shown.begun(begun)
            ready = client.wait(begun, on_event=shown.event)
            shown.ended(ready)
    except BuildFailedError:
        if json_:
            print_json(client.build_status(begun.id).json)
        raise
    except UnreachableError as error:
        raise UnreachableError(
            f"{error}; build {begun.id} may go on: `kitbag logs -f {begun.id}` follows it"
        ) from error
    except KeyboardInterrupt as error:
        click.echo(
            f"kitbag: build {begun.id} goes on: `kitbag logs -f {begun.id}` follows it,"
            f" `kitbag cancel {begun.id}` stops it",
            err=True,
        )
        raise SystemExit(130) from error
    return ready


@click.command()
@_request
@as_json
def plan(
    place: str,
    ref: str | None,
    subdir: str | None,
    submodules: bool,
    lfs: bool,
    json_: bool,
    **asked: _Asked,
) -> None:
    """Show what `build` would do with the same arguments."""
    from kitbag.client import Client

    source = _source(place, ref, subdir, submodules, lfs)
    with Client() as client:
        planned = client.plan(source, **asked)
    if json_:
        print_json(planned.json)
    else:
        _print_plan(planned)


def _print_plan(planned: Plan) -> None:
    base = planned.base
    several = len(planned.images) > 1
    unknown = sum(package.known is False for package in planned.packages)
    known = "" if unknown == 0 else f", {unknown} of them never built"
    print_fields(
        (
            ("way", f"{planned.way.value}: {planned.why}"),
            ("files", ", ".join(planned.files)),
            ("python", planned.python or ""),
            ("base", f"{base.get('name', '')} {short(base.get('digest') or '')}".strip()),
            *_cuda(planned.cuda),
            ("packages", f"{len(planned.packages)}{known}"),
            ("layers", f"{planned.layers_known} known, {planned.layers_new} new"),
            ("to move", _to_move(planned)),
            (
                "to fetch",
                _to_fetch(planned),
            ),
            ("to download", size(planned.bytes_to_download)),
        )
    )
    if several:
        click.echo()
        print_table(
            ("ACCELERATOR", "PLATFORM", "BASE", "PACKAGES", "TO MOVE", "SIZE", "CUDA"),
            (
                (
                    str(image["accelerator"]),
                    str(image["platform"]),
                    short((image.get("base") or {}).get("digest") or ""),
                    str(len(image["packages"])),
                    size(image["bytes_to_move"]),
                    size(image["image_bytes"]),
                    (image.get("cuda") or {}).get("version") or "-",
                )
                for image in planned.images
            ),
        )
    print_changes(planned)
    for warning in planned.warnings:
        click.secho(clean(f"warning: {warning}"), err=True)


def _about(planned: Plan) -> str:
    """What is still to be made counts as its wheels, and its layers differ: bytecode is in them."""
    return "about " if planned.layers_new else ""


def _to_fetch(planned: Plan) -> str:
    return f"{_about(planned)}{size(planned.bytes_to_fetch)} by a node with the latest version"


def _to_move(planned: Plan) -> str:
    whole = sum(image["image_bytes"] for image in planned.images) or planned.image_bytes
    return f"{_about(planned)}{size(planned.bytes_to_move)} of {size(whole)}"


def _cuda(needs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a GPU node must have; nothing for an environment without CUDA."""
    if needs.get("version"):
        cudnn = f", cuDNN {needs['cudnn']}" if needs.get("cudnn") else ""
        yield "cuda", f"{needs['version']}{cudnn}"
    if needs.get("driver"):
        rule = needs["affinity"]["matchExpressions"][0]
        node = f"{rule['key']} {rule['operator']} {rule['values'][0]}"
        yield "driver", f"{needs['driver']} or later; nodes: {node}"


@click.command()
@click.argument("build_id", metavar="BUILD")
@click.option("-f", "--follow", is_flag=True, help="Go on until the build ends.")
@as_json
def logs(build_id: str, follow: bool, json_: bool) -> None:
    """Show what happened in a build."""
    from kitbag.client import Client

    with Client() as client:
        for event in client.follow(build_id) if follow else client.events(build_id):
            if json_:
                print_json_line(event.json)
            else:
                _print_event(event)


def _print_event(event: Event) -> None:
    from kitbag.builds import EventKind

    if event.kind is EventKind.PROGRESS:
        return
    at = event.at.astimezone().strftime("%H:%M:%S ") if event.at else ""
    what = event.kind.value if event.kind is EventKind.WARNING else event.phase
    text = event.message or " ".join(f"{k}={v}" for k, v in event.data.items() if v is not None)
    click.echo(clean(f"{at}{f'{what}: ' if what else ''}{text}"))


@click.command()
@click.argument("build_id", metavar="BUILD")
@as_json
def cancel(build_id: str, json_: bool) -> None:
    """Stop a build."""
    from kitbag.builds import BuildState
    from kitbag.client import Client

    with Client() as client:
        build = client.cancel(build_id)
    if json_:
        print_json(build.json)
    elif build.state is BuildState.CANCELLED:
        click.echo(f"{build.id} is cancelled")
    else:
        click.echo(f"{build.id} is being cancelled")


def _of_pipeline(
    pipeline: str, interpreter: str | None, asked: dict[str, Any], other: tuple[object, ...]
) -> Source:
    """The source of what a pipeline's steps install; what else they say goes into `asked`."""
    from kitbag import pipelines

    if other != (".", None, None, False, False):
        raise click.UsageError("--from-pipeline FILE takes no PATH, and nothing of a repository.")
    found = pipelines.read(pipeline, interpreter=interpreter, python=asked["python"])
    asked["python"] = found.python
    asked["default_index"] = asked["default_index"] or found.default_index
    asked["indexes"] = (*asked["indexes"], *found.indexes)
    for note in found.notes:
        click.echo(clean(f"kitbag: {pipeline}: {note}"), err=True)
    return found.source


def _source(place: str, ref: str | None, subdir: str | None, submodules: bool, lfs: bool) -> Source:
    from kitbag.source import Folder, find

    source = find(place, ref=ref, subdir=subdir, submodules=submodules, lfs=lfs)
    if isinstance(source, Folder) and source.left_out:
        shown = ", ".join(source.left_out[:3])
        more = len(source.left_out) - 3
        rest = f" and {more} more" if more > 0 else ""
        click.echo(clean(f"kitbag: left out: {shown}{rest}"), err=True)
    return source
