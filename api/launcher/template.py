"""The operator's template of the address at which a notebook starts.

Only the operator decides where a link leads: what a request brings is quoted into the path or the
query, and a template with a placeholder in its scheme or host is refused.
"""

from __future__ import annotations

import string
from urllib.parse import quote, urlsplit

from api.environments.schemas import VersionOut

FIELDS = ("namespace", "name", "version", "environment", "profile", "image")


def checked(template: str) -> str:
    """The template; raises ValueError with what is wrong with it."""
    try:
        parsed = list(string.Formatter().parse(template))
        parts = urlsplit(template)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError as error:
        raise ValueError(f"it can't be read: {error}") from error
    for _, field, spec, conversion in parsed:
        if field is not None and (field not in FIELDS or spec or conversion):
            raise ValueError(f"the placeholders are {', '.join(f'{{{name}}}' for name in FIELDS)}")
    if not good or "{" in parts.netloc or parts.username or not template.isprintable():
        raise ValueError("give http(s)://HOST/…, with placeholders behind the host only")
    return template


def filled(template: str, version: VersionOut) -> str:
    """The address for one version; `profile` is the slug in `kitbag.jupyterhub`'s list."""
    namespace, _, name = version.environment.partition("/")
    values = {
        "namespace": namespace,
        "name": name,
        "version": str(version.number),
        "environment": f"{version.environment}:{version.number}",
        "profile": f"{namespace}.{name}.{version.number}",
        "image": version.image,
    }
    return template.format_map({key: quote(value, safe="") for key, value in values.items()})
