"""What a pinned image needs to be pulled: secrets and a policy, added where the kind takes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .add import Value, added, document, said
from .aliases import Uses
from .errors import SharedImageError
from .nodes import Mapping
from .parts import Part
from .path import walk
from .report import Change, Target
from .sites import Site
from .source import Source
from .write import Edit


@dataclass(slots=True)
class _Wish:
    """What a mapping is to say, for these places of the document."""

    holder: Mapping
    wanted: dict[str, Value]
    sites: dict[str, Site] = field(default_factory=dict)


class Pulls:
    """Collects the edits that add pull secrets and the pull policy, after those of the images."""

    def __init__(self, source: Source, target: Target) -> None:
        self.source = source
        self.target = target
        self.edits: list[tuple[Part, list[Edit]]] = []
        self.changes: list[tuple[int, Change]] = []
        self.notes: list[str] = []
        self._documents: list[Part] = []
        self._steps: dict[str, list[tuple[Part, Site, str]]] = {}

    def document(self, part: Part, sites: list[tuple[Site, str]], uses: Uses | None) -> None:
        """Take in the sites of one document with their new images; raises SpecError."""
        target = self.target
        if not (target.pull_secrets or target.pull_policy or target.annotations):
            return
        self._documents.append(part)
        wishes: dict[int, _Wish] = {}
        for site, image in sites:
            if site.platform:
                self._steps.setdefault(site.platform, []).append((part, site, image))
                continue
            self._secrets(part, site, wishes)
            self._policy(part, site, wishes)
        for wish in wishes.values():
            if uses is not None and uses.count(wish.holder) > len(wish.sites):
                raise SharedImageError(
                    part.source.filename,
                    part.source.line(wish.holder.start),
                    "what is needed to pull the image would also go to places that an alias leads"
                    " to and that are not to change; write this out there",
                )
            path, site = next(iter(wish.sites.items()))
            self._add(part, site, wish.holder, wish.wanted, path)

    def finish(self) -> None:
        """What goes to a document of its own, KFP's platform document, is added last."""
        for platform, steps in self._steps.items():
            config: dict[str, Value] = {}
            if self.target.pull_secrets:
                # Servers before 2.5 read only the name, later ones the parameter.
                config["imagePullSecret"] = [
                    {
                        "secretName": name,
                        "secretNameParameter": {"runtimeValue": {"constant": name}},
                    }
                    for name in self.target.pull_secrets
                ]
            if self.target.pull_policy:
                config["imagePullPolicy"] = self.target.pull_policy.value
            executors: dict[str, Value] = {}
            for _, site, image in steps:
                said_of = dict(config)
                if notes := self.target.annotations.get(image):
                    said_of["podMetadata"] = {"annotations": dict(notes)}
                if said_of:
                    executors[site.container] = said_of
            if executors:
                self._platform(platform, steps, executors)

    def _secrets(self, part: Part, site: Site, wishes: dict[int, _Wish]) -> None:
        names = self.target.pull_secrets
        if not names:
            return
        place = site.secrets
        if place is None:
            self._homeless(part, site, "pull secret")
            return
        wish = wishes.setdefault(id(place.holder), _Wish(place.holder, {}))
        wish.wanted[place.key] = list(names) if place.plain else [{"name": n} for n in names]
        wish.sites[place.path.rpartition(".")[0]] = site

    def _policy(self, part: Part, site: Site, wishes: dict[int, _Wish]) -> None:
        if self.target.pull_policy is None:
            return
        if site.policy is None:
            self._homeless(part, site, "pull policy")
            return
        wish = wishes.setdefault(id(site.holder), _Wish(site.holder, {}))
        wish.wanted[site.policy] = self.target.pull_policy.value
        wish.sites[site.path.rpartition(".")[0]] = site

    def _homeless(self, part: Part, site: Site, what: str) -> None:
        self.notes.append(
            f"line {part.source.line(site.start)}: the table of kinds has no place for a {what} of"
            f" {site.kind}, so none is added"
        )

    def _platform(
        self, platform: str, steps: list[tuple[Part, Site, str]], executors: dict[str, Value]
    ) -> None:
        """Into the document that has it, into the pipeline's own, or into a new one at the end."""
        keys = platform.split(".")
        part, site, _ = steps[0]
        for length in range(len(keys), 0, -1):
            for other in self._documents:
                for hit in walk(other.root, ".".join(keys[:length])):
                    if isinstance(hit.real, Mapping):
                        wanted = _nested(keys[length:], executors)
                        self._add(other, site, hit.real, wanted, hit.path)
                        return
        root = part.root
        if not isinstance(root, Mapping):
            return
        parent = ".".join(keys[:-5])
        if keys[0] != "platforms":
            for hit in walk(root, parent):
                if isinstance(hit.real, Mapping):
                    self._add(part, site, hit.real, _nested(keys[-5:], executors), hit.path)
        elif not root.flow and part.around is None:
            self.edits.append((part, [document(part.source, _nested(keys, executors))]))
            self._changed(part, site, platform, root.start, None, said(executors))
        else:
            self._homeless(part, site, "pull secret or policy")

    def _add(
        self, part: Part, site: Site, holder: Mapping, wanted: dict[str, Value], path: str
    ) -> None:
        found = list(added(part.source, holder, wanted, path))
        if found:
            self.edits.append((part, [one.edit for one in found]))
        for one in found:
            self._changed(part, site, one.path, one.node.start, one.before, one.after)

    def _changed(
        self, part: Part, site: Site, path: str, start: int, before: str | None, after: str
    ) -> None:
        line = part.source.line(start)
        change = Change(
            part.number, line, site.kind, site.name, path, site.container, before, after
        )
        self.changes.append((part.source.outermost((start, start, ""))[0], change))


def _nested(keys: list[str], value: dict[str, Value]) -> dict[str, Value]:
    for key in reversed(keys):
        value = {key: value}
    return value
