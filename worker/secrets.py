"""The operator's secrets for indexes, git and forges: a folder with a TOML file for each."""

from __future__ import annotations

import fnmatch
import logging
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

from builder.secrets import Secret, Secrets, origin_of, own_secret
from telemetry.redact import hide
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_MAX_BYTES = 64 << 10
# What PyPI, Gitea, GitLab and others take as the user of a token.
_TOKEN_USER = "__token__"  # noqa: S105 # a user's name
_PORTS = {"https": 443, "http": 80, "ssh": 22}
_SHORT = re.compile(r"(?:[\w.-]+@)?(?P<host>[\w.-]+):[^:/].*")
AUTHOR = r"^[^<>\x00-\x1f\x7f]{1,100} <[^<>\x00-\x20\x7f]{1,200}>$"
_Namespace = Annotated[str, StringConstraints(min_length=1, max_length=63)]


class SecretFile(BaseModel):
    """A secret as the operator writes it; `namespaces` None lets every environment use it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = Field(description="https://HOST[:PORT]: where it may be sent; ssh:// for a key.")
    use: Literal["index", "git", "status", "gitops"] = "index"
    username: str = _TOKEN_USER
    password: SecretStr | None = None
    key: SecretStr | None = Field(None, description="A private key of OpenSSH, for git.")
    known_hosts: str | None = Field(None, description="The host's keys, for git over ssh.")
    namespaces: frozenset[_Namespace] | None = None
    users: frozenset[str] | None = Field(
        None, description="Whose builds may use it, as `kitbag whoami` names them; for git."
    )
    repositories: frozenset[str] | None = Field(
        None, description="Patterns of what may be pushed to, such as hep/*; the host's else."
    )
    api: str | None = Field(None, description="The forge's API, for pull requests.")
    sign: SecretStr | None = Field(None, description="A private key, OpenSSH's or GnuPG's.")
    author: str | None = Field(None, description="NAME <EMAIL> of commits.", pattern=AUTHOR)

    @model_validator(mode="after")
    def _holds_one(self) -> Self:
        if self.users is not None and self.use != "git":
            raise ValueError("only a secret for git is for some users")
        ssh = self.use in ("git", "gitops") and self.url.startswith("ssh://")
        if self.use == "gitops":
            if (self.key is not None) != ssh or (self.password is None and not ssh):
                raise ValueError("a password for https, or a key for git over ssh")
            return self
        if any((self.repositories, self.api, self.sign, self.author)):
            raise ValueError("only a secret for gitops has these")
        if (self.key is not None) != ssh or (self.password is not None) == ssh:
            raise ValueError("a password for https, or a key for git over ssh")
        return self


def secrets_for(settings: WorkerSettings, namespace: str) -> Secrets:
    """What builds of this namespace may use: the settings' own credentials, then the folder's.

    The folder is read anew for each build, so that a secret may change at any time. A file that
    can't be read is left out, and the log says so.
    """
    found = [
        secret
        for url in (settings.index_url, *settings.extra_index_urls)
        if (secret := own_secret(url, "")) is not None
    ]
    listed = _listed(settings.secrets) if settings.secrets is not None else []
    # One that is for this namespace goes before one that is for all.
    for name, file in sorted(listed, key=lambda item: (item[1].namespaces is None, item[0])):
        if file.use != "index" or file.password is None:
            continue
        origin = origin_of(file.url)
        if origin is None:
            log.warning("secret %s is left out: its url is no https://HOST", name)
        elif file.namespaces is None or namespace in file.namespaces:
            password = file.password.get_secret_value()
            found.append(Secret(name, origin, file.username, password))
    return Secrets(found)


def for_git(
    settings: WorkerSettings, namespace: str, url: str, user: str = ""
) -> SecretFile | None:
    """The secret for a git URL's host that this user's builds in this namespace may use, if any is.

    The user's own goes before the namespace's, and that before one for all.
    """
    place = _place(url)
    if settings.secrets is None or place is None:
        return None
    fitting = [
        (name, file)
        for name, file in _listed(settings.secrets)
        if file.use == "git"
        and _place(file.url) == place
        and (file.namespaces is None or namespace in file.namespaces)
        and (file.users is None or user in file.users)
    ]
    fitting.sort(key=lambda item: (item[1].users is None, item[1].namespaces is None, item[0]))
    return fitting[0][1] if fitting else None


def for_status(settings: WorkerSettings, namespace: str, name: str) -> SecretFile | None:
    """The secret of that name for a forge's API, if environments of this namespace may use it."""
    if settings.secrets is None:
        return None
    for found, file in _listed(settings.secrets):
        usable = file.use == "status" and file.password is not None and origin_of(file.url)
        if found == name and usable and (file.namespaces is None or namespace in file.namespaces):
            return file
    return None


def for_gitops(settings: WorkerSettings, namespace: str, name: str, url: str) -> SecretFile | None:
    """The secret of that name for pushing to a git URL, if the namespace may use it there."""
    place = _place(url)
    if settings.secrets is None or place is None:
        return None
    for found, file in _listed(settings.secrets):
        usable = file.use == "gitops" and _place(file.url) == place
        if found == name and usable and (file.namespaces is None or namespace in file.namespaces):
            path = path_of(url)
            if file.repositories is None or any(
                fnmatch.fnmatchcase(path, each.lower()) for each in file.repositories
            ):
                return file
    return None


def path_of(url: str) -> str:
    """OWNER/REPO of a git URL in lower case, also of ssh's short form."""
    path = urlsplit(url).path if "://" in url else url.partition(":")[2]
    return path.strip("/").removesuffix(".git").lower()


def _place(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of a git URL, also of ssh's short form."""
    short = _SHORT.fullmatch(url) if "://" not in url else None
    if short is not None:
        url = f"ssh://{short['host']}"
    try:
        parts = urlsplit(url.removeprefix("git+"))
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname.rstrip(".").lower(), port


def _listed(folder: Path) -> list[tuple[str, SecretFile]]:
    found = []
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        log.warning("KITBAG_SECRETS can't be read: %s", error.strerror)
        return []
    for path in paths:
        name = path.name.removesuffix(".toml")
        # Kubernetes mounts keep their versions in folders that begin with dots.
        if path.name.startswith(".") or not path.is_file():
            continue
        if not _NAME.fullmatch(name):
            log.warning("a secret is left out: %r is no name; use a-z, 0-9, - and _", name[:80])
            continue
        try:
            found.append((name, _read(path)))
        except (OSError, ValueError):
            # Not the reason: it may quote the file.
            log.warning("secret %s is left out: it is no TOML of url, username, password", name)
    return found


def _read(path: Path) -> SecretFile:
    with path.open("rb") as file:
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise ValueError("too long")
    try:
        secret = SecretFile.model_validate(tomllib.loads(text.decode()))
    except ValidationError:
        raise ValueError("not a secret") from None
    if secret.password is not None:
        hide(secret.password.get_secret_value())
    return secret
