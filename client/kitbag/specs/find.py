"""From a document to the places of the user's images in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..refs import ANNOTATION, SCHEME, EnvRef
from . import path as paths
from .errors import (
    AmbiguousContainerError,
    BadReferenceError,
    RecompileError,
    TemplateError,
    TooDeepError,
    WriteError,
)
from .image import ImageRef
from .kinds import Choose, Form, Kind, Kinds, Part, Place, join, text_at
from .nodes import Mapping, Node, Scalar, Sequence, real
from .path import Hit, members, walk
from .read import not_yaml_yet
from .sites import Findings, Secrets, Site, Text
from .source import Source

_DEFAULT_CONTAINER = 'metadata.annotations."kubectl.kubernetes.io/default-container"'
_MAX_OBJECTS_DEEP = 8
_MAYBE_IMAGE = re.compile(rf"image|containers|{SCHEME}")


@dataclass(frozen=True, slots=True)
class _Object:
    """An object of a known kind, and what it inherits from the object around it."""

    root: Node
    at: str
    kind: Kind
    title: str
    name: str
    named: tuple[str, ...]
    environment: EnvRef | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What narrows the search: the user's container by name, the repository to be pinned, or what
    says of an image that it has a successor."""

    container: str | None = None
    repository: str | None = None
    successor: Callable[[str], str | None] | None = None


class Finder:
    """Finds the user's images in the documents of one text."""

    def __init__(self, source: Source, kinds: Kinds, wanted: Wanted) -> None:
        self.source = source
        self.kinds = kinds
        self.container = wanted.container
        self.repository = wanted.repository
        self.successor = wanted.successor

    def find(self, root: Node, text: Text | None = None) -> Findings:
        """The places in one document, which may be that of a text; none in a kind unknown."""
        findings = Findings()
        if text is None:
            self._object(findings, root, "", (), None, 0)
        else:
            at = text.path + paths.INSIDE
            kind = Kind(text.kind, places=text.places)
            this = _Object(root, at, kind, text.kind, text.name, (), text.environment)
            self._object(findings, root, at, (), this, text.depth)
            self._places(findings, this, text.depth)
        unique = {(id(site.holder), site.key, site.path): site for site in findings.sites}
        findings.sites = list(unique.values())
        return findings

    def _object(
        self,
        findings: Findings,
        root: Node,
        at: str,
        named: tuple[str, ...],
        around: _Object | None,
        depth: int,
    ) -> None:
        if depth > _MAX_OBJECTS_DEEP:
            raise TooDeepError(
                self.source.filename,
                self.source.line(root.start),
                f"objects are nested over {_MAX_OBJECTS_DEEP} deep, which no manifest needs",
            )
        kind = self.kinds.find(root, self.source.filename)
        own = self._annotated(root, "metadata")
        environment = own or (around.environment if around else None)
        if kind is None:
            if environment:
                self._useless(findings, root)
            return
        self._refuse(kind, root)
        if kind.note:
            findings.notes.append(f"line {self.source.line(root.start)}: {kind.note}")
        title = text_at(root, "kind") or kind.name
        name = self._name(root) or (around.name if around else "")
        this = _Object(root, at, kind, title, name, named, environment)
        before = _found(findings)
        self._places(findings, this, depth)
        if own and _found(findings) == before:
            self._useless(findings, root)

    def _useless(self, findings: Findings, root: Node) -> None:
        findings.notes.append(
            f"line {self.source.line(root.start)}: there is no place for the image of"
            f" {text_at(root, 'kind') or 'this object'} that the table of kinds knows, so its"
            f" {ANNOTATION} changes nothing"
        )

    def _places(self, findings: Findings, this: _Object, depth: int) -> None:
        offered: list[tuple[Place, Hit]] = []
        for place in this.kind.places:
            hits = list(walk(this.root, place.at, this.at))
            if place.form in (Form.IMAGE, Form.SPLIT) and place.choose is Choose.ONLY:
                hits = self._one(findings, this, place, hits)
            if place.choose is Choose.SAME:
                offered += [(place, hit) for hit in hits]
                continue
            for hit in hits:
                self._place(findings, this, place, hit, depth)
        self._offered(findings, this, offered)

    def _refuse(self, kind: Kind, root: Node) -> None:
        for refusal in kind.refuse:
            node = paths.first(root, refusal.at)
            if node is not None:
                line = self.source.line(node.start)
                raise RecompileError(self.source.filename, line, refusal.say)

    def _name(self, root: Node) -> str:
        node = paths.first(root, "metadata.name")
        if isinstance(node, Mapping) and is_template(node):
            raise self._template(node)
        for path in ("metadata.name", "metadata.generateName", "pipelineInfo.name", "name"):
            name = text_at(root, path)
            if name:
                return name
        return ""

    def _annotated(self, root: Node, metadata: str) -> EnvRef | None:
        """The environment that the object's annotation, or else its label, names."""
        for where in ("annotations", "labels"):
            node = paths.first(root, f'{metadata}.{where}."{ANNOTATION}"')
            if isinstance(node, Scalar):
                try:
                    return EnvRef.parse_label(node.text or "")
                except ValueError as error:
                    line = self.source.line(node.start)
                    raise BadReferenceError(self.source.filename, line, str(error)) from None
        return None

    def _environment(self, text: str, node: Node) -> EnvRef:
        try:
            return EnvRef.parse(text)
        except ValueError as error:
            line = self.source.line(node.start)
            raise BadReferenceError(self.source.filename, line, str(error)) from None

    def _place(self, findings: Findings, this: _Object, place: Place, hit: Hit, depth: int) -> None:
        if place.form is Form.OBJECT:
            names = self._names(this, place)
            self._object(findings, hit.real, hit.path, names, this, depth + 1)
        elif place.form is Form.TEMPLATE:
            environment = self._annotated(hit.real, "metadata") or this.environment
            default = text_at(hit.real, _DEFAULT_CONTAINER)
            inner = replace(this, environment=environment)
            secrets = self._secrets(place, hit.real, hit.path)
            for containers in walk(hit.node, "spec.containers", hit.path):
                self._choose(findings, inner, place, containers, default, secrets)
        elif place.form is Form.CONTAINERS:
            secrets = self._secrets(place, this.root, this.at)
            self._choose(findings, this, place, hit, None, secrets)
        elif place.form is Form.CONTAINER:
            self._single(findings, this, place, hit)
        elif place.form is Form.TEXT:
            self._text(findings, this, place, hit, depth)
        elif place.form is Form.SPLIT:
            self._split(findings, this, place, hit)
        else:
            self._image(findings, this, place, hit)

    def _text(self, findings: Findings, this: _Object, place: Place, hit: Hit, depth: int) -> None:
        node = hit.real
        if not isinstance(node, Scalar) or hit.holder is None:
            return
        # Most texts of this kind have nothing to do with images; reading them would be a waste.
        if not _MAYBE_IMAGE.search(self.source.text, node.start, node.end):
            return
        findings.texts.append(
            Text(
                node, hit.holder, hit.path, place.holds, this.title, this.name, this.environment,
                depth + 1,
            )
        )  # fmt: skip

    def _offered(self, findings: Findings, this: _Object, offered: list[tuple[Place, Hit]]) -> None:
        """Of images to offer, those that are versions of the one to pin, or that were asked for."""
        named = []
        for place, hit in offered:
            node = hit.real
            if isinstance(node, Scalar) and node.text:
                named.append((_repository(node.text), place, hit, node.text))
        names = list(dict.fromkeys(name for name, *_ in named))
        findings.containers += names
        for name, place, hit, image in named:
            if name in (self.container, self.repository) or self._replaced(image):
                self._image(findings, this, place, replace(hit, label=name), chosen=True)
        if self.repository and self.container is None and names and self.repository not in names:
            findings.skipped.append(
                f"line {self.source.line(this.root.start)}: the images on offer are other ones"
                f" ({', '.join(names)}); say which to replace with --container"
            )

    def _names(self, this: _Object, place: Place) -> tuple[str, ...]:
        """The names of the user's container, those of the object around first."""
        own = []
        for name in place.named:
            text = text_at(this.root, name[1:]) if name.startswith("$") else name
            if text:
                own.append(text)
        return (*this.named, *own)

    def _secrets(self, place: Place, root: Node, at: str) -> Secrets | None:
        """Where the pull secrets belong, when there is such a place."""
        if place.secrets is None:
            return None
        parent, _, key = place.secrets.rpartition(".")
        for hit in walk(root, parent, at):
            if isinstance(hit.real, Mapping):
                return Secrets(hit.real, key, join(hit.path, key), place.plain)
        return None

    def _choose(
        self,
        findings: Findings,
        this: _Object,
        place: Place,
        hit: Hit,
        default: str | None,
        secrets: Secrets | None,
    ) -> None:
        """Find the user's container in a list of them."""
        candidates = list(self._candidates(findings, hit))
        findings.containers += [item.label for item in candidates]
        if self.container is not None:
            chosen = [item for item in candidates if item.label == self.container]
        else:
            chosen = [item for item in candidates if self._replaced(_image_of(item)) is not None]
            for name in (*self._names(this, place), *([default] if default else ())):
                chosen = chosen or [item for item in candidates if item.label == name]
            if not chosen and place.choose is Choose.NAMED:
                pass
            elif not chosen and place.choose is Choose.FIRST:
                chosen = candidates[:1]
            elif not chosen and (place.choose is Choose.ALL or len(candidates) == 1):
                chosen = candidates
            elif not chosen and candidates:
                findings.doubts.append((this.environment, self._ambiguous(this, hit, candidates)))
        for item in chosen:
            expected = self._expected(this, place)
            if expected and item.label != expected:
                findings.notes.append(
                    f"line {self.source.line(item.real.start)}: container {item.label!r} is not"
                    f" named like the {this.title} {expected!r}"
                )
            self._add(findings, this, place, item, item.label, secrets)

    def _replaced(self, image: str | None) -> str | None:
        """What takes the place of an image, if something does; what does is the user's."""
        return self.successor(image) if self.successor is not None and image else None

    def _successor_of(self, place: Place, hit: Hit) -> str | None:
        """The like of an image that may be kept in several keys; a digest says more than a name."""
        if isinstance(hit.real, Scalar):
            return self._replaced(hit.real.text)
        texts = [text_at(hit.real, key) for key, _ in place.parts]
        found = [one for one in map(self._replaced, texts) if one is not None]
        return found[-1] if found else None

    def _expected(self, this: _Object, place: Place) -> str | None:
        if place.expect and place.expect.startswith("$"):
            return text_at(this.root, place.expect[1:])
        return place.expect

    def _candidates(self, findings: Findings, hit: Hit) -> Iterator[Hit]:
        """The containers of a list that may be the user's."""
        for item in walk(hit.node, "[*]", hit.path):
            container = item.real
            if not isinstance(container, Mapping):
                raise self._not_a_mapping(container, "a container")
            name = text_at(container, "name") or ""
            image = text_at(container, "image") or ""
            if name in self.kinds.injected or image.startswith(self.kinds.platform):
                findings.skipped.append(
                    f"line {self.source.line(container.start)}: container {name!r} belongs to the"
                    " platform"
                )
                continue
            yield replace(item, label=name)

    def _single(self, findings: Findings, this: _Object, place: Place, hit: Hit) -> None:
        """A place that is one container."""
        container = hit.real
        if isinstance(container, Scalar) and not container.text:
            return
        if not isinstance(container, Mapping):
            raise self._not_a_mapping(container, "a container")
        image = text_at(container, "image") or ""
        label = text_at(container, "name") or hit.label
        if image.startswith(self.kinds.platform):
            findings.skipped.append(
                f"line {self.source.line(container.start)}: {label!r} runs {image}, an image of"
                " the platform"
            )
            return
        findings.containers.append(label)
        if self.container in (None, label, hit.label):
            secrets = self._secrets(place, this.root, this.at)
            self._add(findings, this, place, hit, label, secrets)

    def _image(
        self, findings: Findings, this: _Object, place: Place, hit: Hit, *, chosen: bool = False
    ) -> None:
        """A place that is the image scalar itself; `chosen` where it is the user's already."""
        parent, _, key = hit.path.rpartition(".")
        label = hit.label or parent.rpartition(".")[2] or key
        scalar = hit.real
        text = (scalar.text or "") if isinstance(scalar, Scalar) else ""
        if place.prefix and not text.startswith(place.prefix):
            return
        if not chosen:
            findings.containers.append(label)
        if (chosen or self.container in (None, label)) and hit.holder is not None:
            if text.removeprefix(place.prefix).startswith(self.kinds.platform):
                return
            secrets = self._secrets(place, this.root, this.at)
            self._site(findings, this, place, hit.path, label, hit.holder, key, hit.node, secrets)

    def _one(self, findings: Findings, this: _Object, place: Place, hits: list[Hit]) -> list[Hit]:
        """A list of images to offer has no first among them: the user says which."""
        if len(hits) < 2 or self.container is not None:
            return hits
        ours = [hit for hit in hits if self._successor_of(place, hit) is not None]
        if ours:
            return ours
        findings.doubts.append((this.environment, self._ambiguous(this, hits[0], hits)))
        return []

    def _split(self, findings: Findings, this: _Object, place: Place, hit: Hit) -> None:
        """A place that keeps the image in several keys of one mapping."""
        holder = hit.real
        if not isinstance(holder, Mapping):
            return
        label = hit.label or hit.path
        findings.containers.append(label)
        if self.container not in (None, label) or not holder.pairs:
            return
        nodes = {key: next((v for _, v in members(holder, key)), None) for key, _ in place.parts}
        texts = [node.text for node in nodes.values() if isinstance(node, Scalar)]
        for text in texts:
            if text and text.startswith(SCHEME):
                this = replace(this, environment=self._environment(text, holder))
        successor = self._successor_of(place, hit)
        for key, part in place.parts:
            node = nodes[key]
            if node is not None or place.insert:
                path = join(hit.path, key)
                secrets = self._secrets(place, this.root, this.at)
                self._site(
                    findings, this, place, path, label, holder, key, node, secrets, part, successor
                )

    def _add(
        self,
        findings: Findings,
        this: _Object,
        place: Place,
        hit: Hit,
        label: str,
        secrets: Secrets | None,
    ) -> None:
        """Record the `image` of a container."""
        holder = hit.real
        if not isinstance(holder, Mapping):
            raise self._not_a_mapping(holder, "a container")
        node = next((value for _, value in members(holder, "image")), None)
        if node is not None or place.insert:
            path = join(hit.path, "image")
            self._site(findings, this, place, path, label, holder, "image", node, secrets)

    def _site(
        self,
        findings: Findings,
        this: _Object,
        place: Place,
        path: str,
        label: str,
        holder: Mapping,
        key: str,
        node: Node | None,
        secrets: Secrets | None,
        part: Part = Part.WHOLE,
        successor: str | None = None,
    ) -> None:
        target = None if node is None else real(node)
        if isinstance(target, Mapping) and is_template(target):
            raise self._template(target)
        if isinstance(target, (Mapping, Sequence)):
            raise WriteError(
                self.source.filename,
                self.source.line(target.start),
                f"{path} is a collection where an image is expected",
            )
        findings.sites.append(
            Site(
                this.title, this.name, path, label, holder, key, node, this.environment, part,
                place.prefix, secrets, place.policy, place.platform, successor,
            )
        )  # fmt: skip

    def _ambiguous(self, this: _Object, hit: Hit, candidates: list[Hit]) -> AmbiguousContainerError:
        names = ", ".join(item.label or "(no name)" for item in candidates)
        return AmbiguousContainerError(
            self.source.filename,
            self.source.line(hit.real.start),
            f"{this.title} {this.name or '(no name)'} has {len(candidates)} images to choose from"
            f" ({names}); say which is yours with --container",
        )

    def _template(self, node: Mapping) -> TemplateError:
        return not_yaml_yet(self.source, node.start)

    def _not_a_mapping(self, node: Node, what: str) -> WriteError:
        return WriteError(
            self.source.filename, self.source.line(node.start), f"{what} is expected here"
        )


def _found(findings: Findings) -> int:
    """How much there is that an image could go to, or that says why none can."""
    return len(findings.sites) + len(findings.texts) + len(findings.doubts) + len(findings.skipped)


def _image_of(item: Hit) -> str | None:
    """The image of a container."""
    return text_at(item.real, "image") if isinstance(item.real, Mapping) else None


def _repository(image: str) -> str:
    """What an image of a list is called: its name without tag and digest."""
    try:
        return ImageRef.parse(image).name
    except ValueError:
        return image


def is_template(node: Mapping) -> bool:
    """Whether a mapping is really `{name}` or `{{ name }}`: a template's hole."""
    if not node.flow or len(node.pairs) != 1:
        return False
    value = node.pairs[0][1]
    return isinstance(value, Scalar) and value.start == value.end and not value.style
