"""Pull and merge requests of the forges: at most one open for a branch, said anew or closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from catalog.hook_models import Forge
from worker import forges
from worker.settings import WorkerSettings

_PAGES = 20
_PER_PAGE = 50
_MAX_BODY_CHARS = 30_000  # Bitbucket takes 32 kB, GitHub 65,536 characters


class ForgeError(Exception):
    """The forge does not answer, or refuses; the message is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Request:
    """A pull or merge request: how the forge calls it, and where a person reads it."""

    number: int
    url: str


class Requests:
    """The requests of one repository that come from a branch and go to another.

    All methods raise ForgeError.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        forge: Forge,
        root: str,
        token: str,
        path: str,
        *,
        head: str,
        base: str,
    ) -> None:
        self._settings = settings
        self._forge = forge
        self._headers = forges.headers(forge, token)
        self._path = path
        self._head, self._base = head, base
        api = forges.api(forge, root)
        self._url = {
            Forge.GITHUB: f"{api}/repos/{path}/pulls",
            Forge.GITEA: f"{api}/repos/{path}/pulls",
            Forge.GITLAB: f"{api}/projects/{quote(path, safe='')}/merge_requests",
            Forge.BITBUCKET: f"{api}/repositories/{path}/pullrequests",
        }[forge]

    def find(self) -> Request | None:
        """The open one, if there is one."""
        for page in range(1, _PAGES + 1):
            found, more = self._page(page)
            if found is not None or not more:
                return found
        return None

    def open(self, title: str, body: str) -> Request:
        """Have one open that says this: the one there is, or a new one."""
        there = self.find()
        said = self._said(title, body[:_MAX_BODY_CHARS])
        if there is not None:
            method = "PUT" if self._forge in (Forge.GITLAB, Forge.BITBUCKET) else "PATCH"
            self._call(method, f"{self._url}/{there.number}", said)
            return there
        return self._request(self._call("POST", self._url, said | self._ends()))

    def close(self) -> Request | None:
        """Close the open one, if there is one."""
        there = self.find()
        if there is None:
            return None
        where = f"{self._url}/{there.number}"
        if self._forge is Forge.BITBUCKET:
            self._call("POST", f"{where}/decline", {})
        elif self._forge is Forge.GITLAB:
            self._call("PUT", where, {"state_event": "close"})
        else:
            self._call("PATCH", where, {"state": "closed"})
        return there

    def _page(self, page: int) -> tuple[Request | None, bool]:
        """The open request if it is on this page, and whether there is another page."""
        number = {"page": str(page)}
        params: dict[str, str]
        if self._forge is Forge.GITLAB:
            params = {"state": "opened", "source_branch": self._head, "target_branch": self._base}
        elif self._forge is Forge.BITBUCKET:
            ends = (
                f'source.branch.name = "{self._head}" AND destination.branch.name = "{self._base}"'
            )
            params = {"q": f'{ends} AND state = "OPEN"'}
        elif self._forge is Forge.GITHUB:
            owner = self._path.partition("/")[0]
            params = {"state": "open", "head": f"{owner}:{self._head}", "base": self._base}
        else:
            params = {"state": "open", "limit": str(_PER_PAGE)}
        answer = self._call("GET", self._url, params=params | number)
        items = answer.get("values", ()) if isinstance(answer, Mapping) else answer
        if not isinstance(items, Sequence):
            raise ForgeError(f"{self._forge} answers with no list of requests; try again.")
        found = next((item for item in items if self._is_ours(item)), None)
        return None if found is None else self._request(found), len(items) >= _PER_PAGE

    def _is_ours(self, item: Any) -> bool:  # noqa: ANN401 # JSON
        """Whether a listed request has our ends; only Gitea's list has others too."""
        if self._forge is not Forge.GITEA:
            return True
        head, base = item["head"], item["base"]
        same = head.get("repo_id") == base.get("repo_id")
        return bool(same and head["ref"] == self._head and base["ref"] == self._base)

    def _said(self, title: str, body: str) -> dict[str, Any]:
        name = "description" if self._forge in (Forge.GITLAB, Forge.BITBUCKET) else "body"
        return {"title": title, name: body}

    def _ends(self) -> dict[str, Any]:
        if self._forge is Forge.GITLAB:
            return {
                "source_branch": self._head,
                "target_branch": self._base,
                "remove_source_branch": True,
            }
        if self._forge is Forge.BITBUCKET:
            return {
                "source": {"branch": {"name": self._head}},
                "destination": {"branch": {"name": self._base}},
                "close_source_branch": True,
            }
        return {"head": self._head, "base": self._base}

    def _request(self, item: Any) -> Request:  # noqa: ANN401 # JSON
        try:
            if self._forge is Forge.GITLAB:
                return Request(int(item["iid"]), str(item["web_url"]))
            if self._forge is Forge.BITBUCKET:
                return Request(int(item["id"]), str(item["links"]["html"]["href"]))
            return Request(int(item["number"]), str(item["html_url"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ForgeError(f"{self._forge} answers with no pull request; try again.") from error

    def _call(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 # JSON
        try:
            answer = forges.call(
                self._settings, method, url, headers=self._headers, body=body, params=params
            )
        except httpx.HTTPError as error:
            raise ForgeError(
                f"The API of {self._forge} does not answer ({type(error).__name__})."
            ) from error
        if not answer.is_success:
            raise ForgeError(
                f"The API of {self._forge} answers {method} of a pull request of {self._path} with"
                f" {answer.status_code}: see that the secret's token may make them."
            )
        try:
            return answer.json()
        except ValueError as error:
            raise ForgeError(f"The API of {self._forge} answers with no JSON.") from error
