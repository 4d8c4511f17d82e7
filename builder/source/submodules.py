"""Which repositories a commit's submodules are, and what may be shown to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from builder.errors import GitRefusedError, InvalidSpecError, TooLargeError
from builder.source.gitcommand import Git
from builder.source.model import SourcePolicy
from builder.source.names import parts_of, shown
from builder.source.url import GitUrl, absolute, read_url

_FILE = ".gitmodules"
_MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Submodule:
    """A repository at a folder of another one; `url` is as `.gitmodules` has it."""

    path: str
    commit: str
    url: str


def declared(git: Git, commit: str, found: Mapping[str, str]) -> list[Submodule]:
    """The submodules of a commit, `found` in its tree as path to commit, with their URLs.

    Those that `.gitmodules` says are never updated are left out, as git does. Raises
    InvalidSpecError for one that it says nothing of.
    """
    sections = _sections(git, commit)
    by_path = {each["path"].rstrip("/"): each for each in sections if each.get("path")}
    made = []
    for path, wanted in sorted(found.items()):
        parts_of(path)
        section = by_path.get(path, {})
        if section.get("update") == "none":
            continue
        if not section.get("url"):
            raise InvalidSpecError(
                f"The folder '{shown(path)}' is a submodule, and {_FILE} has no URL for it; add "
                "it, or remove the submodule.",
                file=_FILE,
            )
        made.append(Submodule(path, wanted, section["url"]))
    return made


def _sections(git: Git, commit: str) -> list[Mapping[str, str]]:
    """The settings of each submodule; git reads them, and follows no include of a blob."""
    blob = f"{commit}:{_FILE}"
    size = git("cat-file", "-s", blob)
    if size.status:
        return []
    if int(size.out) > _MAX_FILE_BYTES:
        raise TooLargeError(f"The file {_FILE} is over 1 MiB; keep to fewer submodules.")
    ran = git("config", "--blob", blob, "--null", "--list")
    if ran.status:
        raise InvalidSpecError(f"The file {_FILE} can't be read; check its syntax.", file=_FILE)
    sections: dict[str, dict[str, str]] = defaultdict(dict)
    for line in ran.out.decode(errors="surrogateescape").split("\0"):
        key, _, value = line.partition("\n")
        kind, _, rest = key.partition(".")
        name, _, setting = rest.rpartition(".")
        if kind == "submodule" and name:
            sections[name][setting] = value
    return list(sections.values())


def located(
    url: str, above: GitUrl, main: GitUrl, policy: SourcePolicy
) -> tuple[GitUrl, SourcePolicy]:
    """Where a submodule of the repository `above` is, and the policy to fetch it with.

    `main` is the repository that was asked for, whose login or key `policy` has: they are shown
    to its own scheme, host and port, and to no other. An ssh URL of its host is fetched as the main
    repository is, since there is no key for it. Raises GitRefusedError.
    """
    if url.startswith(("./", "../")):
        url = _beside(above, url)
    found = read_url(_as_main(url, main), policy)
    if found.scheme == "file" and above.scheme != "file":
        raise GitRefusedError("A repository of the network may not have one of this machine in it.")
    if _origin(found) != _origin(main):
        return found, replace(policy, login=None, ssh_key=None, known_hosts=None)
    if main.scheme in ("http", "https") and main.user:
        return found, replace(policy, login=(main.user, main.password or ""))
    return found, policy


def _beside(above: GitUrl, url: str) -> str:
    """A relative URL, which git reads as beginning at the URL of the repository that has it."""
    parts = urlsplit(above.text)
    path = [part for part in parts.path.split("/") if part]
    for part in url.split("/"):
        if part == ".." and not path:
            raise GitRefusedError("Its relative URL leads out of the host; give a whole one.")
        if part == "..":
            path.pop()
        elif part not in ("", "."):
            path.append(part)
    return f"{parts.scheme}://{parts.netloc}/{'/'.join(path)}"


def _as_main(url: str, main: GitUrl) -> str:
    if main.scheme not in ("http", "https") or url.startswith("/"):
        return url
    try:
        parts = urlsplit(url if "://" in url else absolute(url))
    except ValueError:
        return url  # `read_url` says what is wrong with it
    if parts.scheme.lower() != "ssh" or parts.hostname != main.host:
        return url
    return f"{main.scheme}://{urlsplit(main.text).netloc}{parts.path}"


def _origin(url: GitUrl) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port
