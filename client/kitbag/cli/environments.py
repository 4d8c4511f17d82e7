"""resolve, offer, ls, show, history, diff, rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kitbag.cli import options
from kitbag.cli.output import (
    ago,
    as_json,
    clean,
    counted,
    print_bars,
    print_changes,
    print_fields,
    print_json,
    print_table,
    short,
    size,
)
from kitbag.errors import KitbagError

if TYPE_CHECKING:
    from kitbag.versions import Version

BARS = 20
"""So many packages fit on a screen."""


@click.command()
@click.argument("environment", metavar="NS/NAME[:VERSION]")
@options.accelerator
@options.target
@options.wait_s
@as_json
def resolve(
    environment: str, accelerator: str | None, target: str | None, wait_s: float, json_: bool
) -> None:
    """Print the digest reference of an environment, here or at a target."""
    from kitbag.client import Client

    with Client() as client:
        resolved = client.resolve(
            environment, accelerator=accelerator, target=target, wait_s=wait_s
        )
    if json_:
        print_json(resolved.json)
    else:
        click.echo(resolved.image)


@click.command()
@click.argument("environment", metavar="NS/NAME")
@click.option("--off", is_flag=True, help="Offer it no longer.")
@as_json
def offer(environment: str, off: bool, json_: bool) -> None:
    """Offer the newest version, at any time, in Kubeflow's notebook launcher."""
    from kitbag.client import Client

    with Client() as client:
        found = client.offer(environment, offered=not off)
    if json_:
        print_json(found.json)
    else:
        said = "no longer offered" if off else "offered where notebooks start"
        click.echo(f"kitbag: {found.name} is {said}", err=True)


@click.command()
@click.argument("query", required=False)
@click.option("--namespace", metavar="NS", help="Only environments of this namespace.")
@as_json
def ls(query: str | None, namespace: str | None, json_: bool) -> None:
    """List environments, those with QUERY in their name where given."""
    from kitbag.client import Client

    with Client() as client:
        found = list(client.environments(query, namespace=namespace))
    if json_:
        print_json({"items": [environment.json for environment in found]})
        return
    print_table(
        ("ENVIRONMENT", "VERSION", "PACKAGES", "SIZE", "PYTHON", "UPDATED", "DIGEST"),
        (
            (
                environment.name,
                str(latest.number) if latest else "-",
                str(latest.packages) if latest else "-",
                size(latest.size_bytes) if latest else "-",
                (latest.python if latest else None) or "-",
                ago(environment.updated_at),
                short(latest.digest) if latest else "-",
            )
            for environment in found
            for latest in (environment.latest,)
        ),
    )


@click.command()
@click.argument("environment", metavar="NS/NAME[:VERSION]")
@click.option("--sizes", is_flag=True, help="Draw its biggest packages as bars.")
@options.accelerator
@options.platform
@as_json
def show(
    environment: str, sizes: bool, accelerator: str | None, platform: str | None, json_: bool
) -> None:
    """Show a version: its images, and the packages and layers of one of them."""
    from kitbag.client import Client

    with Client() as client:
        version = client.version(environment, accelerator=accelerator, platform=platform)
    if json_:
        print_json(version.json)
        return
    if sizes:
        _draw_sizes(version)
        return
    print_fields(
        (
            ("version", version.name),
            ("image", version.image),
            ("created", ago(version.created_at)),
            ("commit", version.commit or ""),
            ("refs", ", ".join(version.refs)),
            ("python", version.python or ""),
            ("accelerator", ", ".join(_accelerators(version)) or version.accelerator or ""),
            ("platform", ", ".join(dict.fromkeys(each.platform for each in version.images))),
            ("base", version.base or ""),
            ("size", size(version.size_bytes)),
            ("build", version.build or ""),
            ("origin", _origin(version)),
        )
    )
    if len(version.images) > 1:
        click.echo()
        print_table(
            ("ACCELERATOR", "PLATFORM", "PACKAGES", "SIZE", "IMAGE", "STANDS FOR"),
            (
                (
                    each.accelerator,
                    each.platform,
                    str(each.packages),
                    size(each.size_bytes),
                    short(each.digest),
                    each.reference,
                )
                for each in version.images
            ),
        )
    if version.json.get("mirrors"):
        click.echo()
        print_table(
            ("TARGET", "STATE", "COPIED", "REGISTRY", "PROBLEM"),
            (
                (
                    str(each["target"]),
                    str(each["state"]),
                    size(int(each["copied_bytes"])),
                    str(each["registry"]),
                    str(each["problem"]) or "-",
                )
                for each in version.json["mirrors"]
            ),
        )
    if version.packages_list:
        click.echo()
        packages = version.packages_list
        print_table(
            ("PACKAGE", "VERSION", "SIZE"),
            ((item.name, item.version, size(item.size_bytes)) for item in packages),
        )
    if version.layers:
        click.echo()
        print_table(
            ("LAYER", "SIZE", "HOLDS"),
            (
                (short(layer.digest), size(layer.size_bytes), held)
                for layer, held in zip(version.layers, _held(version), strict=True)
            ),
        )


def _draw_sizes(version: Version) -> None:
    """The biggest packages, all others as one, and what the base weighs."""
    known = [(item.name, item.size_bytes or 0) for item in version.packages_list]
    ranked = sorted(known, key=lambda row: (-row[1], row[0]))
    biggest, others = ranked[:BARS], ranked[BARS:]
    print_bars(biggest)
    if others:
        click.echo(f"and {counted(len(others), 'package')} of {size(sum(s for _, s in others))}")
    base = sum(layer.size_bytes for layer in version.layers if not layer.packages)
    wheels, above = sum(weight for _, weight in known), version.size_bytes - base
    click.echo(
        f"{version.name}: {counted(len(known), 'package')}, {size(wheels)} of wheels; "
        f"{size(version.size_bytes)} to pull: {size(above)} of packages as installed, "
        f"on a base of {size(base)}"
    )


def _accelerators(version: Version) -> list[str]:
    return list(dict.fromkeys(each.accelerator for each in version.images))


def _origin(version: Version) -> str:
    origin = version.json.get("rebased_from")
    return f"rebased from version {origin}" if origin else ""


def _held(version: Version) -> list[str]:
    """What each layer holds, from the bottom up: the base, an empty environment, packages, the
    lock; a binder image's layers have no such order."""
    held = [_holds(layer.packages) for layer in version.layers]
    first = next((number for number, text in enumerate(held) if text), 0)
    if first:
        held[: first - 1] = ["(the base)"] * (first - 1)
        held[first - 1] = "(an empty environment)"
        held[-1] = held[-1] or "(the lock)"
    return held


def _holds(packages: tuple[str, ...]) -> str:
    named = ", ".join(packages[:3])
    return f"{named}, {len(packages) - 3} more" if len(packages) > 3 else named


@click.command()
@click.argument("environment", metavar="NS/NAME")
@as_json
def history(environment: str, json_: bool) -> None:
    """List the versions of an environment, newest first."""
    from kitbag.client import Client

    with Client() as client:
        found = list(client.versions(environment))
    if json_:
        print_json({"items": [version.json for version in found]})
        return
    print_table(
        ("VERSION", "CREATED", "COMMIT", "REFS", "PACKAGES", "SIZE", "IMAGES", "DIGEST"),
        (
            (
                str(version.number),
                ago(version.created_at),
                (version.commit or "-")[:12],
                ", ".join(version.refs) or "-",
                str(version.packages),
                size(version.size_bytes),
                str(len(version.images) or 1),
                short(version.digest),
            )
            for version in found
        ),
    )


@click.command()
@click.argument("before", metavar="NS/NAME[:A]")
@click.argument("after", metavar="[NS/NAME]:B")
@options.accelerator
@options.platform
@as_json
def diff(
    before: str, after: str, accelerator: str | None, platform: str | None, json_: bool
) -> None:
    """Show what changed from one version of an environment to another."""
    from kitbag.client import Client

    name, first, second = _both(before, after)
    with Client() as client:
        found = client.diff(name, first, second, accelerator=accelerator, platform=platform)
    if json_:
        print_json(found.json)
        return
    print_changes(found)
    if found.base:
        click.secho(clean(f"~ base {found.base[0]} -> {found.base[1]}"), fg="yellow")
    shared, new = counted(found.layers_shared, "layer"), counted(len(found.layers_new), "new one")
    click.echo(f"{shared} shared, {new}: a node fetches {size(found.bytes_to_move)}")


def _both(before: str, after: str) -> tuple[str, str, str]:
    """The environment and its two versions."""
    from kitbag.refs import EnvRef

    try:
        one = EnvRef.parse(before)
        two = EnvRef.parse(one.environment + after if after.startswith(":") else after)
    except ValueError as error:
        raise KitbagError(str(error)) from error
    if one.environment != two.environment:
        raise KitbagError(
            f"{one.environment} and {two.environment} are two environments: diff compares versions"
            " of one"
        )
    return one.environment, one.version or "latest", two.version or "latest"


@click.command()
@click.argument("environment", metavar="NS/NAME")
@click.option("--to", required=True, metavar="V", help="The version whose image to have again.")
@as_json
def rollback(environment: str, to: str, json_: bool) -> None:
    """Make a new version with the image of an old one."""
    from kitbag.client import Client

    with Client() as client:
        version = client.rollback(environment, to)
    if json_:
        print_json(version.json)
    else:
        click.echo(f"kitbag: {version.name} is the image of version {clean(to)}", err=True)
        click.echo(version.image)
