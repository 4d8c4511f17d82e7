"""Which objects of a cluster run an environment, and which of its versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..refs import EnvRef
from ..specs import ImageRef, Kinds, SpecError, builtin
from .cluster import Cluster
from .decide import annotated, owner_of
from .errors import AwayError, ClusterError
from .objects import Json, Place, Ref, places

# Their pods are no objects of their own, and made by the thousand.
_MADE = frozenset({"ReplicaSet", "ReplicationController", "PodTemplate"})


@dataclass(frozen=True, slots=True)
class Environment:
    """NS/NAME, the repositories that its images are in, and its version numbers by digest.

    A digest has several numbers after a rollback; the last one counts. A number may have several
    digests, one for each accelerator and platform.
    """

    name: str
    repositories: frozenset[str]
    numbers: Mapping[str, int]

    @classmethod
    def of(cls, name: str, versions: Iterable[tuple[int, str]]) -> Environment:
        """An environment by its versions' numbers and images."""
        numbers: dict[str, int] = {}
        repositories = set()
        for number, image in sorted(versions):
            reference = ImageRef.parse(image)
            repositories.add(reference.name)
            if reference.digest:
                numbers[reference.digest] = number
        return cls(name, frozenset(repositories), numbers)


@dataclass(frozen=True, slots=True)
class Running:
    """An object that runs an environment.

    `versions` are the numbers of its images, in the order of the object; None for an image that is
    no version of it.
    """

    ref: Ref
    images: tuple[str, ...]
    versions: tuple[int | None, ...]
    item: Json = field(repr=False, default_factory=dict)


@dataclass(slots=True)
class Search:
    """What was found, and sentences about where nobody could look."""

    found: list[Running] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)


def running(
    cluster: Cluster,
    environment: Environment,
    *,
    namespace: str = "",
    selector: str = "",
    kinds: Kinds | None = None,
) -> Search:
    """Every object of the namespace, or of all, that runs an image of the environment.

    Objects annotated with it count too; those that something else makes don't. Raises AwayError.
    """
    table = kinds or builtin()
    search = Search()
    for api_version, kind in served(cluster, table):
        listed = _listed(search, cluster, api_version, kind, namespace, selector)
        search.found += filter(None, (_seen(item, environment, table) for item in listed))
    search.found.sort(key=lambda one: (one.ref.namespace, one.ref.kind, one.ref.name))
    return search


def _listed(
    search: Search, cluster: Cluster, api_version: str, kind: str, namespace: str, selector: str
) -> Iterator[dict[str, Any]]:
    try:
        yield from cluster.listing(api_version, kind, namespace, selector)
    except AwayError:
        raise
    except ClusterError as error:
        search.unseen.append(f"{kind}: {error}")


def named(
    cluster: Cluster, kind: str, namespace: str, name: str, *, kinds: Kinds | None = None
) -> Ref:
    """The object that a kind of the table and a name mean; the kind may be in lower case.

    Its API version is empty if the cluster has no such kind.
    """
    for api_version, found in served(cluster, kinds or builtin()):
        if found.lower() == kind.lower():
            place = namespace if cluster.resource(api_version, found).namespaced else ""
            return Ref(api_version, found, place, name)
    return Ref("", kind, namespace, name)


def labelled(
    cluster: Cluster, namespace: str, selector: str, *, kinds: Kinds | None = None
) -> Iterator[Ref]:
    """The objects of the namespace with these labels that nothing else makes.

    Kinds that whoever asks may not list are left out; raises ClusterError if none may be listed.
    """
    table = kinds or builtin()
    search, allowed = Search(), False
    for api_version, kind in served(cluster, table):
        if not cluster.resource(api_version, kind).namespaced:
            continue
        known = len(search.unseen)
        listed = _listed(search, cluster, api_version, kind, namespace, selector)
        yield from (Ref.of(item) for item in listed if not owner_of(item))
        allowed = allowed or len(search.unseen) == known
    if not allowed:
        why = search.unseen[0] if search.unseen else "the cluster has no kind of the table"
        raise ClusterError(f"no object of {namespace} can be listed: {why}")


def served(cluster: Cluster, kinds: Kinds) -> Iterator[tuple[str, str]]:
    """The table's kinds that this cluster has, in the API version that it prefers."""
    seen: set[tuple[str, str]] = set()
    for row in kinds.rows:
        if not row.live:
            continue
        for group in sorted(row.groups):
            for kind in sorted(row.kinds - _MADE):
                for api_version in cluster.versions(group):
                    if (group, kind) in seen or not cluster.serves(api_version, kind):
                        continue
                    seen.add((group, kind))
                    yield api_version, kind


def _seen(item: Json, environment: Environment, table: Kinds) -> Running | None:
    if owner_of(item):
        return None
    try:
        everything, _ = places(item, table)
    except SpecError:
        return None
    ours = [place for place in everything if _belongs(place, environment)]
    said = annotated(item)
    if not ours and (said is None or said.environment != environment.name):
        return None
    images = [place.image or "" for place in (ours or everything)]
    return Running(
        Ref.of(item),
        tuple(images),
        tuple(environment.numbers.get(_digest(image)) for image in images),
        item,
    )


def _belongs(place: Place, environment: Environment) -> bool:
    image = place.image or ""
    try:
        if image.startswith("kitbag://"):
            return EnvRef.parse(image).environment == environment.name
        return ImageRef.parse(image).name in environment.repositories
    except ValueError:
        return False


def _digest(image: str) -> str:
    return image.partition("@")[2]
