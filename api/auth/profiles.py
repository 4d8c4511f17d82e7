"""Kubeflow's profiles: the owner of each, and its contributors, who are in RoleBindings.

Kubeflow's access management (KFAM) binds contributors to the cluster roles kubeflow-admin,
kubeflow-edit and kubeflow-view in the profile's namespace.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from api.auth.errors import AwayError
from api.auth.principal import Grant, Role
from catalog.names import is_part
from kitbag.live.cluster import Cluster
from kitbag.live.errors import ClusterError, NoKindError

log = logging.getLogger(__name__)
STALE_S = 600.0
"""For so long what is known does where the cluster does not answer."""
_PAUSE_S = 5.0
_ROLES: Mapping[str, Role] = {
    "kubeflow-admin": Role.ADMIN,
    "kubeflow-edit": Role.MAINTAINER,
    "kubeflow-view": Role.READER,
}
_USER, _GROUP, _ACCOUNT = "User", "Group", "ServiceAccount"
_Known = Mapping[tuple[str, str], tuple[Grant, ...]]


class Profiles:
    """Who is what by the cluster's word, believed for `fresh_s`; used from several threads."""

    def __init__(self, cluster: Cluster, *, fresh_s: float) -> None:
        self._cluster = cluster
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._known: _Known = {}
        self._read_at = self._tried_at = float("-inf")

    def of(
        self, user: str, groups: Iterable[str] = (), account: str | None = None
    ) -> tuple[Grant, ...]:
        """What somebody is; `account` is a service account's NAMESPACE:NAME.

        Raises AwayError where the cluster has not answered for ten minutes.
        """
        known = self._now()
        who = [(_USER, user)] if account is None else [(_ACCOUNT, account)]
        who += [(_GROUP, group) for group in groups]
        return tuple(grant for each in who for grant in known.get(each, ()))

    def _now(self) -> _Known:
        with self._lock:
            now = time.monotonic()
            if now - self._read_at < self._fresh_s:
                return self._known
            if now - self._tried_at >= _PAUSE_S:
                self._tried_at = now
                try:
                    self._known = self._read()
                except ClusterError as error:
                    log.warning("Kubeflow's profiles can't be read: %s", error)
                else:
                    self._read_at = time.monotonic()
                    return self._known
            if now - self._read_at < STALE_S:
                return self._known
        raise AwayError("The cluster does not say who is what; try again in a minute.")

    def _read(self) -> _Known:
        found: dict[tuple[str, str], dict[Grant, None]] = {}
        profiles: set[str] = set()
        try:
            for profile in self._cluster.listing("kubeflow.org/v1", "Profile", ""):
                name = str(profile["metadata"]["name"])
                if is_part(name):
                    profiles.add(name)
                    owner = (profile.get("spec") or {}).get("owner") or {}
                    _add(found, owner, Grant(name, Role.ADMIN))
        except NoKindError as error:
            log.warning("there are no profiles: %s", error)
        bindings = self._cluster.listing("rbac.authorization.k8s.io/v1", "RoleBinding", "")
        for binding in bindings:
            namespace = str(binding["metadata"]["namespace"])
            reference = binding.get("roleRef") or {}
            role = _ROLES.get(str(reference.get("name")))
            if namespace in profiles and role and reference.get("kind") == "ClusterRole":
                for subject in binding.get("subjects") or ():
                    _add(found, subject, Grant(namespace, role))
        return {who: tuple(grants) for who, grants in found.items()}


def _add(
    found: dict[tuple[str, str], dict[Grant, None]], subject: Mapping[str, Any], grant: Grant
) -> None:
    kind, name = str(subject.get("kind", _USER)), str(subject.get("name", ""))
    if kind == _ACCOUNT:
        name = f"{subject.get('namespace') or grant.namespaces}:{name}"
    if name and kind in (_USER, _GROUP, _ACCOUNT):
        found.setdefault((kind, name), {})[grant] = None
