"""Who is what where, as the operator writes it into a file (docs/identity.md)."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from api.auth.principal import Grant, Role
from api.problems.validation import sentence
from catalog.names import is_part

log = logging.getLogger(__name__)
_MAX_BYTES = 1024 * 1024
_LOOK_S = 5.0
_NAMED = re.compile(r"\{(user|group)\}")

_Who = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^*]*\*?[^*]*$")]
_Where = Annotated[
    str, StringConstraints(max_length=63, pattern=r"^([a-z0-9{][-a-z0-9{}]*)?\*?$", min_length=1)
]


class GrantsError(ValueError):
    """The file can't be read; one sentence for the operator."""


class Rule(BaseModel):
    """A role for a user, a group, or a service account (NAMESPACE:NAME); `*` once is anything.

    In `namespaces`, `{user}` is the user's name and `{group}` what `*` stands for in the group's,
    where that is a namespace's name as it is; a `*` at the end means all that begin so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: _Who | None = None
    group: _Who | None = None
    account: _Who | None = None
    namespaces: tuple[_Where, ...] = Field(min_length=1, max_length=1000)
    role: Role

    @model_validator(mode="after")
    def _about_one(self) -> Self:
        if sum(each is not None for each in (self.user, self.group, self.account)) != 1:
            raise ValueError("give user, group or account, one of them")
        for where in self.namespaces:
            rest = _NAMED.sub("", where)
            if "{" in rest or "}" in rest:
                raise ValueError(f"{where}: only {{user}} and {{group}} are known")
            if "{group}" in where and self.group is None:
                raise ValueError(f"{where}: {{group}} goes with group")
            if "{user}" in where and self.user is None:
                raise ValueError(f"{where}: {{user}} goes with user")
        return self

    def of(self, user: str, groups: Iterable[str], account: str | None) -> Iterator[Grant]:
        """What it grants to somebody."""
        if self.user is not None:
            if account is None and _matched(self.user, user) is not None:
                yield from self._granted("{user}", user)
        elif self.account is not None:
            if account is not None and _matched(self.account, account) is not None:
                yield from self._granted("{user}", "")
        else:
            for group in groups:
                found = _matched(self.group or "", group)
                if found is not None:
                    yield from self._granted("{group}", found)

    def _granted(self, placeholder: str, name: str) -> Iterator[Grant]:
        for where in self.namespaces:
            if placeholder not in where:
                yield Grant(where, self.role)
            # A name that would have to be changed to fit could be made to fit another's.
            elif is_part(name):
                yield Grant(where.replace(placeholder, name), self.role)


def _matched(pattern: str, name: str) -> str | None:
    """What `*` stands for, or the whole name where there is none; None for another name."""
    before, star, after = pattern.partition("*")
    if not star:
        return name if name == pattern else None
    fits = name.startswith(before) and name.endswith(after) and len(name) >= len(pattern) - 1
    return name[len(before) : len(name) - len(after)] if fits else None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    grants: tuple[Rule, ...] = Field((), max_length=10_000)


class Grants:
    """The file's rules, read again when it changed; safe to use from several threads.

    Raises GrantsError where the file can't be read at first; later the rules before stay in force,
    and the log says why.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._looked_at = float("-inf")
        self._rules: tuple[Rule, ...] = ()
        if path is not None:
            self._stamp, self._rules = _stamp(path), read(path)

    def of(
        self, user: str, groups: Iterable[str] = (), account: str | None = None
    ) -> tuple[Grant, ...]:
        """What somebody is; `account` is a service account's NAMESPACE:NAME."""
        wanted = list(groups)
        found = (grant for rule in self._now() for grant in rule.of(user, wanted, account))
        return tuple(dict.fromkeys(found))

    def names(self, group: str) -> bool:
        """Whether any grant is about the group."""
        return any(rule.group and _matched(rule.group, group) is not None for rule in self._now())

    def _now(self) -> tuple[Rule, ...]:
        if self._path is None or time.monotonic() - self._looked_at < _LOOK_S:
            return self._rules
        with self._lock:
            self._looked_at = time.monotonic()
            try:
                stamp = _stamp(self._path)
                if stamp != self._stamp:
                    self._stamp, self._rules = stamp, read(self._path)
            except GrantsError as error:
                log.error("the grants of before stay in force: %s", error)  # noqa: TRY400
            return self._rules


def read(path: Path) -> tuple[Rule, ...]:
    """The rules in a file; raises GrantsError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise GrantsError(f"{path} is over {_MAX_BYTES:,} bytes; write fewer grants.")
        loaded = YAML(typ="safe", pure=True).load(data.decode())
        return _File.model_validate({} if loaded is None else loaded).grants
    except OSError as error:
        raise GrantsError(f"{path} can't be read: {error.strerror}.") from error
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise GrantsError(f"{path} is no YAML: {' '.join(str(error).split())[:300]}.") from error
    except ValidationError as error:
        raise GrantsError(f"{path}: {sentence(error.errors())}") from error


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise GrantsError(f"{path} can't be read: {error.strerror}.") from error
    return status.st_ino, status.st_mtime_ns, status.st_size
