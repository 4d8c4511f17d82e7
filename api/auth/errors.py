"""Why somebody is not known: one class and one sentence each."""

from __future__ import annotations


class CredentialError(Exception):
    """The credential is not good; the sentence says why, for whoever shows it."""


class AwayError(Exception):
    """Who could tell does not answer; the sentence is for whoever asks."""
