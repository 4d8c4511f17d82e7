"""Where the LFS server of a repository is, and what is shown to it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from pydantic import ValidationError

from builder.errors import GitRefusedError, SourceUnreachableError
from builder.source.gitcommand import Git
from builder.source.lfsapi import Authenticated, theirs


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server, and what is shown to its scheme, host and port alone."""

    url: httpx.URL
    headers: Mapping[str, str]


def endpoint_of(git: Git, commit: str) -> Endpoint:
    """Where a repository's LFS server is, and how it is asked."""
    own = httpx.URL(git.url.text) if git.url.scheme in ("http", "https") else None
    ran = git("config", "--blob", f"{commit}:.lfsconfig", "--get", "lfs.url")
    if named := ran.out.decode(errors="replace").strip():
        url = checked(git, named, "The URL of the LFS server in .lfsconfig")
    elif git.url.scheme == "ssh":
        return _by_ssh(git)
    elif own is not None:
        path = own.path.rstrip("/")
        url = own.copy_with(path=f"{path if path.endswith('.git') else path + '.git'}/info/lfs")
    else:
        raise GitRefusedError(
            f"LFS files can't be fetched over '{git.url.scheme}'; give an https or ssh URL."
        )
    same = own is not None and origin(url) == origin(own)
    return Endpoint(url, _login(git) if same else {})


def _login(git: Git) -> Mapping[str, str]:
    pair = (git.url.user, git.url.password or "") if git.url.user else git.policy.login
    if pair is None:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(':'.join(pair).encode()).decode()}"}


def _by_ssh(git: Git) -> Endpoint:
    path = "/" + git.url.text.partition("://")[2].partition("/")[2]
    ran = git.ssh("git-lfs-authenticate", path, "download")
    if ran.status:
        raise git.explain(ran)
    try:
        answer = Authenticated.model_validate_json(ran.out)
    except ValidationError as error:
        raise SourceUnreachableError(
            f"{git.url.text} did not tell where its LFS server is; ask for the repository's https "
            "URL."
        ) from error
    url = checked(git, answer.href, f"The URL of the LFS server that {git.url.host} tells")
    return Endpoint(url, theirs(answer.header))


def checked(git: Git, text: str, what: str, base: httpx.URL | None = None) -> httpx.URL:
    """The URL, if the policy allows its protocol; its host is looked at when it is asked."""
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except httpx.InvalidURL as error:
        raise GitRefusedError(f"{what} can't be read; it must be one of https.") from error
    plain = git.url.scheme == "http" or "http" in git.policy.protocols
    if not url.host or url.scheme not in ("https", *(("http",) if plain else ())):
        raise GitRefusedError(f"{what} is not of https, and other protocols are not allowed here.")
    # A user in it is the repository's own, and would be shown in messages.
    return url.copy_with(username=None, password=None)


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port; httpx leaves a usual port out."""
    return url.scheme, url.host, url.port
