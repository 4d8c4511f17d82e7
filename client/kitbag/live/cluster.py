"""An API server, over plain HTTP: the few requests that rollouts need, on objects of any kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

import httpx

from .errors import (
    AwayError,
    ChangedError,
    DeniedError,
    ManagedError,
    NoKindError,
    RefusedError,
    TakenError,
)
from .objects import Ref

FIELD_MANAGER = "kitbag"
_PAGE = 250
_AWAY = (429, 500, 502, 503, 504)
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Person:
    """Whom to act as: a user of the cluster, or a service account, which has its groups anyway."""

    user: str
    groups: tuple[str, ...] = ()

    @classmethod
    def service_account(cls, namespace: str, name: str) -> Person:
        """The service account of a namespace."""
        return cls(f"system:serviceaccount:{namespace}:{name}")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Kubernetes' impersonation headers."""
        groups = [("Impersonate-Group", group) for group in self.groups]
        return [("Impersonate-User", self.user), *groups]


@dataclass(frozen=True, slots=True)
class Resource:
    """Where the objects of a kind are."""

    api_version: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """The API group; empty for the core's."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str, name: str = "") -> str:
        """The path of an object, or of all in a namespace or the cluster."""
        start = f"/apis/{self.api_version}" if "/" in self.api_version else "/api/v1"
        place = f"/namespaces/{quote(namespace)}" if namespace and self.namespaced else ""
        return f"{start}{place}/{self.plural}" + (f"/{quote(name)}" if name else "")


class Cluster:
    """The API server that `http` leads to, as whoever `http` logs in or as `person`.

    Every method raises ClusterError: AwayError where asking later may help, DeniedError, and
    NoKindError for a kind that the cluster doesn't serve.
    """

    def __init__(self, http: httpx.Client, person: Person | None = None) -> None:
        self._http, self._person = http, person
        self._resources: dict[str, dict[str, Resource]] = {}
        self._groups: dict[str, Mapping[str, Any]] | None = None

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where the objects of a kind are."""
        if api_version not in self._resources:
            self._resources[api_version] = self._discovered(api_version)
        found = self._resources[api_version].get(kind)
        if found is None:
            whole = f"{kind} of {api_version}" if api_version else kind
            raise NoKindError(f"the cluster has no {whole}: install its kind first")
        return found

    def versions(self, group: str) -> tuple[str, ...]:
        """The API versions of a group, the one that the server prefers first."""
        if not group:
            return ("v1",)
        if self._groups is None:
            self._groups = {str(one["name"]): one for one in self._ask("GET", "/apis")["groups"]}
        found = self._groups.get(group)
        if found is None:
            return ()
        first = str(found["preferredVersion"]["groupVersion"])
        others = [str(one["groupVersion"]) for one in found["versions"]]
        return tuple(dict.fromkeys((first, *others)))

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the server has such objects."""
        try:
            self.resource(api_version, kind)
        except NoKindError:
            return False
        return True

    def get(self, ref: Ref) -> dict[str, Any] | None:
        """The object as it is now; None if there is none."""
        place = self.resource(ref.api_version, ref.kind)
        found: dict[str, Any] | None = self._ask(
            "GET", place.path(ref.namespace, ref.name), missing=True
        )
        return found

    def listing(
        self, api_version: str, kind: str, namespace: str, selector: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Objects of a kind, in a namespace or all, by label selector."""
        place = self.resource(api_version, kind)
        query: dict[str, str] = {"limit": str(_PAGE)}
        query |= {"labelSelector": selector} if selector else {}
        while True:
            page = self._ask("GET", place.path(namespace), query=query)
            for item in page["items"]:
                # Items of a list say neither.
                yield {"apiVersion": api_version, "kind": kind} | item
            more = page["metadata"].get("continue")
            if not more:
                return
            query["continue"] = more

    def pods(self, namespace: str, label: str, name: str) -> int:
        """How many pods have the label with this value and haven't ended."""
        found = self.listing("v1", "Pod", namespace, f"{label}={name}")
        return sum((pod.get("status") or {}).get("phase") not in _ENDED for pod in found)

    def apply(
        self, ref: Ref, fields: Mapping[str, Any], *, force: bool = False, dry_run: bool = False
    ) -> dict[str, Any]:
        """Server-side apply of these fields as the field manager kitbag; makes what isn't there.

        Raises ManagedError if others manage them with other values, unless `force`, and
        ChangedError if `metadata.resourceVersion` isn't the object's any more.
        """
        place = self.resource(ref.api_version, ref.kind)
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        made: dict[str, Any] = self._ask(
            "PATCH",
            place.path(ref.namespace, ref.name),
            query=query | ({"dryRun": "All"} if dry_run else {}),
            body=fields,
            kind="application/apply-patch+yaml",
        )
        return made

    def merge(self, ref: Ref, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Put these fields into the object (RFC 7396): what isn't named stays as it is.

        Raises ChangedError if `metadata.resourceVersion` isn't the object's any more.
        """
        place = self.resource(ref.api_version, ref.kind)
        made: dict[str, Any] = self._ask(
            "PATCH",
            place.path(ref.namespace, ref.name),
            query={"fieldManager": FIELD_MANAGER},
            body=fields,
            kind="application/merge-patch+json",
        )
        return made

    def create(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Make a new object; raises TakenError if there is one of that name."""
        ref = Ref.of(item)
        place = self.resource(ref.api_version, ref.kind)
        made: dict[str, Any] = self._ask(
            "POST",
            place.path(ref.namespace),
            query={"fieldManager": FIELD_MANAGER},
            body=item,
        )
        return made

    def post(self, api_version: str, kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What the API server answers to an object that is a question, such as a TokenReview."""
        whole: dict[str, Any] = {"apiVersion": api_version, "kind": kind, **fields}
        place = self.resource(api_version, kind)
        answer: dict[str, Any] = self._ask("POST", place.path(""), body=whole)
        return answer

    def _discovered(self, api_version: str) -> dict[str, Resource]:
        if not api_version:
            return {}
        path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        listed = self._ask("GET", path, missing=True)
        return {
            str(one["kind"]): Resource(api_version, str(one["name"]), bool(one["namespaced"]))
            for one in (listed or {}).get("resources", ())
            if "/" not in one["name"]
        }

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
        missing: bool = False,
    ) -> Any:  # noqa: ANN401 - JSON
        headers = [("Accept", "application/json"), ("Content-Type", kind)]
        headers += self._person.headers if self._person else []
        try:
            answer = self._http.request(
                method,
                path,
                params=query,
                headers=headers,
                content=None if body is None else json.dumps(body),
            )
        except httpx.HTTPError as error:
            raise AwayError(
                f"the cluster's API server doesn't answer ({type(error).__name__}): ask again later"
            ) from error
        if missing and answer.status_code == 404:
            return None
        if answer.is_success:
            return answer.json()
        return self._refuse(answer)

    def _refuse(self, answer: httpx.Response) -> NoReturn:
        try:
            status = answer.json()
        except ValueError:
            status = {}
        said = str(status.get("message") or answer.text[:200] or answer.reason_phrase)
        said = " ".join(said.split())
        reason = status.get("reason")
        if answer.status_code in _AWAY:
            raise AwayError(f"the cluster's API server can't answer now ({said}): ask again later")
        if answer.status_code in (401, 403) and reason != "Invalid":
            who = f" as {self._person.user}" if self._person else ""
            raise DeniedError(f"the cluster doesn't allow it{who}: {said}")
        if answer.status_code == 409:
            causes = (status.get("details") or {}).get("causes") or []
            if reason == "AlreadyExists":
                raise TakenError(f"there is one of that name already ({said})")
            managed = [one for one in causes if one.get("reason") == "FieldManagerConflict"]
            if managed:
                raise ManagedError(_managers(managed))
            raise ChangedError(f"the object changed meanwhile ({said}): ask again")
        raise RefusedError(f"the cluster refuses it: {said}")


def _managers(causes: list[Mapping[str, Any]]) -> str:
    """Who manages what, and what can be done about it."""
    by_manager: dict[str, list[str]] = {}
    for cause in causes:
        message = str(cause.get("message", ""))
        manager = message.split('"')[1] if message.count('"') > 1 else message
        by_manager.setdefault(manager, []).append(str(cause.get("field", "")))
    who = "; ".join(f"{name} manages {', '.join(fields)}" for name, fields in by_manager.items())
    return f"{who}: change it there, or take it over with --force-conflicts"
