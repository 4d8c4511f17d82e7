"""Which namespaces of the cluster may use which environments, and which images may run."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from kitbag.refs import EnvRef
from kitbag.specs import ImageRef


class Policy:
    """The operator's rules.

    `environments` are patterns `NAMESPACE/NAME` for everybody, or `KUBERNETES_NAMESPACE=NS/NAME`
    for some; `images` are patterns of whole references; `exempt` namespaces are never touched.
    """

    def __init__(
        self, environments: Sequence[str], images: Sequence[str], exempt: Sequence[str]
    ) -> None:
        self._environments = [_rule(text) for text in environments]
        self._images = tuple(images)
        self._exempt = frozenset(exempt)

    def exempts(self, namespace: str) -> bool:
        """Whether objects of the namespace pass unseen."""
        return namespace in self._exempt

    def allows(self, wanted: EnvRef, namespace: str) -> bool:
        """Whether objects of a cluster's namespace may use the environment.

        A namespace may use those of its own name. Objects without one are made by the cluster's
        administrators, who may use any.
        """
        if not namespace or namespace == wanted.namespace:
            return True
        return any(
            fnmatchcase(namespace, who) and fnmatchcase(wanted.environment, what)
            for who, what in self._environments
        )

    def lets_run(self, image: str) -> bool:
        """Whether the image is on the list of those that need not be built here."""
        whole = canonical(image)
        return any(fnmatchcase(whole, pattern) for pattern in self._images)


def canonical(image: str) -> str:
    """The reference with the registry that engines add: `python:3` is docker.io/library/python:3.

    The rule is Docker's (github.com/distribution/reference, `ParseDockerRef`).
    """
    try:
        reference = ImageRef.parse(image)
    except ValueError:
        return image
    if reference.registry is not None:
        return image
    return f"docker.io/{image if '/' in reference.repository else f'library/{image}'}"


def _rule(text: str) -> tuple[str, str]:
    who, equals, what = text.partition("=")
    return (who, what) if equals else ("*", who)
