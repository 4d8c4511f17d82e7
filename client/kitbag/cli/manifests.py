"""pin and apply."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kitbag.cli import options
from kitbag.cli.kinds import table
from kitbag.cli.output import as_json, clean, print_json
from kitbag.errors import KitbagError

if TYPE_CHECKING:
    from kitbag.live.files import Checked
    from kitbag.manifests import Outcome, Wish
    from kitbag.specs import Change

_F = TypeVar("_F", bound=Callable[..., Any])

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names: DNS subdomain names.
_SECRET = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
)

_WOULD_CHANGE = 1
_ERROR = 2

_TARGET = (
    click.option("--env", metavar="NS/NAME[:V]", help="Pin this environment's image."),
    click.option("--image", metavar="REF", help="Pin this image; asks no server."),
    click.option("--container", metavar="NAME", help="The container that is meant."),
    click.option(
        "--accelerator",
        type=click.Choice(["cpu", "cuda", "tpu"]),
        help="Pin the image for this; by default that which each container's resources ask for.",
    ),
    options.target,
    options.wait_s,
    click.option(
        "--pull-secret",
        "pull_secrets",
        metavar="NAME",
        multiple=True,
        help="Add this secret to what pulls the image; may be given again.",
    ),
    click.option(
        "--pull-policy",
        type=click.Choice(["Always", "IfNotPresent", "Never"], case_sensitive=False),
        help="Set imagePullPolicy beside the image.",
    ),
)


def _target(command: _F) -> _F:
    for decorate in reversed(_TARGET):
        command = decorate(command)
    return command


@click.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
@_target
@click.option("-i", "--in-place", is_flag=True, help="Write the files themselves.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write below this folder, with the same relative paths.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if anything would change.")
@click.option("--diff", "diff_", is_flag=True, help="Write nothing; show what would change.")
@as_json
@click.pass_context
def pin(
    context: click.Context,
    files: Sequence[str],
    env: str | None,
    image: str | None,
    container: str | None,
    accelerator: str | None,
    target: str | None,
    wait_s: float,
    pull_secrets: tuple[str, ...],
    pull_policy: str | None,
    in_place: bool,
    output: Path | None,
    check: bool,
    diff_: bool,
    json_: bool,
) -> None:
    """Write a digest into manifests: notebooks, pipelines, jobs.

    FILE may be a folder, which stands for every .yaml, .yml, .json, .ipynb and .pipeline below it,
    or - for stdin. Without --env and --image only kitbag:// references and kitbag.dev/environment
    annotations are resolved. The result goes to stdout unless an option says otherwise. `kitbag
    specs ls` lists the kinds of objects.
    """
    if in_place + (output is not None) + (check or diff_) > 1:
        raise click.UsageError("-i, -o and --check or --diff exclude each other.")
    if (in_place or output) and "-" in files:
        raise click.UsageError("stdin has no place to be written to: leave out -i and -o.")
    wish = _wish(env, image, container, accelerator, pull_secrets, pull_policy, target, wait_s)
    outcomes = _outcomes(files, wish)
    if in_place or output:
        outcomes = _written(outcomes, output)
    _report(outcomes, quiet=not (in_place or output), json_=json_)
    if json_:
        texts = not (in_place or output or check or diff_)
        print_json({"files": [_as_json(one, text=texts, diff_=diff_) for one in outcomes]})
    elif diff_:
        _print_diffs(outcomes)
    elif check:
        _print_changes(outcomes)
    elif not (in_place or output):
        _print_texts(outcomes)
    if any(one.error for one in outcomes):
        context.exit(_ERROR)
    if check and any(one.changed for one in outcomes):
        context.exit(_WOULD_CHANGE)


@click.command()
@click.option(
    "-f",
    "--filename",
    "files",
    metavar="FILE",
    multiple=True,
    required=True,
    help="A file or folder, or - for stdin; may be given again.",
)
@click.argument("more", metavar="[FILE]…", nargs=-1)
@_target
@click.option("-n", "--namespace", metavar="NS", help="kubectl's --namespace.")
@click.option("--context", "cluster", metavar="NAME", help="kubectl's --context.")
@click.option("--force-conflicts", is_flag=True, help="Take over fields that others manage.")
@click.option("--clone", is_flag=True, help="Copy what can't change its image, under a new name.")
@click.option("--dry-run", is_flag=True, help="Let the cluster check, and change nothing.")
@as_json
@click.pass_context
def apply(
    context: click.Context,
    files: Sequence[str],
    more: Sequence[str],
    env: str | None,
    image: str | None,
    container: str | None,
    accelerator: str | None,
    target: str | None,
    wait_s: float,
    pull_secrets: tuple[str, ...],
    pull_policy: str | None,
    namespace: str | None,
    cluster: str | None,
    force_conflicts: bool,
    clone: bool,
    dry_run: bool,
    json_: bool,
) -> None:
    """Pin manifests and apply them to the current cluster.

    The files are meant as by `pin`. Nothing is applied where one of them is refused, or would mix
    two images in a job that runs. kubectl does a server-side apply as the field manager kitbag.
    """
    from kitbag import kubectl
    from kitbag.manifests import joined

    wish = _wish(env, image, container, accelerator, pull_secrets, pull_policy, target, wait_s)
    outcomes = [one for one in _outcomes((*files, *more), wish) if _object(one)]
    outcomes = _checked(outcomes, namespace, cluster, clone)
    _report(outcomes, quiet=True, json_=json_)
    if any(one.error for one in outcomes):
        click.echo("kitbag: nothing is applied: repair the files above", err=True)
        context.exit(_ERROR)
    said = kubectl.apply(
        joined([one.after for one in outcomes if one.after is not None]),
        namespace=namespace,
        context=cluster,
        force_conflicts=force_conflicts,
        dry_run=dry_run,
    )
    if json_:
        found = [_as_json(one, text=False, diff_=False) for one in outcomes]
        print_json({"files": found, "applied": said})
    else:
        click.echo("\n".join(map(clean, said)))


def _checked(
    outcomes: list[Outcome], namespace: str | None, context: str | None, clone: bool
) -> list[Outcome]:
    """The files as they may be applied; those that would harm what is there are refused."""
    from kitbag.cli.kinds import table
    from kitbag.live import files, through_kubectl

    kinds = table()
    if not any(
        one.after and files.may_harm(one.after, one.manifest.name, kinds) for one in outcomes
    ):
        return outcomes
    with through_kubectl.current(context) as live:
        place = namespace or through_kubectl.namespace(context)
        return [
            _held(
                one,
                files.check(live, one.after, one.manifest.name, place, clone=clone, kinds=kinds),
            )
            if one.after is not None
            else one
            for one in outcomes
        ]


def _held(outcome: Outcome, checked: Checked) -> Outcome:
    from dataclasses import replace

    if checked.refused:
        why = "; ".join(checked.refused)
        return replace(outcome, after=None, error=f"{outcome.manifest.name}: {why}")
    return replace(outcome, after=checked.data, notes=(*outcome.notes, *checked.copies))


def _object(outcome: Outcome) -> bool:
    """Whether a cluster can take this file; others of a folder are passed over."""
    manifest = outcome.manifest
    if manifest.relative.suffix not in (".ipynb", ".pipeline"):
        return True
    if manifest.given:
        raise KitbagError(f"{manifest.name} is no Kubernetes object: leave it to `kitbag pin`")
    return False


def _wish(
    env: str | None,
    image: str | None,
    container: str | None,
    accelerator: str | None,
    pull_secrets: tuple[str, ...],
    pull_policy: str | None,
    target: str | None,
    wait_s: float,
) -> Wish:
    from kitbag.manifests import Wish
    from kitbag.specs import ImageRef, PullPolicy

    if env is not None and image is not None:
        raise click.UsageError("--env and --image exclude each other.")
    if image is not None:
        try:
            ImageRef.parse(image)
        except ValueError as error:
            raise KitbagError(str(error)) from error
    for name in pull_secrets:
        if not _SECRET.fullmatch(name):
            raise KitbagError(f"{name!r} is no secret's name: small letters, digits, '-' and '.'")
    policy = PullPolicy(pull_policy) if pull_policy else None
    secrets = tuple(dict.fromkeys(pull_secrets))
    return Wish(env, image, container, accelerator, secrets, policy, target, wait_s)


def _outcomes(files: Sequence[str], wish: Wish) -> list[Outcome]:
    from kitbag import manifests

    kinds = table()
    if wish.image is not None and wish.accelerator is not None:
        raise click.UsageError("--image names one image, so --accelerator changes nothing.")
    if wish.image is not None and wish.target is not None:
        raise click.UsageError("--image is somewhere already, so --target changes nothing.")
    resolver = manifests.Resolver(wish.accelerator, target=wish.target, wait_s=wish.wait_s)
    try:
        wanted = manifests.target(wish, resolver)
        return [
            manifests.pinned(found, wanted, wish.container, kinds)
            if isinstance(found, manifests.Manifest)
            else found
            for found in manifests.find(files)
        ]
    finally:
        resolver.close()


def _written(outcomes: list[Outcome], output: Path | None) -> list[Outcome]:
    """Write each file that can be; the outcomes again, with those that could not be refused."""
    from dataclasses import replace

    from kitbag.manifests import write

    taken: dict[Path, str] = {}
    done = []
    for one in outcomes:
        if one.after is None or not (output or one.changed):
            done.append(one)
            continue
        source = Path(one.manifest.name)
        place = output / one.manifest.relative if output else source
        why = f"it is already that of {taken[place]}" if place in taken else None
        if why is None:
            taken[place] = one.manifest.name
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                write(place, one.after, like=source)
            except OSError as error:
                why = error.strerror
        refused = replace(one, after=None, error=f"{place}: can't be written: {why}")
        done.append(refused if why else one)
    return done


def _report(outcomes: list[Outcome], *, quiet: bool, json_: bool) -> None:
    """Say on stderr what was refused, what was left alone and, unless quiet, what was changed."""
    for one in outcomes:
        if one.error:
            click.echo(clean(f"kitbag: {one.error}"), err=True)
        elif not json_:
            for sentence in (*one.skipped, *one.notes):
                click.echo(clean(f"kitbag: {one.manifest.name}: {sentence}"), err=True)
            for change in () if quiet else one.changes:
                click.echo(_line(one, change), err=True)


def _line(outcome: Outcome, change: Change) -> str:
    before = change.before or "no image"
    return clean(f"{outcome.manifest.name}:{change.line}: {before} -> {change.after}")


def _print_diffs(outcomes: list[Outcome]) -> None:
    for one in outcomes:
        click.echo(clean(_diff(one)), nl=False)


def _diff(outcome: Outcome) -> str:
    from kitbag.specs import diff

    if outcome.after is None:
        return ""
    return diff(outcome.before, outcome.after, outcome.manifest.name.lstrip("/"))


def _print_changes(outcomes: list[Outcome]) -> None:
    for one in outcomes:
        for change in one.changes:
            click.echo(_line(one, change))


def _print_texts(outcomes: list[Outcome]) -> None:
    from kitbag.manifests import joined

    # The bytes themselves: a text stream would translate line ends and refuse other encodings.
    sys.stdout.buffer.write(joined([one.after for one in outcomes if one.after is not None]))
    sys.stdout.buffer.flush()


def _as_json(outcome: Outcome, *, text: bool, diff_: bool) -> dict[str, Any]:
    after = outcome.after
    found: dict[str, Any] = {
        "file": outcome.manifest.name,
        "changed": outcome.changed,
        "changes": [asdict(change) for change in outcome.changes],
        "skipped": list(outcome.skipped),
        "notes": list(outcome.notes),
        "error": outcome.error,
    }
    if text and after is not None:
        found["text"] = after.decode("utf-8", "replace")
    if diff_:
        found["diff"] = _diff(outcome)
    return found
