"""A Docker CLI's configuration folder of our own: no login, or one, and never the user's."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.stores.credentials import Login
from builder.stores.names import credential_hosts, is_hub


@contextmanager
def config_folder(
    host: str = "", login: Login | None = None, *, within: Path | None = None
) -> Iterator[Path]:
    """A value for DOCKER_CONFIG that knows at most the one login, gone when the block ends.

    `within` is a folder that goes when we are killed. Only its owner can read it; steps of a build
    never see it, since it is no part of a context.
    """
    with tempfile.TemporaryDirectory(prefix="kitbag-engine-", dir=within) as name:
        folder = Path(name)
        config = folder / "config.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"auths": _auths(host, login)}))
        yield folder


def _auths(host: str, login: Login | None) -> dict[str, dict[str, str]]:
    if login is None:
        return {}
    entry: dict[str, str] = {}
    if login.username or login.password:
        entry["auth"] = login.basic
    elif login.identity_token:
        # The CLI wants a user even where the token is all that counts.
        entry["auth"] = base64.b64encode(b"<token>:").decode()
    if login.identity_token:
        entry["identitytoken"] = login.identity_token
    if login.registry_token:
        entry["registrytoken"] = login.registry_token
    key = f"https://{credential_hosts(host)[0]}/v1/" if is_hub(host) else host
    return {key: entry}
