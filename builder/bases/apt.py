"""What the machine's own apt knows: which mirrors it uses, how it reaches them, what they offer.

Everything is asked of apt, so that both formats of its sources, its proxies and its certificates
count, and no host name stands in Kitbag.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from builder.errors import BaseNotFoundError, IndexUnreachableError

_HELPER = "/usr/lib/apt/apt-helper"
_RELEASE_LIMIT_BYTES = 16 << 20
_TIMEOUT_S = 60
_UNREAD = ("lists=/nonexistent", "status=/dev/null")
"""What apt would otherwise spend a second on reading, only to list its sources."""

_USERINFO = re.compile(r"//[^/@\s]*@")
_WORD = re.compile(r"[a-z0-9][a-z0-9.+/_-]*")


@dataclass(frozen=True, slots=True)
class Source:
    """One line of a sources.list: where the free part (`main`) of a suite is."""

    uri: str
    suite: str

    @property
    def public_uri(self) -> str:
        """The address without user and password, fit for an image, a log or an error."""
        parts = urlsplit(self.uri)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def line(self, *, public: bool) -> str:
        """The sources.list line, with the mirror's credentials or (`public`) without."""
        uri = self.public_uri if public else self.uri
        return f"deb {uri} {self.suite} main"


def architecture() -> str:
    """Debian's name of this machine's architecture, such as amd64."""
    return _run("dpkg", "--print-architecture").strip()


def sources(suite: str) -> tuple[Source, ...]:
    """Where this machine gets the suite, its updates and its security updates.

    If it uses another release of Debian, its mirrors are asked for `suite` instead. Raises
    BaseNotFoundError if apt knows no mirror of Debian.
    """
    if not _WORD.fullmatch(suite) or "/" in suite:
        raise BaseNotFoundError(
            f"{suite!r} is no release of Debian; give its name, as in bookworm."
        )
    known = _configured()
    if not any(source.suite == suite for source in known):
        known = _translated(known, suite)
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    found = tuple(source for source in known if source.suite in wanted)
    if not any(source.suite == suite for source in found):
        raise BaseNotFoundError(
            f"apt on this machine knows no mirror of Debian {suite}; add one to "
            "/etc/apt/sources.list or name a registry image as the base."
        )
    return found


def packages_digest(source: Source, architecture: str) -> str:
    """A hash of what the suite offers now; it stays while no package changes.

    The Release file itself is signed anew daily, so its list of Packages files is hashed. Nothing
    is verified here: apt does that when the packages are installed. Raises IndexUnreachableError if
    the mirror doesn't answer.
    """
    with tempfile.TemporaryDirectory(prefix="kitbag-apt-") as folder:
        target = Path(folder) / "InRelease"
        try:
            _run(
                _HELPER, "download-file", f"{source.uri}dists/{source.suite}/InRelease", str(target)
            )
        except BaseNotFoundError as error:
            raise IndexUnreachableError(
                f"The Debian mirror {source.public_uri} has no {source.suite} or does not answer; "
                "check /etc/apt/sources.list and the network, then try again."
            ) from error
        with target.open("rb") as file:
            release = file.read(_RELEASE_LIMIT_BYTES).decode("utf-8", "replace")
    names = {f"main/binary-{binary}/Packages" for binary in (architecture, "all")}
    offered = sorted(
        {
            (fields[2], fields[0])
            for fields in map(str.split, release.splitlines())
            if len(fields) == 3 and fields[2] in names and re.fullmatch(r"[0-9a-f]{64}", fields[0])
        }
    )
    return hashlib.sha256(repr(offered).encode()).hexdigest()


def acquire_settings() -> str:
    """How this machine's apt reaches its mirrors: proxies and certificates, as an apt.conf."""
    dump = _run("apt-config", "dump", "--no-empty", "Acquire")
    kept = re.compile(r"Acquire::(https?)::(?!\d)[\w.:/-]+ |Acquire::Check-Valid-Until ")
    return "".join(f"{line}\n" for line in dump.splitlines() if kept.match(line))


def _configured() -> tuple[Source, ...]:
    fields = ("$(TARGET_OF)", "$(REPO_URI)", "$(RELEASE)", "$(COMPONENT)")
    listing = _run(
        "apt-get",
        *(f"-oDir::State::{part}" for part in _UNREAD),
        "indextargets",
        "--no-release-info",
        "--format",
        "\t".join(fields),
        "Identifier: Packages",
    )
    targets = (line.split("\t") for line in listing.splitlines())
    return tuple(
        dict.fromkeys(
            Source(uri, suite)
            for kind, uri, suite, component in targets
            if kind == "deb" and component == "main"
        )
    )


def _translated(known: Sequence[Source], suite: str) -> tuple[Source, ...]:
    """The same mirrors for another release: those that hold a release together with its updates."""
    names = {source.suite for source in known}
    releases = {name for name in names if f"{name}-updates" in names or f"{name}-security" in names}
    return tuple(
        Source(source.uri, suite + source.suite.removeprefix(release))
        for release in sorted(releases)
        for source in known
        if source.suite in (release, f"{release}-updates", f"{release}-security")
    )


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except FileNotFoundError as error:
        raise BaseNotFoundError(
            "This machine has no apt, so no Debian base can be made on it; "
            "name a registry image as the base."
        ) from error
    except subprocess.CalledProcessError as error:
        said = _USERINFO.sub("//", error.stderr.strip().partition("\n")[0][:300])
        raise BaseNotFoundError(
            f"{Path(command[0]).name} failed ({said or 'it gave no reason'}); "
            "correct the configuration of apt on this machine."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise IndexUnreachableError(
            f"{Path(command[0]).name} gave no answer in {_TIMEOUT_S} s; "
            "check the mirrors of /etc/apt/sources.list, then try again."
        ) from error
    return done.stdout
