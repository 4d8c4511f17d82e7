"""Git, run so that no settings, its user's or a repository's, make it do more than fetch."""

from __future__ import annotations

import base64
import os
import shlex
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from builder.errors import (
    BuildError,
    DiskFullError,
    GitRefusedError,
    RefNotFoundError,
    SourceNotFoundError,
    SourceUnreachableError,
    TooLargeError,
)
from builder.source.model import SourcePolicy
from builder.source.names import human
from builder.source.process import Ran, run
from builder.source.url import GitUrl

_KEPT = ("PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH")
_PROXIES = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
)


class Git:
    """A git with an empty home of its own; a context manager, since it keeps that home on disk.

    All calls share one deadline: `ends`, on the monotonic clock, or the policy's time limit from
    when it is entered. `spent_bytes` count towards the policy's limit as if they were its own.
    """

    def __init__(
        self, url: GitUrl, policy: SourcePolicy, *, ends: float | None = None, spent_bytes: int = 0
    ) -> None:
        self.url = url
        self.policy = policy
        self._ends = ends
        self._spent_bytes = spent_bytes
        self._home = tempfile.TemporaryDirectory(prefix="kitbag-git-")
        self.home = Path(self._home.name)
        self.repository = self.home / "repository"

    def __enter__(self) -> Self:
        self._deadline = self._ends or time.monotonic() + self.policy.timeout_s
        (self.home / "config").touch(mode=0o600)
        (self.home / "config").write_text(self._config())
        self.repository.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._home.cleanup()

    def __call__(self, *arguments: str) -> Ran:
        """Run git in the repository; the caller reads the status."""
        return self.run("git", *arguments)

    def ssh(self, *command: str) -> Ran:
        """Run a command on the URL's host, as git does to fetch from it."""
        where = [f"-p{self.url.port}", "--", self._ssh_host(), shlex.join(command)]
        return self.run(*self._ssh(), *where)

    def run(self, *command: str) -> Ran:
        """Run a program as git is run: the same home, limits and deadline."""
        return run(
            command,
            env=self._environment(),
            cwd=self.repository,
            deadline=self._deadline,
            cancelled=self.policy.cancelled,
            probe=self._check_size,
            max_file_bytes=self.policy.max_bytes,
        )

    def must(self, *arguments: str) -> bytes:
        """Run git and return what it printed; raises what `explain` makes of a failure."""
        ran = self(*arguments)
        if ran.status:
            raise self.explain(ran)
        return ran.out

    def explain(self, ran: Ran) -> BuildError:
        """The error that git's own message stands for; raises TooLargeError itself."""
        # A program of git's that is stopped at the limit of a file's size says nothing.
        self._check_size()
        return explain(ran, self.url)

    def size_bytes(self) -> int:
        """What was downloaded so far."""
        size = 0
        for folder, _, names in os.walk(self.repository):
            for name in names:
                try:
                    size += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
                except FileNotFoundError:
                    continue
        return size

    def _check_size(self) -> None:
        if self._spent_bytes + self.size_bytes() > self.policy.max_bytes:
            raise _too_large(self.policy)

    def _config(self) -> str:
        lines = [
            "[core]\n\thooksPath = /dev/null\n\taskPass =\n\tfsmonitor = false\n\tsymlinks = true",
            "\tprotectHFS = true\n\tprotectNTFS = true",
            "\tautocrlf = false\n\tattributesFile = /dev/null",
            "[init]\n\ttemplateDir =\n\tdefaultBranch = main",
            "[credential]\n\thelper =",
            "[fetch]\n\tunpackLimit = 1\n\trecurseSubmodules = false\n\twriteCommitGraph = false",
            "[submodule]\n\trecurse = false",
            "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false",
            "[protocol]\n\tversion = 2",
            "[safe]\n\tdirectory = *",
            "[http]\n\tfollowRedirects = false\n\tlowSpeedLimit = 100\n\tlowSpeedTime = 30",
        ]
        if self.policy.ca_bundle is not None:
            lines.append(f"\tsslCAInfo = {_quoted(str(self.policy.ca_bundle))}")
        if self.url.scheme in ("http", "https"):
            if self.url.addresses and ":" not in self.url.host:
                # The address that was checked is the one that is used, whatever DNS says next.
                shown = ",".join(str(address) for address in self.url.addresses)
                pinned = f"{self.url.host}:{self.url.port}:{shown}"
                lines.append(f"\tcurloptResolve = {_quoted(pinned)}")
            login = (self.url.user, self.url.password or "") if self.url.user else None
            if login := login or self.policy.login:
                pair = ":".join(login).encode()
                header = f"Authorization: Basic {base64.b64encode(pair).decode()}"
                lines.append(f"\textraHeader = {_quoted(header)}")
        return "\n".join(lines) + "\n"

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in (*_KEPT, *_PROXIES) if name in os.environ}
        return kept | {
            "LC_ALL": "C",
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.home / "config"),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(self.home),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": self.url.scheme,
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_SSH_COMMAND": shlex.join(self._ssh()),
            "GIT_SSH_VARIANT": "ssh",
        }

    def _ssh_host(self) -> str:
        return f"{self.url.user}@{self.url.host}" if self.url.user else self.url.host

    def _ssh(self) -> list[str]:
        command = ["ssh", "-F", "/dev/null", "-oBatchMode=yes", "-oConnectTimeout=20"]
        command += ["-oForwardAgent=no", "-oClearAllForwardings=yes", "-oPermitLocalCommand=no"]
        if self.policy.ssh_key is not None:
            command += ["-oIdentitiesOnly=yes", f"-oIdentityFile={self.policy.ssh_key}"]
        if self.policy.known_hosts is not None:
            command += ["-oStrictHostKeyChecking=yes"]
            command += [f"-oUserKnownHostsFile={self.policy.known_hosts}"]
        else:
            command += ["-oStrictHostKeyChecking=accept-new"]
            command += [f"-oUserKnownHostsFile={self.home / 'known_hosts'}"]
        if self.url.scheme == "ssh" and self.url.addresses:
            # The checked address is used; the key is looked up as known_hosts names the host.
            known = self.url.host if self.url.port == 22 else f"[{self.url.host}]:{self.url.port}"
            command += [f"-oHostName={self.url.addresses[0]}", f"-oHostKeyAlias={known}"]
        return command


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "") + '"'


def _too_large(policy: SourcePolicy) -> TooLargeError:
    return TooLargeError(
        f"The repository is larger than {human(policy.max_bytes)}; keep data out of it, or build a "
        "smaller one."
    )


_SIGNS: tuple[tuple[type[BuildError], tuple[str, ...], str], ...] = (
    (
        DiskFullError,
        ("no space left on device", "disk quota exceeded"),
        "The worker's disk is full; free some space and try again.",
    ),
    (
        GitRefusedError,
        ("unable to update url base from redirection", "returned error: 30"),
        "{url} redirects to another place, which is not followed; give the URL it redirects to.",
    ),
    (
        GitRefusedError,
        ("' not allowed",),
        "Git refused the transport of {url}; use an https URL.",
    ),
    (
        RefNotFoundError,
        ("couldn't find remote ref", "not our ref", "unadvertised object", "bad object"),
        "{url} has no such branch, tag or commit; check the ref.",
    ),
    (
        SourceNotFoundError,
        (
            "could not read username", "could not read password", "terminal prompts disabled",
            "authentication failed", "permission denied", "returned error: 401",
            "returned error: 403", "access denied", "host key verification failed",
        ),
        "{url} does not exist or needs credentials; check the URL, or ask for access to be set up.",
    ),
    (
        SourceNotFoundError,
        (
            "repository not found", "' not found", "does not exist", "returned error: 404",
            "does not appear to be a git repository", "not exported", "no such file or directory",
        ),
        "There is no git repository at {url}; check the URL.",
    ),
    (
        SourceUnreachableError,
        ("could not resolve host", "name or service not known", "temporary failure in name",
         "unable to look up"),
        "The host of {url} is not known; check the URL.",
    ),
    (
        SourceUnreachableError,
        ("ssl certificate", "certificate verif", "server certificate"),
        "The certificate of {url} can't be verified; ask the operator to add its authority.",
    ),
)  # fmt: skip


def explain(ran: Ran, url: GitUrl) -> BuildError:
    """The error that git's message stands for; anything unknown counts as a host that fails."""
    message = ran.err.lower()
    for kind, signs, sentence in _SIGNS:
        if any(sign in message for sign in signs):
            return kind(sentence.format(url=url.text))
    lines = [line.strip() for line in url.hide(ran.err).splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
    reason = fatal[-1].split(": ", 1)[-1].rstrip(".")[:200] if fatal else f"status {ran.status}"
    return SourceUnreachableError(
        f"{url.text} did not answer as a git server ({reason}); try again."
    )
