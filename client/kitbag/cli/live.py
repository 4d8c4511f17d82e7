"""where, and rollout now: objects of kubectl's current cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kitbag.cli.kinds import table
from kitbag.cli.output import as_json, clean, counted, print_json, print_table
from kitbag.errors import KitbagError

if TYPE_CHECKING:
    from kitbag.client import Client
    from kitbag.live import Wanted
    from kitbag.live.change import Result
    from kitbag.live.cluster import Cluster
    from kitbag.live.find import Environment, Running, Search
    from kitbag.specs import Kinds
    from kitbag.versions import Version

_F = TypeVar("_F", bound=Callable[..., Any])
_NO = 1

_PLACE = (
    click.option("-n", "--namespace", metavar="NS", help="kubectl's namespace unless given."),
    click.option("-A", "--all-namespaces", is_flag=True, help="Look in every namespace."),
    click.option("-l", "--selector", metavar="SEL", default="", help="Objects with these labels."),
    click.option("--context", "cluster", metavar="NAME", help="kubectl's --context."),
)
_CHOICES = (
    click.option("--restart", is_flag=True, help="Also end what runs in a notebook."),
    click.option("--clone", is_flag=True, help="Copy a job that can't change, under a new name."),
    click.option("--force-conflicts", is_flag=True, help="Take over images that others manage."),
    click.option("--container", metavar="NAME", help="The container that is meant."),
)


def _place(command: _F) -> _F:
    for decorate in reversed(_PLACE):
        command = decorate(command)
    return command


def choices(command: _F) -> _F:
    for decorate in reversed(_CHOICES):
        command = decorate(command)
    return command


@click.command()
@click.argument("environment", metavar="NS/NAME")
@_place
@as_json
def where(
    environment: str,
    namespace: str | None,
    all_namespaces: bool,
    selector: str,
    cluster: str | None,
    json_: bool,
) -> int:
    """List the live objects that run an environment, and the version of each; 1 if some are behind.

    Looks in kubectl's current cluster, with your own rights there.
    """
    from kitbag.client import Client
    from kitbag.live import Wanted, through_kubectl
    from kitbag.refs import EnvRef

    with Client() as client:
        latest, history = _known(client, environment, None)
    known = _environment(latest, history)
    with through_kubectl.current(cluster) as live:
        place = "" if all_namespaces else namespace or through_kubectl.namespace(cluster)
        search = _search(live, known, place, selector)
    _say_unseen(search)
    kinds = table()
    ref = EnvRef.parse(f"{known.name}:{latest.number}")
    wanted = Wanted(latest.image, ref, _successors(latest, history))
    rows = [_drift(one, wanted, search.found, kinds) for one in search.found]
    behind = [row for row in rows if row["drift"]]
    if json_:
        print_json(
            {
                "environment": known.name,
                "latest": latest.number,
                "items": rows,
                "unseen": search.unseen,
            }
        )
    else:
        if rows:
            print_table(
                ("KIND", "OBJECT", "VERSION", "DRIFT"),
                (
                    (
                        row["kind"],
                        f"{row['namespace']}/{row['name']}" if row["namespace"] else row["name"],
                        ", ".join(dict.fromkeys(str(one or "none") for one in row["versions"])),
                        row["say"] if row["drift"] else "",
                    )
                    for row in rows
                ),
            )
        said = f"{counted(len(rows), 'object')}, {len(behind)} not on version {latest.number}"
        click.echo(f"kitbag: {said}", err=True)
    return _NO if behind else 0


@click.command("now", hidden=True)
@click.argument("environment", metavar="NS/NAME")
@click.argument("objects", metavar="[KIND/NAME]…", nargs=-1)
@click.option("--to", default="latest", metavar="V", help="The version; the latest unless given.")
@click.option("--dry-run", is_flag=True, help="Let the cluster check it, and change nothing.")
@_place
@choices
@as_json
def now(
    environment: str,
    objects: Sequence[str],
    to: str,
    dry_run: bool,
    namespace: str | None,
    all_namespaces: bool,
    selector: str,
    cluster: str | None,
    restart: bool,
    clone: bool,
    force_conflicts: bool,
    container: str | None,
    json_: bool,
) -> int:
    """Change the live objects that run an environment, or those named, each as its kind needs it.

    With your own rights in kubectl's current cluster, by server-side apply as the field manager
    kitbag. Exits with 1 if something is left to do, or would change with --dry-run.
    """
    from kitbag.client import Client
    from kitbag.live import Choices, Wanted, through_kubectl
    from kitbag.live.change import State, change
    from kitbag.live.find import named
    from kitbag.refs import EnvRef

    if objects and (selector or all_namespaces):
        raise click.UsageError("Objects are named, or found with -l and -A: not both.")
    with Client() as client:
        version, history = _known(client, environment, to)
    known = _environment(version, history)
    ref = EnvRef.parse(f"{known.name}:{version.number}")
    wanted = Wanted(version.image, ref, _successors(version, history))
    choice = Choices(restart, clone, bool(objects), container)
    with through_kubectl.current(cluster) as live:
        place = "" if all_namespaces else namespace or through_kubectl.namespace(cluster)
        if objects:
            parts = [part(text) for text in objects]
            refs = [named(live, kind, place, name, kinds=table()) for kind, name in parts]
        else:
            search = _search(live, known, place, selector)
            _say_unseen(search)
            refs = [one.ref for one in search.found]
        results = [
            change(live, ref, wanted, choice, force=force_conflicts, dry_run=dry_run, kinds=table())
            for ref in refs
        ]
    left = [one for one in results if not one.state.well]
    done = [one for one in results if one.state is State.DONE]
    if json_:
        rows = [_as_json(one) for one in results]
        about = {"environment": known.name, "version": version.number, "image": version.image}
        print_json({**about, "dry_run": dry_run, "items": rows})
    else:
        if results:
            print_table(
                ("OBJECT", "STATE", "WHY"),
                ((str(one.ref), one.state.value, one.say) for one in results),
            )
        verb = "would change" if dry_run else "changed"
        said = f"{counted(len(done), 'object')} {verb}, {len(left)} left"
        click.echo(f"kitbag: {known.name}:{version.number}: {said}", err=True)
    return _NO if left or (dry_run and done) else 0


def _known(client: Client, environment: str, to: str | None) -> tuple[Version, list[Version]]:
    """The version that is meant, and all there are."""
    from kitbag.refs import EnvRef

    try:
        name = EnvRef.parse(environment).environment
    except ValueError as error:
        raise KitbagError(str(error)) from error
    if name != environment:
        raise KitbagError(f"{environment} names a version: write {name}, the version behind --to")
    return client.version(f"{name}:{to}" if to else name), list(client.versions(name))


def _environment(version: Version, history: Sequence[Version]) -> Environment:
    """What tells the environment's images from others."""
    from kitbag.live.find import Environment

    images = [(one.number, image) for one in history for image in _accelerators(one)]
    return Environment.of(version.environment, images)


def _successors(version: Version, history: Sequence[Version]) -> dict[str, str | None]:
    """By digest what the version has instead of each image that there ever was."""
    has: dict[str, str] = {}
    for image, accelerator in _accelerators(version).items():
        has.setdefault(accelerator, image)
    return {
        image.partition("@")[2]: has.get(accelerator)
        for one in (*history, version)
        for image, accelerator in _accelerators(one).items()
    }


def _accelerators(version: Version) -> dict[str, str]:
    """A version's images with what they are for; indexes of several platforms before the parts."""
    told = version.json.get("images") or [
        {"image": version.image, "reference": version.image, "accelerator": version.accelerator}
    ]
    indexes = {str(one["reference"]): str(one["accelerator"]) for one in told}
    return indexes | {str(one["image"]): str(one["accelerator"]) for one in told}


def _search(live: Cluster, known: Environment, namespace: str, selector: str) -> Search:
    from kitbag.live.find import running

    return running(live, known, namespace=namespace, selector=selector, kinds=table())


def _say_unseen(search: Search) -> None:
    for sentence in search.unseen:
        click.echo(clean(f"kitbag: {sentence}"), err=True)


def _drift(one: Running, wanted: Wanted, others: Sequence[Running], kinds: Kinds) -> dict[str, Any]:
    """An object as `where` shows it; `say` is what a rollout would do about its drift.

    What has a copy on the latest version has done its part, and so has what has ended.
    """
    from kitbag.live import Action, decide
    from kitbag.live.decide import is_copy_of

    decision = decide(one.item, wanted, kinds=kinds)
    ends = decision.action in (Action.NOTHING, Action.SKIP)
    copies = [
        other.ref.name
        for other in others
        if (other.ref.kind, other.ref.namespace) == (one.ref.kind, one.ref.namespace)
        and is_copy_of(other.item, one.item)
        and all(image == wanted.instead_of(image) for image in other.images)
    ]
    say = f"its copy {copies[0]} runs it" if copies else decision.say
    return {
        "kind": one.ref.kind,
        "api_version": one.ref.api_version,
        "namespace": one.ref.namespace,
        "name": one.ref.name,
        "images": list(one.images),
        "versions": list(one.versions),
        "drift": not ends and not copies,
        "action": decision.action.value,
        "say": say,
    }


def part(text: str) -> tuple[str, str]:
    """The kind as the table writes it, and the name."""
    kind, slash, name = text.partition("/")
    if not (kind and slash and name):
        raise KitbagError(f"{text!r} names no object: write KIND/NAME, as tfjob/gan")
    known = {one.lower(): one for row in table().rows if row.live for one in row.kinds}
    found = known.get(kind.lower())
    if found is None:
        raise KitbagError(
            f"{kind!r} is no kind that Kitbag changes: `kitbag rollout` takes TFJob, "
            "Notebook and the others of docs/rollout.md"
        )
    return found, name


def _as_json(one: Result) -> dict[str, Any]:
    return {
        "kind": one.ref.kind,
        "api_version": one.ref.api_version,
        "namespace": one.ref.namespace,
        "name": one.ref.name,
        "state": one.state.value,
        "say": one.say,
        "before": list(one.before),
        "copy": one.copy,
    }
