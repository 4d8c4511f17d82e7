"""Fetches a request's source, with the secret for its host if the operator keeps one."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from builder.model import Step
from builder.source import Checkout, SourcePolicy, fetch
from worker.deadline import Deadline
from worker.request import BuildRequest
from worker.secrets import SecretFile, for_git
from worker.services import Services


def fetched(
    services: Services,
    request: BuildRequest,
    into: Path,
    deadline: Deadline,
    report: Callable[[Step], None],
) -> Checkout:
    """The source on disk; raises what `builder.source.fetch` raises."""
    source = request.builder_source(services.settings.data / "uploads")
    policy = dataclasses.replace(services.sources(), cancelled=deadline)
    secret = None
    if request.source.git is not None:
        namespace = request.environment.partition("/")[0]
        url, user = request.source.git.url, request.requested_by
        secret = for_git(services.settings, namespace, url, user)
    if secret is None:
        return fetch(source, into, policy=policy, report=report)
    with with_secret(policy, secret, services.scratch.path) as own:
        return fetch(source, into, policy=own, report=report)


@contextmanager
def with_secret(policy: SourcePolicy, secret: SecretFile, scratch: Path) -> Iterator[SourcePolicy]:
    """The policy with a login or a key, whose file is gone when the block ends.

    The host is the operator's own choice, so it may be a private one.
    """
    host = urlsplit(secret.url).hostname or ""
    hosts = dataclasses.replace(policy.hosts, allowed=policy.hosts.allowed | {host})
    own = dataclasses.replace(policy, hosts=hosts)
    if secret.key is None:
        assert secret.password is not None
        yield dataclasses.replace(own, login=(secret.username, secret.password.get_secret_value()))
        return
    with tempfile.TemporaryDirectory(dir=scratch, prefix="key-") as name:
        key = Path(name) / "key"
        key.touch(mode=0o600)
        # OpenSSH refuses a key whose last line does not end.
        key.write_text(secret.key.get_secret_value().strip() + "\n")
        own = dataclasses.replace(own, ssh_key=key)
        if secret.known_hosts is not None:
            known = Path(name) / "known_hosts"
            known.write_text(secret.known_hosts.strip() + "\n")
            own = dataclasses.replace(own, known_hosts=known)
        yield own
