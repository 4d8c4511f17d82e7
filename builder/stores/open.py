"""A store by its URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from builder.errors import InvalidSpecError
from builder.source import HostPolicy
from builder.stores.credentials import Credentials, DockerConfig
from builder.stores.layout import LayoutStore
from builder.stores.protocol import Store
from builder.stores.registry import RegistryStore

_PLAIN_HTTP = {"registry": None, "https": False, "http": True}


def open_store(
    url: str,
    *,
    credentials: Credentials | None = None,
    ca_bundle: Path | None = None,
    host: str = "",
    parallel: int = 8,
    timeout_s: float = 60,
    deadline_s: float = 3600,
    more_headers: Callable[[], Mapping[str, str]] = dict,
    policy: HostPolicy | None = None,
) -> Store:
    """The store that `url` names.

    `registry://HOST[:PORT][/PREFIX]` (HTTP for this machine's own addresses, HTTPS for others),
    `https://…` and `http://…` are registries; `oci:PATH` and a plain path are layouts. Without
    credentials a registry gets those of the Docker config; `host` is where a layout is served;
    `more_headers` are asked for with each request to a registry; `policy` says what may be
    connected to on the way to one that a user names.
    Raises InvalidSpecError for anything else, also for a URL with a password in it: URLs are shown.
    """
    scheme, colon, rest = url.partition(":")
    if colon and rest.startswith("//"):
        parts = urlsplit(url)
        if scheme not in _PLAIN_HTTP:
            raise InvalidSpecError(
                f"{scheme[:20]}:// is no kind of store: write registry://HOST/PREFIX or oci:PATH"
            )
        if "@" in parts.netloc:
            raise InvalidSpecError(
                "A store's URL may hold no user or password: put them into the Docker config"
            )
        if parts.query or parts.fragment:
            raise InvalidSpecError("A store's URL ends with its prefix: remove what follows ? or #")
        return RegistryStore(
            parts.netloc,
            prefix=parts.path.strip("/"),
            credentials=credentials or DockerConfig(),
            plain_http=_PLAIN_HTTP[scheme],
            ca_bundle=ca_bundle,
            parallel=parallel,
            timeout_s=timeout_s,
            deadline_s=deadline_s,
            more_headers=more_headers,
            policy=policy,
        )
    path = rest if colon and scheme == "oci" else url
    if not path:
        raise InvalidSpecError("The store has no path: write oci:PATH or registry://HOST/PREFIX")
    return LayoutStore(Path(path).expanduser().absolute(), host=host)
