"""Run uv so that nothing but what is passed here decides what it resolves."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

from builder.choices import IndexStrategy
from builder.errors import DiskFullError
from builder.guard import guard
from builder.lock.model import Target, UvSettings
from builder.secrets import Secrets, own_secret, without_user
from builder.source.process import Ran, run

CONFIG = "uv.toml"

# A released file never changes, though not every mirror says so: its metadata is asked for once.
_FILES_STAY = 'cache-control = { files = "max-age=365000000, immutable" }'
_KEPT = ("PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_ROOM_BYTES = 1 << 20
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class Uv:
    """uv with one set of settings and a folder for its files; all its calls share one deadline."""

    def __init__(self, settings: UvSettings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.credentials: dict[str, str] = {}
        self._deadline = time.monotonic() + settings.timeout_s

    def __call__(self, *arguments: str) -> Ran:
        """Run a subcommand; the caller reads the status."""
        self.settings.cache_dir.mkdir(parents=True, exist_ok=True)
        config = self.folder / CONFIG
        if not config.exists():
            config.touch(mode=0o600)
        command = [
            uv.find_uv_bin(), *arguments, "--config-file", str(config), "--cache-dir",
            str(self.settings.cache_dir), "--no-python-downloads", "--no-progress",
            "--color", "never",
        ]  # fmt: skip
        environment = self._environment()
        if "--offline" in arguments or self.settings.hosts.private or _has_proxy(environment):
            return self._run(command, environment)
        own = {(host, port) for _, host, port in self.settings.own_origins}
        with guard(self.settings.hosts, own) as guarded:
            ran = self._run(command, environment | {"ALL_PROXY": guarded.url, "NO_PROXY": ""})
            if ran.status and guarded.refused is not None:
                raise guarded.refused
            return ran

    def _run(self, command: list[str], environment: dict[str, str]) -> Ran:
        """Run it; what ends by a signal says nothing about the requirements.

        uv aborts, and can't say why, where there is no room for what it says.
        """
        ran = self._to_its_end(command, environment)
        if ran.status < 0 and shutil.disk_usage(self.folder).free < _ROOM_BYTES:
            raise DiskFullError("The worker's disk is full; free some space and try again.")
        if ran.status < 0:
            raise RuntimeError(f"uv was ended by the signal {-ran.status}: {ran.err[-500:]}")
        return ran

    def _to_its_end(self, command: list[str], environment: dict[str, str]) -> Ran:
        return run(
            command,
            env=environment,
            cwd=self.folder,
            deadline=self._deadline,
            cancelled=self.settings.cancelled,
        )

    def compile(self, target: Target, source: Path, output: Path, more: Sequence[str] = ()) -> Ran:
        """`uv pip compile` of `source` into `output`, a pylock.NAME.toml that may hold versions to
        prefer."""
        return self(
            "pip", "compile", str(source), "--output-file", str(output), "--format", "pylock.toml",
            "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:",
            "--python-version", target.python, "--python-platform", target.uv_platform,
            "--python", sys.executable, *more,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        for name in _PROXIES:
            kept |= {each: os.environ[each] for each in (name, name.lower()) if each in os.environ}
        if self.settings.ca_bundle is not None:
            kept["SSL_CERT_FILE"] = str(self.settings.ca_bundle)
            kept.pop("SSL_CERT_DIR", None)
        return kept | self.credentials | {"HOME": str(self.folder), "LC_ALL": "C"}


def _has_proxy(environment: Mapping[str, str]) -> bool:
    """Whether a proxy of the site makes the connections; then it looks names up and decides."""
    return any(environment.get(each) for name in _PROXIES[:3] for each in (name, name.lower()))


@dataclass(frozen=True, slots=True)
class Indexes:
    """Where a run looks for packages: what a uv.toml says of it, in uv's order of precedence."""

    default: str | None = None
    extra: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    pre: bool = False
    strategy: IndexStrategy = IndexStrategy.FIRST_INDEX
    exclude_newer: str | None = None

    def write(self, folder: Path, secrets: Secrets) -> dict[str, str]:
        """Write the uv.toml, and return the variables with the credentials for its indexes: these
        are on no disk and no command line."""
        credentials = Credentials(secrets)
        lines = [
            f"index-strategy = {json.dumps(self.strategy)}",
            f"no-index = {json.dumps(self.no_index)}",
        ]
        if self.exclude_newer is not None:
            lines.append(f"exclude-newer = {json.dumps(self.exclude_newer)}")
        if self.find_links:
            lines.append(f"find-links = {json.dumps(list(self.find_links))}")
        if self.pre:
            lines.append('prerelease = "allow"')
        for url in self.users:
            lines += ["[[index]]", *credentials.lines(url)]
        for url in self.extra:
            lines += ["[[index]]", *credentials.lines(url), _FILES_STAY]
        if self.default is not None:
            lines += [
                "[[index]]",
                *credentials.lines(self.default),
                "default = true",
                _FILES_STAY,
            ]
        config = folder / CONFIG
        config.touch(mode=0o600)
        config.write_text("\n".join(lines) + "\n")
        return credentials.variables


class Credentials:
    """Gives uv the user and password of indexes by variables: UV_INDEX_NAME_USERNAME, …_PASSWORD.

    uv sends them to the index's own host only (https://docs.astral.sh/uv, alternative indexes).
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self.variables: dict[str, str] = {}

    def lines(self, url: str, name: str | None = None) -> list[str]:
        """An index's url, and its name if it has one or needs one."""
        secret = self._secrets.for_url(url)
        if secret is None and "{" not in url:
            secret = own_secret(url, "")
        if secret is not None:
            name = name or f"kitbag{len(self.variables) // 2}"
            variable = f"UV_INDEX_{name.upper().replace('-', '_')}"
            self.variables[f"{variable}_USERNAME"] = secret.username
            self.variables[f"{variable}_PASSWORD"] = secret.password
        named = [] if name is None else [f"name = {json.dumps(name)}"]
        return [f"url = {json.dumps(without_user(url))}", *named]


@functools.cache
def own_index() -> str | None:
    """The index that uv asks when it is told of none, by its own word; None if it does not say."""
    with tempfile.TemporaryDirectory(prefix="kitbag-uv-") as name:
        folder = Path(name)
        (folder / "none.in").touch()
        ran = run(
            [uv.find_uv_bin(), "pip", "compile", "none.in", "--emit-index-url", "--no-header",
             "--quiet", "--no-config", "--offline", "--no-cache", "--python", sys.executable],
            env={"PATH": os.environ.get("PATH", ""), "HOME": name},
            cwd=folder,
            deadline=time.monotonic() + 30,
            cancelled=lambda: False,
        )  # fmt: skip
    match = re.search(r"^--index-url (\S+)$", ran.out.decode(errors="replace"), re.MULTILINE)
    return match[1] if match else None
