"""Where the server is and which token it takes: arguments, environment, `kitbag login`'s file.

The file is `$XDG_CONFIG_HOME/kitbag/config.toml` (`~/.config` by default), readable by its owner
alone, with one `url`, at most one `token`, and as `kinds` the path of a table of kinds, if any.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from kitbag.errors import KitbagError

DEFAULT_URL = "http://127.0.0.1:8484"
CLUSTER_URL = "http://kitbag-api.kitbag.svc"
"""Where the server is in a cluster, when nothing else says so: release and namespace `kitbag`."""
PROJECTED_TOKEN = Path("/var/run/secrets/kitbag/token")
"""A token that a pod's own volume projects for Kitbag alone."""
ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""The token of a pod's service account."""

_MAX_BYTES = 64 * 1024
# What `save` writes: TOML whose basic strings are also JSON strings. Python 3.10 has no tomllib.
_LINE = re.compile(r'\s*(url|token|kinds)\s*=\s*("(?:[^"\\]|\\.)*")\s*(?:#.*)?')
_IGNORED = re.compile(r"\s*(?:#.*)?")


@dataclass(frozen=True)
class Config:
    """A server's address, without a slash at its end, and the token to show there.

    `kinds` is the path of a table of kinds for `pin`, relative to the configuration file.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    kinds: str | None = None


def path() -> Path:
    """The configuration file, whether it is there or not."""
    home = os.environ.get("XDG_CONFIG_HOME")
    # The XDG base directory specification says that a relative path is to be ignored.
    folder = Path(home) if home and Path(home).is_absolute() else Path.home() / ".config"
    return folder / "kitbag" / "config.toml"


def load(url: str | None = None, token: str | None = None) -> Config:
    """The configuration in force: each value from the first place that has it.

    The places are the arguments, KITBAG_URL and KITBAG_TOKEN, the file, the default: in a pod the
    cluster's own Kitbag, elsewhere this machine. A token of the file is for the URL of the file: it
    is not shown to any other server. Without any other token a pod's own is shown, to a server that
    KITBAG_URL or the cluster names: that of KITBAG_TOKEN_FILE, else PROJECTED_TOKEN, else, to a
    service of the cluster, ACCOUNT_TOKEN.
    """
    told = os.environ.get("KITBAG_URL") or None
    by_platform = url is None
    url = url or told
    # A secret out of a file often ends with a line end.
    token = (token or os.environ.get("KITBAG_TOKEN") or "").strip() or None
    saved = None if url and token else read(path())
    if url is None:
        in_pod = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
        url = saved.url if saved else CLUSTER_URL if in_pod else DEFAULT_URL
        by_platform = saved is None and in_pod
    url = checked(url)
    if token is None and saved and saved.url == url:
        token = saved.token
    if token is None and by_platform:
        token = _pods_token(url)
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise KitbagError("the token has characters that no token has: copy it once more")
    return Config(url, token)


def _pods_token(url: str) -> str | None:
    """The token of the pod that this is, None outside of one; KitbagError if it can't be read.

    That of the service account opens the cluster's API as well, so it stays in the cluster.
    """
    given = os.environ.get("KITBAG_TOKEN_FILE")
    files = [Path(given)] if given else [PROJECTED_TOKEN]
    host = urlsplit(url).hostname or ""
    if not given and host.endswith((".svc", ".svc.cluster.local")):
        files.append(ACCOUNT_TOKEN)
    file = next((file for file in files if file.exists()), None)
    try:
        return file.read_text(errors="replace").strip() or None if file else None
    except OSError as error:
        raise KitbagError(f"{file} can't be read: {error.strerror}") from error


def kinds() -> Path | None:
    """The user's table of kinds: that of KITBAG_KINDS, else that of the file, else none."""
    given = os.environ.get("KITBAG_KINDS")
    if given:
        return Path(given)
    file = path()
    saved = read(file)
    return file.parent / Path(saved.kinds).expanduser() if saved and saved.kinds else None


def checked(url: str) -> str:
    """The URL without a slash at its end; KitbagError if no server can have such an address."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username or parts.password or parts.query or parts.fragment:
        shown = re.sub(r"//[^/@]*@", "//…@", url)
        raise KitbagError(f"{shown!r} is no server's address: write http(s)://HOST[:PORT]")
    return url.rstrip("/")


def read(file: Path) -> Config | None:
    """What the file says, None if there is none; KitbagError where it can't be read."""
    try:
        with file.open("rb") as stream:
            text = stream.read(_MAX_BYTES).decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise KitbagError(f"{file} can't be read: {reason}") from error
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match:
            values[match[1]] = json.loads(match[2])
        elif not _IGNORED.fullmatch(line):
            raise KitbagError(f'{file}:{number}: only url, token and kinds = "…" are known here')
    url = checked(values.get("url", DEFAULT_URL))
    return Config(url, values.get("token") or None, values.get("kinds") or None)


def save(config: Config) -> Path:
    """Write the file, whole or not at all, for its owner's eyes only; returns its path."""
    file = path()
    text = f"url = {json.dumps(config.url)}\n"
    if config.token:
        text += f"token = {json.dumps(config.token)}\n"
    if config.kinds:
        text += f"kinds = {json.dumps(config.kinds)}\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp's files are 0600 from the start.
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".config-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise KitbagError(f"{file} can't be written: {error.strerror}") from error
    return file
