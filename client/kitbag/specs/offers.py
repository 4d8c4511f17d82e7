"""The image list of Kubeflow's Jupyter web app: adds and retires entries, other bytes stay.

The file is `spawner_ui_config.yaml`, whose `spawnerFormDefaults.image.options` are what a user
chooses from (kubeflow/notebooks, components/crud-web-apps/jupyter).
"""

from __future__ import annotations

from collections.abc import Mapping

from .errors import WriteError
from .nodes import Mapping as Pairs
from .nodes import Node, Scalar, Sequence, real
from .read import read
from .source import Source
from .write import added_item, removed_item, replaced

FILE = "spawner_ui_config.yaml"
_PATH = ("spawnerFormDefaults", "image", "options")


def updated(
    data: bytes, wanted: Mapping[str, str], mine: Mapping[str, str]
) -> tuple[bytes, dict[str, str]]:
    """The file with the images `wanted`, by environment, and those of them that are ours now.

    `mine` is what was ours before: such an entry follows its environment, in its place, or goes.
    An image that somebody else listed is left to them. Raises SpecError for a file that can't be
    read, or whose list is not a plain block list.
    """
    source = Source(data, FILE)
    items = _options(source)
    ours = {env: items[image] for env, image in mine.items() if image in items}
    theirs = items.keys() - {mine[env] for env in ours}
    keep = {env: image for env, image in wanted.items() if image not in theirs}
    edits, free = [], []
    for env, item in ours.items():
        if env not in keep:
            free.append(item)
        elif keep[env] != mine[env]:
            edits.append(replaced(source, item, keep[env]))
    new = [image for env, image in keep.items() if env not in ours]
    # A line that is free takes what is new: less moves, and no edits meet.
    edits += [replaced(source, item, image) for item, image in zip(free, new, strict=False)]
    left, more = free[len(new) :], new[len(free) :]
    if len(left) == len(items):
        raise WriteError(FILE, source.line(left[0].start), "its list of images would be empty")
    edits += [removed_item(source, item) for item in left]
    last = list(items.values())[-1]
    edits += [added_item(source, last, image) for image in more]
    return source.splice(edits), keep


def _options(source: Source) -> dict[str, Scalar]:
    """The entries by what they say, in order."""
    roots = read(source)
    node: Node | None = roots[0] if len(roots) == 1 else None
    for key in _PATH:
        below = None
        holder = real(node) if node is not None else None
        if isinstance(holder, Pairs):
            for name, value in holder.pairs:
                if isinstance(name, Scalar) and name.text == key:
                    below = value
        node = below
    listed = real(node) if node is not None else None
    items = listed.items if isinstance(listed, Sequence) and not listed.flow else []
    found = {item.text: item for item in items if isinstance(item, Scalar) and item.text}
    if not found or not all(isinstance(item, Scalar) for item in items):
        line = source.line(listed.start) if listed is not None else 1
        raise WriteError(
            FILE, line, f"{'.'.join(_PATH)} must be a list with each image on a line of its own"
        )
    return found
