"""The edits of one file: which scalar is to say what, and whether that can be done exactly."""

from __future__ import annotations

import re

from ..refs import EnvRef
from .accelerators import Accelerators, Images
from .aliases import Uses
from .errors import BadReferenceError, SharedImageError, UnknownContainerError, WriteError
from .image import ImageRef
from .kinds import Part
from .nodes import Alias, Scalar
from .parts import Part as Document
from .pulls import Pulls
from .references import reference, references
from .report import Change, Pinned, Target
from .sites import Findings, Site
from .source import Source
from .write import Edit, dereferenced, inserted, replaced

_HOLE = re.compile(r"\{\{.*\}\}|\$\{.*\}|\$\(.*\)", re.DOTALL)


def part_of(image: str, part: Part) -> str | None:
    """The part of an image reference that a key holds; None when the image has no such part."""
    if part is Part.WHOLE:
        return image
    reference = ImageRef.parse(image)
    algorithm, _, hexadecimal = (reference.digest or "").partition(":")
    if part is Part.DIGEST:
        return reference.digest
    if part is Part.TAG_OR_HEX:
        return hexadecimal or reference.tag
    if part is Part.NAME_AND_ALGORITHM and algorithm:
        return f"{reference.name}@{algorithm}"
    return reference.name


class Job:
    """Collects the edits of one file, document by document."""

    def __init__(self, source: Source, target: Target, accelerators: Accelerators) -> None:
        self.accelerators = accelerators
        self.file = source
        self.source = source
        self.target = target
        self.number = 0
        self.edits: dict[object, Edit] = {}
        self.spliced: list[Edit] = []
        self.changes: list[tuple[int, Change]] = []
        self.skipped: list[str] = []
        self.notes: list[str] = []
        self.containers: list[str] = []
        self.matched = 0
        self.known: dict[EnvRef, str | None] = {}
        self.pulls = Pulls(source, target)

    def document(self, part: Document) -> None:
        """Take in one document; raises SpecError, and what the resolver raises."""
        self.source, self.number, self.edits = part.source, part.number, {}
        findings = part.findings
        uses = part.uses
        self._refuse_doubts(findings)
        self.notes += findings.notes
        self.skipped += findings.skipped
        self.containers += findings.containers
        self.matched += len(findings.sites)
        pinned: list[tuple[Site, str]] = []
        wishes: dict[int, list[tuple[Site, str]]] = {}
        for site in findings.sites:
            image = self._value(site)
            if image is None:
                continue
            if isinstance(image, Images) and len(image.by) > 1:
                image, why = self.accelerators.choose(image, site.holder)
                line = self.source.line(site.start)
                self.notes.append(f"line {line}: {site.path.rpartition('.')[0] or site.path} {why}")
            value = part_of(image, site.part)
            if value is None:
                self._refuse_stale(site, image)
                continue
            pinned.append((site, image))
            if site.scalar is None:
                self._insert(site, value, uses)
            else:
                wishes.setdefault(id(site.scalar), []).append((site, site.prefix + value))
        taken = {id(site.scalar) for site in findings.sites if site.scalar is not None}
        for pairs in wishes.values():
            self._set(pairs, uses)
        for scalar in references(self.source, part.root):
            if id(scalar) not in taken:
                self._resolve_scalar(scalar)
        self.pulls.document(part, pinned, uses)
        self._splice(part, list(self.edits.values()))

    def _splice(self, part: Document, edits: list[Edit]) -> None:
        """Put a document's edits where the file has them."""
        around = part.around.uses if part.around else None
        if edits and around and part.scalar and around.count(part.scalar) > part.places:
            raise SharedImageError(
                self.file.filename,
                part.source.line(0),
                "this text also serves places that are not to change; write it out there",
            )
        self.spliced += [part.source.outermost(edit) for edit in edits]

    def _refuse_stale(self, site: Site, image: str) -> None:
        """A part that the new image lacks may only be left out where nothing is written."""
        if site.scalar is not None and site.scalar.text:
            raise WriteError(
                self.source.filename,
                self.source.line(site.start),
                f"{site.path} would stay as it is, since {image} has no {site.part.value};"
                " pin a reference with a digest",
            )

    def result(self, container: str | None) -> Pinned:
        """The spliced file and the report."""
        if container is not None and self.containers and not self.matched:
            names = ", ".join(dict.fromkeys(self.containers))
            raise UnknownContainerError(
                self.source.filename, 0, f"no container is named {container!r}; there is: {names}"
            )
        self.pulls.finish()
        for part, edits in self.pulls.edits:
            self._splice(part, edits)
        data = self.file.splice(self.spliced) if self.spliced else self.file.data
        found = sorted(self.changes + self.pulls.changes, key=lambda pair: pair[0])
        changes = tuple(change for _, change in found)
        notes = (*self.notes, *self.pulls.notes)
        return Pinned(data, changes, tuple(dict.fromkeys(self.skipped)), notes)

    def _refuse_doubts(self, findings: Findings) -> None:
        """A doubt about the container counts when an image is to go there."""
        for environment, error in findings.doubts:
            if self.target.image is not None or (environment and self.target.resolve):
                raise error

    def _value(self, site: Site) -> str | None:
        """What a user's container is to say, or None to leave it alone."""
        text = site.image
        asked = reference(text)
        line = self.source.line(site.start)
        wanted = self._parsed(asked, site.start) if asked else site.environment
        if text and not asked and _HOLE.search(text):
            self.skipped.append(
                f"line {line}: {site.path} is {text}, which something else fills in; pin it there"
            )
            return None
        image, env, resolve = self.target.image, self.target.env, self.target.resolve
        known = self.target.known.get(text) if text else None
        if known is not None and (image is None or env is not None):
            return known
        if self.target.successor and (wanted is None or asked):
            successor = site.successor or (self.target.successor(text) if text else None)
            if successor is not None:
                return successor
        if wanted is None:
            return image
        if image is not None and (
            resolve is None or env is None or env.environment == wanted.environment
        ):
            return image
        if resolve is None:
            self.notes.append(f"line {line}: {wanted.uri} is left as it is")
            return None
        found = self._resolved(wanted, site.start)
        if found is None:
            self.notes.append(f"line {line}: {wanted.uri} is left as it is")
        return found

    def _parsed(self, text: str, position: int) -> EnvRef:
        try:
            return EnvRef.parse(text)
        except ValueError as error:
            line = self.source.line(position)
            raise BadReferenceError(self.source.filename, line, str(error)) from None

    def _resolved(self, wanted: EnvRef, position: int) -> str | None:
        if wanted not in self.known:
            assert self.target.resolve is not None
            image = self.target.resolve(str(wanted))
            try:
                for each in image.by.values() if isinstance(image, Images) else (image,):
                    if each is not None:
                        ImageRef.parse(each)
            except ValueError as error:
                line = self.source.line(position)
                raise BadReferenceError(self.source.filename, line, str(error)) from None
            self.known[wanted] = image
        return self.known[wanted]

    def _resolve_scalar(self, scalar: Scalar) -> None:
        """A `kitbag://` reference outside the user's containers."""
        wanted = self._parsed(reference(scalar.text) or "", scalar.start)
        line = self.source.line(scalar.start)
        value = self._resolved(wanted, scalar.start) if self.target.resolve else None
        if value is None:
            self.notes.append(f"line {line}: {wanted.uri} is left as it is")
            return
        self.edits[scalar.start] = replaced(self.source, scalar, value)
        change = Change(self.number, line, "", "", "", "", scalar.text, value)
        self.changes.append((self._outermost(scalar.start), change))

    def _outermost(self, position: int) -> int:
        """Where in the file a position is."""
        return self.source.outermost((position, position, ""))[0]

    def _set(self, pairs: list[tuple[Site, str]], uses: Uses | None) -> None:
        """Make one scalar, which may serve several places, say what they want."""
        scalar = pairs[0][0].scalar
        assert scalar is not None
        todo = [pair for pair in pairs if not self._says(scalar, pair[1])]
        if not todo:
            return
        values = {value for _, value in pairs}
        if uses is None or (len(values) == 1 and uses.count(scalar) <= len(pairs)):
            self.edits[scalar.start] = replaced(self.source, scalar, todo[0][1])
        else:
            self._set_apart(scalar, pairs, uses)
        for site, value in todo:
            self._changed(site, value)

    def _says(self, scalar: Scalar, value: str) -> bool:
        """Whether a scalar says a value already."""
        if scalar.text is not None:
            return scalar.text.strip() == value
        start, end, new = replaced(self.source, scalar, value)
        return self.source.text[start:end] == new

    def _set_apart(self, scalar: Scalar, pairs: list[tuple[Site, str]], uses: Uses) -> None:
        """Write values over alias tokens, so that the anchor's other places keep theirs."""
        by_token: dict[int, list[tuple[Site, str]]] = {}
        for site, value in pairs:
            by_token.setdefault(id(site.node), []).append((site, value))
        freed = 0
        own: list[tuple[Site, str]] = []
        for group in by_token.values():
            site, value = group[0]
            alias = site.alias
            if alias is None:
                own = group
            elif len(group) == uses.count(alias) and len({v for _, v in group}) == 1:
                self.edits[alias.start] = dereferenced(self.source, alias, value)
                freed += len(group)
            else:
                raise self._shared(scalar, uses)
        if own:
            if len({v for _, v in own}) > 1 or uses.count(scalar) - freed > len(own):
                raise self._shared(scalar, uses)
            self.edits[scalar.start] = replaced(self.source, scalar, own[0][1])

    def _shared(self, scalar: Scalar, uses: Uses) -> SharedImageError:
        tokens: list[Alias] = uses.tokens(scalar)
        lines = ", ".join(str(self.source.line(token.start)) for token in tokens[:10])
        also = f" (aliases on lines {lines})" if lines else " (an alias or merge of what holds it)"
        return SharedImageError(
            self.source.filename,
            self.source.line(scalar.start),
            f"this image also serves places that are not to change{also}; write it out there",
        )

    def _insert(self, site: Site, value: str, uses: Uses | None) -> None:
        """Add the missing key to a container."""
        if uses is not None and uses.count(site.holder) > 1:
            raise SharedImageError(
                self.source.filename,
                self.source.line(site.holder.start),
                "this container has no image and an alias uses it elsewhere; write it out there",
            )
        self.edits[site.holder.start, site.key] = inserted(
            self.source, site.holder, site.key, value
        )
        self._changed(site, value)

    def _changed(self, site: Site, value: str) -> None:
        change = Change(
            self.number,
            self.source.line(site.start),
            site.kind,
            site.name,
            site.path,
            site.container,
            site.image,
            value.removeprefix(site.prefix),
        )
        self.changes.append((self._outermost(site.start), change))
