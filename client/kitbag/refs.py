"""References to environments: `NS/NAME[:VERSION]`, and how manifests write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

SCHEME = "kitbag://"
ANNOTATION = "kitbag.dev/environment"

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
# A number, `latest`, a git commit prefix and a branch are all tags of this form.
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_MAX_CHARS = 63 + 1 + 63 + 1 + 128


@dataclass(frozen=True, slots=True, order=True)
class EnvRef:
    """An environment, and which of its versions; no version means `latest`."""

    namespace: str
    name: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> EnvRef:
        """Read `NS/NAME[:VERSION]`, with or without `kitbag://` before it.

        Raises ValueError with one sentence when the text names no environment.
        """
        body = text.removeprefix(SCHEME)
        if len(body) <= _MAX_CHARS:
            namespace, slash, rest = body.partition("/")
            name, colon, version = rest.partition(":")
            if slash and (version or not colon):
                return cls._checked(text, namespace, name, version or None)
        raise ValueError(f"{_shown(text)} is not an environment: write NAMESPACE/NAME[:VERSION]")

    @classmethod
    def parse_label(cls, text: str) -> EnvRef:
        """Read `NS.NAME[.VERSION]`, the form that fits a Kubernetes label.

        The version is everything after the second dot, so it may hold dots itself.
        """
        parts = text.split(".", 2)
        if len(text) <= _MAX_CHARS and len(parts) >= 2:
            return cls._checked(text, parts[0], parts[1], parts[2] if len(parts) == 3 else None)
        raise ValueError(f"{_shown(text)} is not an environment: write NAMESPACE.NAME[.VERSION]")

    @classmethod
    def _checked(cls, text: str, namespace: str, name: str, version: str | None) -> EnvRef:
        for part in (namespace, name):
            if not _NAME.fullmatch(part):
                raise ValueError(
                    f"{_shown(text)} is not an environment: {_shown(part)} must be lower-case"
                    " letters, digits and inner hyphens, 63 at most"
                )
        if version is not None and not _VERSION.fullmatch(version):
            raise ValueError(
                f"{_shown(text)} is not an environment: the version {_shown(version)} must be a"
                " number, 'latest', a commit or a branch-like tag"
            )
        return cls(namespace, name, version)

    @property
    def environment(self) -> str:
        """`NS/NAME`: the environment without the version."""
        return f"{self.namespace}/{self.name}"

    @property
    def number(self) -> int | None:
        """The version as a number, or None when it is a tag, a commit or absent."""
        return int(self.version) if self.version and self.version.isdecimal() else None

    @property
    def may_be_commit(self) -> bool:
        """Whether the version could be a git commit prefix (7 to 40 hex digits)."""
        return bool(self.version and _COMMIT.fullmatch(self.version))

    @property
    def uri(self) -> str:
        """`kitbag://NS/NAME[:VERSION]`, as manifests write it."""
        return f"{SCHEME}{self}"

    def __str__(self) -> str:
        return self.environment + (f":{self.version}" if self.version else "")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
