"""What a registry's refusal means, as one sentence that says what to do."""

from __future__ import annotations

import json
import re

from builder.errors import BlobsLostError, NoDeletesError, StoreRefusedError
from builder.stores.parse import parse_object

MAX_QUOTE = 300
MAX_ERRORS = 256

_REPO_PATH = re.compile(r"/v2/(.+)/(?:blobs|manifests|tags)/")
_LOST = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_QUOTA = re.compile(r"quota|exceed|storage limit|insufficient storage", re.IGNORECASE)


def problem(
    *,
    host: str,
    method: str,
    path: str,
    status: int,
    text: str,
    logged_in: bool,
    denied: bool = False,
) -> StoreRefusedError:
    """The error for a status that ends an operation; `text` is the body, without secrets.

    `denied` says that a 401 is about the right to do this, and not about who asks.
    """
    match = _REPO_PATH.match(path)
    place = f"{host}/{match[1]}" if match else host
    codes, said, digests = _read(text)
    quoted = f" ({said})" if said else ""
    writing = method in ("POST", "PUT", "PATCH", "DELETE")
    wish = "delete from" if method == "DELETE" else "push to" if writing else "pull from"
    if method == "DELETE" and (status == 405 or "UNSUPPORTED" in codes):
        sentence = (
            f"{host} deletes nothing{quoted}: its operator must enable it, as by "
            "REGISTRY_STORAGE_DELETE_ENABLED=true"
        )
        return NoDeletesError(sentence, host=host, status=status)
    if codes & _LOST and method == "PUT":
        sentence = f"{place} does not hold all blobs of the image{quoted}: build it again"
        return BlobsLostError(sentence, digests, host=host, status=status)
    if status == 507 or _QUOTA.search(said):
        sentence = f"{place} is out of quota{quoted}: delete old versions or ask for more"
    elif status == 401 and not logged_in:
        sentence = (
            f"{place} wants credentials{quoted}: run `docker login {host}`, or add it to the "
            "Docker config"
        )
    elif status == 401 and not denied:
        sentence = (
            f"{host} does not accept the credentials for {place}{quoted}: run `docker login "
            f"{host}` again, or correct the Docker config"
        )
    elif status == 403 or denied:
        sentence = (
            f"{host} does not allow this login to {wish} {place}{quoted}: ask its operator for "
            "that right, or use another login"
        )
    elif status == 404 and writing:
        sentence = f"{place} does not exist{quoted}: create the repository, then build again"
    elif status == 405 and writing:
        sentence = (
            f"{place} takes no pushes{quoted}: it is read-only or a cache, choose another registry"
        )
    elif status == 413:
        sentence = (
            f"{place} refuses blobs of this size{quoted}: ask its operator to raise the limit"
        )
    else:
        sentence = (
            f"{place} refused a {method} with HTTP {status}{quoted}: check the name and the "
            "registry's log"
        )
    return StoreRefusedError(sentence, host=host, status=status)


def _read(text: str) -> tuple[frozenset[str], str, frozenset[str]]:
    """The error codes of a registry's JSON, its first message as a short clean line, and digests.

    The digests are those of blobs that it misses: as the detail itself, or inside it.
    """
    try:
        errors = parse_object(text)["errors"]
        codes = frozenset(str(error.get("code", "")) for error in errors[:MAX_ERRORS])
        missed = [e.get("detail") for e in errors[:MAX_ERRORS] if e.get("code") in _LOST]
        first = errors[0]
        said = str(first.get("message") or first.get("code") or "")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return frozenset(), "", frozenset()
    clean = " ".join("".join(c if c.isprintable() else " " for c in said).split())
    digests = frozenset(_DIGEST.findall(json.dumps(missed)))
    return codes, clean[:MAX_QUOTE].rstrip("."), digests
