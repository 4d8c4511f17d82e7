"""Image references as people write them."""

from __future__ import annotations

from dataclasses import dataclass

from builder.errors import InvalidSpecError
from builder.stores.names import check_host, check_reference, check_repo, is_digest

_LIMIT_CHARS = 512
_HUB = "docker.io"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is: registry host, repository path, tag or digest."""

    host: str
    repo: str
    reference: str

    def __str__(self) -> str:
        return f"{self.host}/{self.repo}{'@' if self.is_pinned else ':'}{self.reference}"

    @property
    def is_pinned(self) -> bool:
        """Whether it names a digest, so that it means the same image for ever."""
        return is_digest(self.reference)


def parse_reference(text: str) -> Reference:
    """Read `[HOST/]REPO[:TAG][@DIGEST]` as `docker pull` does: the hub, `library/` and `latest`
    are understood, a digest counts more than a tag. Raises InvalidSpecError.
    """
    if len(text) > _LIMIT_CHARS:
        raise InvalidSpecError("The image's name is too long; write HOST/REPOSITORY:TAG.")
    name, pinned, digest = text.strip().partition("@")
    folders, slash, last = name.rpartition("/")
    last, tagged, tag = last.partition(":")
    name = folders + slash + last
    reference = digest if pinned else tag if tagged else "latest"
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        host, repo = check_host(first), rest
    else:
        host, repo = _HUB, name
    if host == _HUB and "/" not in repo:
        repo = f"library/{repo}"
    return Reference(host, check_repo(repo), check_reference(reference))
