"""`%kitbag` in a notebook: `%load_ext kitbag`, then `%kitbag save`."""

from __future__ import annotations

import shlex
import sys
from typing import Any

_USAGE = (
    "%kitbag save [NS/NAME]    what was installed here, as a new version of the environment\n"
    "%kitbag diff              what differs from the image that is running\n"
)


def load(ipython: Any) -> None:  # noqa: ANN401 - IPython's shell, which is no dependency
    """Register the magic with a running IPython."""
    ipython.register_magic_function(kitbag, magic_kind="line", magic_name="kitbag")


def kitbag(line: str) -> str | None:
    """Save what was installed: prints the difference and what happens, returns the new image."""
    from kitbag.errors import KitbagError

    words = shlex.split(line)
    try:
        if words[:1] == ["diff"] and len(words) == 1:
            _diff()
            return None
        if words[:1] == ["save"] and len(words) <= 2:
            return _save(*words[1:])
    except KitbagError as error:
        # A notebook shows a sentence; the trace behind it helps nobody.
        sys.stderr.write(f"kitbag: {error}\n")
        return None
    sys.stderr.write(_USAGE)
    return None


def _diff() -> None:
    from kitbag.capture import look
    from kitbag.cli.capture import lines_of

    difference = look().difference
    for text, _ in lines_of(difference) or [("nothing differs from the image", "")]:
        sys.stdout.write(f"{text}\n")


def _save(name: str | None = None) -> str | None:
    from kitbag.capture import look
    from kitbag.capture.image import environment_name
    from kitbag.capture.save import save
    from kitbag.cli.capture import lines_of, what_follows
    from kitbag.cli.progress import Lines
    from kitbag.client import Client

    found = look()
    for text, _ in lines_of(found.difference):
        sys.stdout.write(f"{text}\n")
    if not found.difference:
        sys.stdout.write("nothing was installed: the image is what is running\n")
        return None
    environment = environment_name(name)
    shown = Lines()
    with Client() as client:
        begun = save(client, environment, found)
        shown.begun(begun)
        ready = client.wait(begun, on_event=shown.event)
        shown.ended(ready)
    sys.stdout.write("\n".join(what_follows(f"{ready.environment}:{ready.version}")) + "\n")
    return ready.image
