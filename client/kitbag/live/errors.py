"""What can go wrong between us and an API server; each says in one sentence what to do."""

from __future__ import annotations

from ..errors import KitbagError


class ClusterError(KitbagError):
    """The cluster did not do it."""


class AwayError(ClusterError):
    """The API server doesn't answer, or not now: ask again later."""


class DeniedError(ClusterError):
    """Whoever asks has no right to it in the cluster."""


class RefusedError(ClusterError):
    """The API server, or a webhook of the cluster, says that the object is not valid."""


class ManagedError(ClusterError):
    """Others manage the fields that are to change (server-side apply's conflict)."""


class ChangedError(ClusterError):
    """The object was changed since it was read: read it again."""


class TakenError(ClusterError):
    """There is an object of that name already."""


class NoKindError(ClusterError):
    """The cluster has no such kind."""
