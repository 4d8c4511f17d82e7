"""What a version changes in a manifest of a repository: its environment's images, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kitbag import specs
from kitbag.refs import SCHEME, EnvRef

_FOLLOWS = (None, "latest")
_ALGORITHM = "sha256"


@dataclass(frozen=True, slots=True)
class New:
    """A version, as whoever reads the repository pulls it.

    `image` may be `Images`. `successors` says by the digest of an image of any version of the
    environment what takes its place; None where this version has nothing for its accelerator.
    """

    version: EnvRef
    image: str
    successors: Mapping[str, str | None] = field(default_factory=dict)
    pull_secrets: tuple[str, ...] = ()

    def instead_of(self, text: str) -> str | None:
        """What takes the place of what a manifest says; None to leave it.

        An image of a known digest, wherever it is pulled from, or of the repository; a part of one
        where a kind keeps it in parts; or a reference to the environment's newest version.
        """
        if text.startswith(SCHEME):
            return self._of_reference(text)
        for digest in (text.rpartition("@")[2], f"{_ALGORITHM}:{text}"):
            if digest in self.successors:
                return self.successors[digest]
        try:
            name = specs.ImageRef.parse(text.removesuffix(f"@{_ALGORITHM}")).name
        except ValueError:
            return None
        return self.image if name == specs.ImageRef.parse(self.image).name else None

    def resolve(self, name: str) -> str | None:
        """What an annotation or a reference stands for; None for another environment or version."""
        found = EnvRef.parse(name)
        follows = found.version in _FOLLOWS and found.environment == self.version.environment
        return self.image if follows else None

    def _of_reference(self, text: str) -> str | None:
        try:
            return self.resolve(text)
        except ValueError:
            return None


def pinned(
    data: bytes, filename: str, new: New, container: str | None, kinds: specs.Kinds | None
) -> specs.Pinned:
    """The manifest with the version's images where the environment's are; raises SpecError.

    Where an object is annotated with a version, or with another environment, it stays.
    """
    try:
        target = specs.Target(
            successor=new.instead_of, resolve=new.resolve, pull_secrets=new.pull_secrets
        )
        return specs.pin(data, target, container=container, filename=filename, kinds=kinds)
    except specs.UnknownContainerError:
        return specs.Pinned(data)  # the container that is meant is in another file
