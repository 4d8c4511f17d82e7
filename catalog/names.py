"""Environment names: NAMESPACE/NAME, valid as an OCI repository and in a Kubernetes label."""

from __future__ import annotations

import re

from catalog.errors import InvalidNameError

MAX_PART_CHARS = 63
# As the client reads references (kitbag.refs): no dots, since labels write NAMESPACE.NAME.VERSION.
_PART = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")


def split(full_name: str) -> tuple[str, str]:
    """The namespace and the name; raises InvalidNameError."""
    namespace, slash, name = full_name.partition("/")
    for part in (namespace, name):
        if not slash or not is_part(part):
            raise InvalidNameError(
                f"The environment {full_name[:200]!r} must be NAMESPACE/NAME, each of lower-case "
                f"letters, digits and inner hyphens, at most {MAX_PART_CHARS} long."
            )
    return namespace, name


def is_part(text: str) -> bool:
    """Whether it can be a namespace, or the name in one."""
    return len(text) <= MAX_PART_CHARS and _PART.fullmatch(text) is not None


def derived(text: str) -> str | None:
    """The nearest valid name part, such as 3dgan for 3DGAN.git; None if nothing valid is left."""
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower().removesuffix(".git")).strip("-")
    return kept[:MAX_PART_CHARS].rstrip("-") or None
