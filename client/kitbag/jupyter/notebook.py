"""The environment that a notebook server runs in, as documents for its panel."""

from __future__ import annotations

from itertools import islice
from typing import Any

from kitbag.builds import Build, BuildState, Event, EventKind
from kitbag.capture import Capture, look
from kitbag.capture.image import environment_name, notebook_name
from kitbag.capture.save import save
from kitbag.cli.capture import lines_of
from kitbag.cli.output import clean
from kitbag.cli.progress import summary
from kitbag.client import Client
from kitbag.errors import KitbagError
from kitbag.jupyter.running import running
from kitbag.versions import Version

Document = dict[str, Any]

_NOT_FOUND = 404
_VERSIONS = 20
_EVENTS = 500


class Notebook:
    """Answers about this process's own environment; every method may block on files or network.

    All raise KitbagError with one sentence for the person at the panel. Nothing in an answer is a
    secret: the token of the server stays in this process.
    """

    def __init__(self) -> None:
        self._running: Version | None = None

    def status(self) -> Document:
        """What this is and what differs from it, from this machine's files alone.

        `environment` is None, and `problem` says why, where nothing names the environment.
        """
        found = look()
        environment, problem = None, None
        try:
            environment = _environment()
        except KitbagError as error:
            problem = str(error)
        difference = found.difference
        return {
            "environment": environment,
            "problem": problem,
            "python": found.image.python,
            "base": found.image.base,
            "packages": len(found.image.packages),
            "differs": len(difference.added) + len(difference.changed) + len(difference.removed),
            "lines": [text for text, _ in lines_of(difference)],
            "restarts": _restarts(),
        }

    def history(self) -> Document:
        """The newest versions on the server, newest first, and the number of the one that runs.

        `running` is None where none of them is what this image was made from.
        """
        environment, found = _environment(), look()
        with Client() as client:
            versions = _newest(client, environment)
            if versions and self._running is None:
                self._running = running(client, found.image, versions)
        return {
            "environment": environment,
            "running": self._running.number if self._running else None,
            "versions": [_version(item) for item in versions],
        }

    def save(self) -> Document:
        """Begin a build of what is installed now; KitbagError where nothing differs."""
        found: Capture = look()
        if not found.difference:
            raise KitbagError("nothing was installed: the image is what is running")
        with Client() as client:
            build = save(client, _environment(), found)
        return {"build": build.id, "environment": build.environment}

    def restart(self, number: int) -> Document:
        """Have the server give this Notebook a version of its environment; what runs here ends.

        KitbagError where this is none of Kubeflow's.
        """
        namespace, name = notebook_name()
        with Client() as client:
            became = client.restart(f"{_environment()}:{number}", namespace, name)
        return {"state": became["state"], "say": became["say"]}

    def build(self, build_id: str, after: int) -> Document:
        """How far a build is, with its events behind number `after`, at most 500 at a time.

        `ended` is true once there will be no more events than these.
        """
        with Client() as client:
            # The state first: of a build that had ended then, no event comes later.
            build = client.build_status(build_id)
            events = list(islice(client.events(build_id, after=after), _EVENTS))
        return {
            "state": build.state.value,
            "ended": build.state.ended and len(events) < _EVENTS,
            "after": events[-1].seq if events else after,
            "log": [_line(item) for item in events if _tells(item)],
            "error": _error(build),
            "summary": summary(build) if build.image else None,
            "version": None if build.version is None else f"{build.environment}:{build.version}",
            "image": build.image,
            "digest": build.digest,
        }


def _restarts() -> bool:
    """Whether this notebook can be restarted from here."""
    try:
        notebook_name()
    except KitbagError:
        return False
    return True


def _environment() -> str:
    try:
        return environment_name()
    except KitbagError as error:
        if "--name" in str(error):  # an option of the command line, which nobody has here
            raise KitbagError(
                "nothing says which environment this is: start the notebook server with"
                " KITBAG_ENVIRONMENT=NS/NAME"
            ) from error
        raise


def _newest(client: Client, environment: str) -> list[Version]:
    """None for an environment that the server doesn't have yet."""
    try:
        return list(islice(client.versions(environment), _VERSIONS))
    except KitbagError as error:
        if error.problem is None or error.problem.status != _NOT_FOUND:
            raise
        return []


def _version(version: Version) -> Document:
    return {
        "number": version.number,
        "name": version.name,
        "image": version.image,
        "digest": version.digest,
        "packages": version.packages,
        "created_at": version.created_at.isoformat() if version.created_at else None,
        "pin": f"kitbag pin . --env {version.name} -i",
        "kfp": (
            "from kfp import dsl\n\n"
            "@dsl.component(\n"
            f'    base_image="{version.image}",\n'
            "    install_kfp_package=False,\n"
            ")\n"
            "def train() -> None: ..."
        ),
    }


def _tells(event: Event) -> bool:
    return event.kind in (EventKind.PHASE, EventKind.LOG, EventKind.WARNING)


def _line(event: Event) -> str:
    text = clean(event.message) or event.phase
    return f"warning: {text}" if event.kind is EventKind.WARNING else text


def _error(build: Build) -> str | None:
    if build.error:
        return build.error.sentence
    return "the build was cancelled" if build.state is BuildState.CANCELLED else None
