"""Pin the images of a manifest, and change nothing else."""

from __future__ import annotations

from .find import Wanted
from .image import ImageRef
from .job import Job
from .kinds import Kinds
from .kinds_file import builtin
from .parts import parts
from .references import references
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
    by_image = target.known or target.successor
    if target.image is None and not by_image and "kitbag" not in source.text:
        return Pinned(data)
    repository = ImageRef.parse(target.image).name if target.image else None
    wanted = Wanted(container, repository, target.successor)
    table = kinds or builtin()
    job = Job(source, target, table.accelerators)
    for part in parts(source, table, wanted):
        job.document(part)
    return job.result(container)


def images(
    data: bytes, *, container: str | None = None, filename: str = "-", kinds: Kinds | None = None
) -> list[Found]:
    """The images that `pin` could set, in the order of the file; nothing is changed.

    Where several containers could be the user's none of them is listed. Raises SpecError.
    """
    source = Source(data, filename)
    found: list[tuple[int, Found]] = []
    for part in parts(source, kinds or builtin(), Wanted(container)):
        text = part.source
        known = set()
        for site in part.findings.sites:
            known.add(id(site.scalar))
            line = text.line(site.start)
            image = site.image
            row = Found(part.number, line, site.kind, site.name, site.path, site.container, image)
            found.append((text.outermost((site.start, site.start, ""))[0], row))
        for scalar in references(text, part.root):
            if id(scalar) not in known:
                row = Found(part.number, text.line(scalar.start), "", "", "", "", scalar.text)
                found.append((text.outermost((scalar.start, scalar.start, ""))[0], row))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]
