"""The targets of the catalog, as the `kitbag-server target` commands see them."""

from __future__ import annotations

import re
from typing import Any

from builder.model import Accelerator
from builder.stores.open import open_store
from builder.stores.registry import RegistryStore
from catalog import mirrors
from catalog import targets as table
from catalog.engine import make_engine, reading, writing
from catalog.target_models import Target
from server.catalog import migrate
from server.errors import ServerError
from worker.settings import WorkerSettings

# Kubernetes names objects with DNS subdomains.
_SECRET = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
)


def add(
    namespace: str, name: str, registry: str, accelerator: str | None, pull_secret: str | None
) -> dict[str, Any]:
    """Add or change a target, plan what it lacks, and describe it.

    Raises ServerError, catalog.errors, builder.errors for a registry that is none.
    """
    url = registry if "://" in registry else f"registry://{registry}"
    store = open_store(url)
    if not isinstance(store, RegistryStore):
        raise ServerError(f"{registry[:200]} is no registry; write HOST[:PORT][/PREFIX].")
    store.close()
    if accelerator is not None:
        accelerator = Accelerator(accelerator).value
    if pull_secret is not None and not _SECRET.fullmatch(pull_secret):
        raise ServerError(
            f"{pull_secret[:80]!r} is no secret's name; write lower-case letters, digits, - and ."
        )
    settings = WorkerSettings()
    migrate(settings.database_url)
    with writing(make_engine(settings.database_url)) as session:
        target = table.add(
            session, namespace, name, url, accelerator=accelerator, pull_secret=pull_secret
        )
        mirrors.plan_newest(session, target)
        return describe(target)


def every() -> list[dict[str, Any]]:
    """All targets."""
    with reading(make_engine(WorkerSettings().database_url)) as session:
        return [describe(target) for target in table.listing(session)]


def remove(namespace: str, name: str) -> None:
    """Forget a target; raises TargetNotFoundError."""
    with writing(make_engine(WorkerSettings().database_url)) as session:
        table.remove(session, namespace, name)


def retry(namespace: str, name: str) -> None:
    """Have what waits for a new try tried now; raises TargetNotFoundError."""
    with writing(make_engine(WorkerSettings().database_url)) as session:
        table.retry(session, namespace, name)


def describe(target: Target) -> dict[str, Any]:
    """What a person wants to know of a target."""
    return {
        "namespace": target.namespace,
        "name": target.name,
        "registry": target.url,
        "accelerator": target.accelerator,
        "pull_secret": target.pull_secret,
    }
