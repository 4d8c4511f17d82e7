"""A build's progress on stderr: a live display on a terminal, plain lines everywhere else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from kitbag.builds import Build, Event, EventKind
from kitbag.cli.output import clean, counted, size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_EVERY_S = 5.0


class Shown(Protocol):
    """Someone who is told about a build."""

    def begun(self, build: Build) -> None: ...
    def event(self, event: Event) -> None: ...
    def ended(self, build: Build) -> None: ...


@contextmanager
def on_stderr() -> Iterator[Shown]:
    """What fits the stderr of this process."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _live() as live:
            yield live
    else:
        yield Lines()


def summary(build: Build) -> str:
    """The build in one line: way, packages, layers, bytes moved, seconds."""
    parts = [build.way.value] if build.way else []
    if build.stats:
        stats = build.stats
        parts += [
            counted(stats.packages, "package"),
            f"{counted(stats.layers_new, 'layer')} new, {stats.layers_known} known",
            f"{size(stats.bytes_moved)} moved",
        ]
    if build.started_at and build.ended_at:
        parts.append(f"{(build.ended_at - build.started_at).total_seconds():.1f} s")
    number = "" if build.version is None else f":{build.version}"
    return clean(f"{build.environment}{number} is ready: {', '.join(parts)}".rstrip(": "))


class Lines:
    """One line an event; of those that count something only one now and then."""

    def __init__(self) -> None:
        self._counted_at = time.monotonic()

    def begun(self, build: Build) -> None:
        self._say(f"{build.environment}: build {build.id} is {build.state.value}")

    def event(self, event: Event) -> None:
        if event.kind in (EventKind.STATE, EventKind.DONE):
            return
        text = _text(event)
        if event.kind is EventKind.PROGRESS:
            if time.monotonic() - self._counted_at < _LINE_EVERY_S:
                return
            self._counted_at = time.monotonic()
            text = f"{text}: {_amount(event)}"
        self._say(text)

    def ended(self, build: Build) -> None:
        self._say(summary(build))

    def _say(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class Live:
    """A spinner and a bar for the phase under way; log lines scroll above it."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._phase = ""

    def begun(self, build: Build) -> None:
        self._print(f"{build.environment}: build {build.id}")
        self._next(build.state.value)

    def event(self, event: Event) -> None:
        if event.kind is EventKind.PHASE:
            self._next(_text(event), event.phase)
        elif event.kind is EventKind.STATE:
            # A phase says more; the state is shown where no phase has begun.
            if not self._phase:
                self._next(_text(event))
        elif event.kind is EventKind.PROGRESS:
            if event.phase != self._phase:
                self._next(_text(event), event.phase)
            self._count(event)
        elif event.kind is not EventKind.DONE:
            self._print(_text(event), "yellow" if event.kind is EventKind.WARNING else "dim")

    def ended(self, build: Build) -> None:
        self._done()
        self._print(summary(build), "green")

    def _next(self, description: str, phase: str = "") -> None:
        self._done()
        self._phase = phase
        self._task = self._bars.add_task(_escaped(description), total=None, amount="")

    def _done(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def _count(self, event: Event) -> None:
        if self._task is None:
            return
        done, total = _counts(event)
        self._bars.update(self._task, completed=done, total=total, amount=_amount(event))

    def _print(self, text: str, style: str = "") -> None:
        from rich.text import Text

        self._bars.console.print(Text(text, style=style))


@contextmanager
def _live() -> Iterator[Live]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False)
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bars:
        yield Live(bars)


def _text(event: Event) -> str:
    text = clean(event.message) or event.phase
    return f"warning: {text}" if event.kind is EventKind.WARNING else text


def _counts(event: Event) -> tuple[float, float | None]:
    """How many packages are done, and of how many; the latter is None where nobody knows."""
    done, total = event.data.get("done"), event.data.get("total")
    return (
        float(done) if isinstance(done, (int, float)) else 0.0,
        float(total) if isinstance(total, (int, float)) and total else None,
    )


def _amount(event: Event) -> str:
    """Such as 5 of 107 packages, 12.0 MB down, 3.1 MB up."""
    done, total = _counts(event)
    parts = [f"{done:.0f} of {total:.0f} packages" if total else counted(int(done), "package")]
    for name, way in (("downloaded_bytes", "down"), ("moved_bytes", "up")):
        amount = event.data.get(name)
        if isinstance(amount, int) and amount:
            parts.append(f"{size(amount)} {way}")
    return ", ".join(parts)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
