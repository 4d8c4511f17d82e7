"""specs ls: the table of kinds that pin reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kitbag.cli.output import as_json, print_json, print_table
from kitbag.errors import KitbagError

if TYPE_CHECKING:
    from kitbag.specs import Kind, Kinds
    from kitbag.specs.kinds import Place


def table() -> Kinds:
    """The table in force: Kitbag's, behind the user's own where there is one."""
    from kitbag import config
    from kitbag.specs import KindsError, of_file

    try:
        return of_file(config.kinds())
    except KindsError as error:
        raise KitbagError(str(error)) from error


@click.group()
def specs() -> None:
    """What pin knows about manifests."""


@specs.command()
@as_json
def ls(json_: bool) -> None:
    """List the kinds of objects and where their images are.

    The rows of the file of KITBAG_KINDS, or of `kinds` in the configuration, come first.
    """
    rows = table().rows
    if json_:
        print_json({"kinds": [_as_json(row) for row in rows]})
        return
    lines = []
    for row in rows:
        title = ", ".join(sorted(row.kinds)) or row.name
        group = ", ".join(sorted(name or "core" for name in row.groups))
        for place in row.places:
            lines.append((title, group, _which(place), place.at or "the object itself"))
            title = group = ""
        if not row.places:
            why = row.note or "; ".join(refusal.say for refusal in row.refuse)
            lines.append((title, group, "none", why))
    print_table(("KIND", "GROUP", "WHICH", "WHERE"), lines)


def _which(place: Place) -> str:
    """Which of what is there is the user's, for people."""
    from kitbag.specs.kinds import Choose, Form

    if place.form is Form.TEXT:
        return "inside the text"
    if place.form is Form.OBJECT:
        return "by its own kind"
    if place.form is Form.SPLIT:
        return ", ".join(key for key, _ in place.parts)
    names = ", ".join(place.named)
    others = {
        Choose.ONLY: "the only one",
        Choose.FIRST: "the first",
        Choose.ALL: "all",
        Choose.NAMED: "",
        Choose.SAME: "older versions of the image",
    }[place.choose]
    if place.form is Form.CONTAINER:
        others = "all"
    if place.prefix:
        others = f"{place.prefix}…"
    return ", else ".join(part for part in (names, others) if part)


def _as_json(row: Kind) -> dict[str, Any]:
    return {
        "name": row.name,
        "kinds": sorted(row.kinds),
        "groups": sorted(row.groups),
        "versions": sorted(row.versions),
        "has": list(row.has),
        "files": list(row.files),
        "places": [_place(place) for place in row.places],
        "refuse": [{"at": refusal.at, "say": refusal.say} for refusal in row.refuse],
        "note": row.note,
        "table": row.table,
    }


def _place(place: Place) -> dict[str, Any]:
    return {
        "form": place.form.value,
        "at": place.at,
        "named": list(place.named),
        "choose": place.choose.value,
        "insert": place.insert,
        "parts": {key: part.value for key, part in place.parts},
        "prefix": place.prefix,
        "holds": [_place(inner) for inner in place.holds],
        "secrets": place.secrets,
        "policy": place.policy,
        "platform": place.platform,
    }
