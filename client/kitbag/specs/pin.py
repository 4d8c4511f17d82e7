"""Pin the images of a manifest, and change nothing else."""

from __future__ import annotations

from .find import Finder
from .image import ImageRef
from .job import Job, references
from .kinds import Kinds
from .kinds_file import builtin
from .read import read
from .report import Found, Pinned, Resolver, Target
from .source import Source


def pin(
    data: bytes,
    target: Target | Resolver,
    *,
    container: str | None = None,
    filename: str = "-",
    kinds: Kinds | None = None,
) -> Pinned:
    """Write the target into the user's containers and the `kitbag://` references of a file.

    `container` names the user's container where the kind does not decide. Which reference wins
    where is in docs/pin.md. Raises SpecError with file and line for what cannot be pinned exactly,
    ValueError for a target that is no image reference, and whatever the resolver raises.
    """
    if not isinstance(target, Target):
        target = Target(resolve=target)
    if target.image is not None:
        ImageRef.parse(target.image)
    source = Source(data, filename)
    if target.image is None and "kitbag" not in source.text:
        return Pinned(data)
    table = kinds or builtin()
    job = Job(source, target, Finder(source, table, container))
    for number, root in enumerate(read(source, table.keep)):
        job.document(number, root)
    return job.result(container)


def images(
    data: bytes, *, container: str | None = None, filename: str = "-", kinds: Kinds | None = None
) -> list[Found]:
    """The images that `pin` could set, in the order of the file; nothing is changed.

    Where several containers could be the user's none of them is listed. Raises SpecError.
    """
    source = Source(data, filename)
    table = kinds or builtin()
    finder = Finder(source, table, container)
    found: list[tuple[int, Found]] = []
    for number, root in enumerate(read(source, table.keep)):
        sites = finder.find(root).sites
        known = set()
        for site in sites:
            scalar = site.scalar
            known.add(id(scalar))
            image = None if scalar is None else scalar.text
            line = source.line(site.start)
            row = Found(number, line, site.kind, site.name, site.path, site.container, image)
            found.append((site.start, row))
        for scalar in references(source, root):
            if id(scalar) not in known:
                line = source.line(scalar.start)
                found.append((scalar.start, Found(number, line, "", "", "", "", scalar.text)))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]
