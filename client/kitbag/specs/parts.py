"""The documents of a file, and those inside its strings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .aliases import Uses
from .embedded import Embedded
from .errors import SpecError
from .find import Finder, Wanted
from .kinds import Kinds
from .nodes import Node, Scalar
from .read import read
from .references import reference
from .sites import Findings
from .source import Source


@dataclass(frozen=True, slots=True)
class Part:
    """One document, of the file or of a string in it.

    `scalar` is that string, and `around` the document that it is in, where `places` places of the
    table lead to it. `uses` counts aliases; None where there are none.
    """

    source: Source
    number: int
    root: Node
    findings: Findings
    uses: Uses | None
    scalar: Scalar | None = None
    around: Part | None = None
    places: int = 1


def parts(source: Source, kinds: Kinds, wanted: Wanted) -> Iterator[Part]:
    """Every document in the order of the file, each before what is inside its strings.

    Raises SpecError. A string that is no YAML is told as skipped by the document that it is in.
    """
    for number, root in enumerate(read(source, kinds.keep)):
        findings = Finder(source, kinds, wanted).find(root)
        part = Part(source, number, root, findings, _uses(source, root))
        yield from _with_texts(part, kinds, wanted)


def _with_texts(part: Part, kinds: Kinds, wanted: Wanted) -> Iterator[Part]:
    inside = list(_inside(part, kinds, wanted))
    yield part
    for inner in inside:
        yield from _with_texts(inner, kinds, wanted)


def _inside(part: Part, kinds: Kinds, wanted: Wanted) -> Iterator[Part]:
    """The documents inside the strings of one."""
    texts = {id(text.scalar): text for text in part.findings.texts}
    for text in texts.values():
        if reference(text.scalar.text):
            continue
        places = sum(other.scalar is text.scalar for other in part.findings.texts)
        source = Embedded(part.source, text.scalar, text.holder)
        try:
            roots = read(source, kinds.keep)
        except SpecError as error:
            part.findings.skipped.append(
                f"line {part.source.line(text.scalar.start)}: {text.path} is a text that may"
                f" have an image and can't be read ({error.sentence}); pin what it is made from"
            )
            continue
        for root in roots:
            findings = Finder(source, kinds, wanted).find(root, text)
            uses = _uses(source, root)
            yield Part(source, part.number, root, findings, uses, text.scalar, part, places)


def _uses(source: Source, root: Node) -> Uses | None:
    return Uses(source, root) if "*" in source.text else None
