"""Why a part of the server can't start: one class and one sentence each."""

from __future__ import annotations


class ServerError(Exception):
    """The message is one sentence for the operator."""


class PortInUseError(ServerError):
    """Somebody listens on the port already, or this user may not open it."""


class DataInUseError(ServerError):
    """Another server works in the data folder."""


class DataRefusedError(ServerError):
    """The data folder can't be made or written."""


class CatalogUnreachableError(ServerError):
    """The database does not answer, or its URL can't be read."""


class HeldError(ServerError):
    """Whatever a part was held for did not come."""


class PartEndedError(ServerError):
    """A part did not start, or dies again and again."""
