"""Service accounts of the cluster, known by its own word on their tokens (TokenReview v1)."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

import jwt

from api.auth.errors import AwayError, CredentialError
from api.auth.jwt import MAX_CHARS
from kitbag.live.cluster import Cluster
from kitbag.live.errors import ClusterError, DeniedError

log = logging.getLogger(__name__)
_USER = re.compile(r"system:serviceaccount:([a-z0-9][-a-z0-9]{0,62}):([a-z0-9][-.a-z0-9]{0,252})")
_MAX_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Account:
    """A service account."""

    namespace: str
    name: str
    groups: frozenset[str]

    @property
    def user(self) -> str:
        """As Kubernetes names it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


class Accounts:
    """What the cluster said of tokens, believed for `fresh_s`; used from several threads."""

    def __init__(self, cluster: Cluster, audiences: tuple[str, ...], *, fresh_s: float) -> None:
        self._cluster = cluster
        self._audiences = audiences
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, Account | None]] = OrderedDict()

    def who(self, token: str) -> Account:
        """Whose token it is; raises CredentialError, and AwayError where that can't be told."""
        key = hashlib.sha256(token.encode()).hexdigest()
        with self._lock:
            until, account = self._kept.get(key, (float("-inf"), None))
        if until <= time.time():
            account = self._review(token)
            until = min(time.time() + self._fresh_s, _expiry(token))
            with self._lock:
                self._kept[key] = (until, account)
                while len(self._kept) > _MAX_KEPT:
                    self._kept.popitem(last=False)
        if account is None:
            raise CredentialError(
                "the cluster doesn't know this service account's token, or it was made for others "
                f"than {' or '.join(self._audiences)}"
            )
        return account

    def _review(self, token: str) -> Account | None:
        asked = {"spec": {"token": token, "audiences": list(self._audiences)}}
        try:
            answer = self._cluster.post("authentication.k8s.io/v1", "TokenReview", asked)
        except DeniedError as error:
            log.error("tokens of service accounts can't be checked: %s", error)  # noqa: TRY400
            raise AwayError(
                "This server may not ask the cluster about tokens; tell its operator."
            ) from error
        except ClusterError as error:
            log.warning("tokens of service accounts can't be checked: %s", error)
            raise AwayError("The cluster does not answer; try again in a minute.") from error
        status = answer.get("status") or {}
        found = _USER.fullmatch(str((status.get("user") or {}).get("username", "")))
        # An API server that knows of no audiences leaves them out: then nobody checked them.
        meant = set(status.get("audiences") or ()) & set(self._audiences)
        if not status.get("authenticated") or found is None or not meant:
            return None
        groups = frozenset(map(str, status["user"].get("groups") or ()))
        return Account(found[1], found[2], groups)


def is_account(token: str) -> bool:
    """Whether a token says, unchecked, that it is a service account's: others are not asked for."""
    try:
        if len(token) > MAX_CHARS:
            return False
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return False
    return _USER.fullmatch(str(claims.get("sub", ""))) is not None


def _expiry(token: str) -> float:
    """When the token that was just reviewed ends."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        return float(claims.get("exp", "inf"))
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError):
        return float("inf")
