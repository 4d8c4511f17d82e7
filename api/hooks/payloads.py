"""The payloads of the forges, as far as they matter here, and the events that they mean."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from api.hooks.event import (
    Event,
    Other,
    Proposed,
    Pushed,
    Tagged,
    commit_of,
    name_of,
    repositories_of,
)

MAX_FILES = 20_000
_MOST_COMMITS = 2048
"""So many GitHub lists at most, and so many are looked at of any forge."""

_ZERO = "0" * 40

Url = Annotated[str, StringConstraints(max_length=2048)]
Sha = Annotated[str, StringConstraints(max_length=64)]
Ref = Annotated[str, StringConstraints(max_length=4096)]
_Paths = list[str]
Events = tuple[Event, ...]


class _Told(BaseModel):
    # Forges send hundreds of members, and add new ones.
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class _Commit(_Told):
    added: _Paths = Field(default_factory=list)
    modified: _Paths = Field(default_factory=list)
    removed: _Paths = Field(default_factory=list)


def _first(commits: Any) -> Any:  # noqa: ANN401 # JSON
    """One more than are looked at: nobody needs a model of each of a million."""
    return commits[: _MOST_COMMITS + 1] if isinstance(commits, list) else commits


_Commits = Annotated[list[_Commit], BeforeValidator(_first)]


class _HasFiles(Protocol):
    added: _Paths
    modified: _Paths
    removed: _Paths


def _files(commits: Iterable[_HasFiles]) -> Collection[str] | None:
    """The paths that the commits name, None for more than anyone needs to look at."""
    found: set[str] = set()
    for commit in commits:
        found.update(commit.added, commit.modified, commit.removed)
        if len(found) > MAX_FILES:
            return None
    return found


class _Repository(_Told):
    full_name: str = Field("", max_length=512)
    html_url: Url | None = None
    clone_url: Url | None = None
    ssh_url: Url | None = None

    @property
    def names(self) -> frozenset[str]:
        return repositories_of(self.html_url and f"{self.html_url}/", self.clone_url, self.ssh_url)


class _Id(_Told):
    id: Sha


class _GitHubPush(_Told):
    ref: Ref
    before: Sha
    after: Sha
    forced: bool = False
    commits: _Commits | None = None
    total_commits: int | None = None
    head_commit: _Id | None = None
    repository: _Repository


class _End(_Told):
    sha: Sha
    repo: _Repository | None = None


class _Pull(_Told):
    head: _End
    base: _End


class _GitHubPull(_Told):
    action: str = Field(max_length=64)
    number: int = Field(ge=1, lt=10**9)
    pull_request: _Pull
    repository: _Repository


def github(name: str, payload: Any) -> Events:  # noqa: ANN401 # JSON
    """GitHub's push and pull_request."""
    if name == "push":
        return (_pushed(_GitHubPush.model_validate(payload)),)
    if name == "pull_request":
        # `synchronize`: its branch has new commits.
        return (_proposed(_GitHubPull.model_validate(payload), "synchronize"),)
    return (_passed_over(name),)


def gitea(name: str, payload: Any) -> Events:  # noqa: ANN401 # JSON
    """Gitea's and Forgejo's, which are GitHub's with few differences."""
    if name == "push":
        return (_pushed(_GitHubPush.model_validate(payload)),)
    if name in ("pull_request", "pull_request_sync"):
        return (_proposed(_GitHubPull.model_validate(payload), "synchronized"),)
    return (_passed_over(name),)


def _pushed(told: _GitHubPush) -> Event:
    name, is_tag = name_of(told.ref)
    if is_tag:
        # Of an annotated tag `after` is the tag, which stands for this commit.
        commit = told.head_commit.id if told.head_commit and commit_of(told.after) else told.after
        return Tagged(told.repository.names, name, commit_of(commit))
    commits = told.commits
    # A forced push does not list what it took away.
    whole = commits is not None and not told.forced and len(commits) < _MOST_COMMITS
    if commits is not None and told.total_commits is not None:
        whole = whole and told.total_commits <= len(commits)
    return Pushed(
        told.repository.names,
        name,
        commit_of(told.before),
        commit_of(told.after),
        _files(commits or ()) if whole else None,
    )


def _proposed(told: _GitHubPull, moved: str) -> Event:
    if told.action not in ("opened", "reopened", "closed", moved):
        return Other(f"Pull requests that are {told.action} are not built.")
    head, base = told.pull_request.head, told.pull_request.base
    same = head.repo is not None and base.repo is not None and bool(head.repo.full_name)
    from_fork = not same or head.repo != base.repo
    commit = commit_of(head.sha) or _ZERO
    return Proposed(told.repository.names, told.number, commit, told.action == "closed", from_fork)


class _GitLabProject(_Told):
    web_url: Url | None = None
    git_http_url: Url | None = None
    git_ssh_url: Url | None = None

    @property
    def names(self) -> frozenset[str]:
        return repositories_of(self.web_url, self.git_http_url, self.git_ssh_url)


class _GitLabPush(_Told):
    ref: Ref
    before: Sha
    after: Sha
    commits: _Commits = Field(default_factory=list)
    total_commits_count: int = 0
    checkout_sha: Sha | None = None
    project: _GitLabProject


class _GitLabRequest(_Told):
    iid: int = Field(ge=1, lt=10**9)
    action: str = Field("", max_length=64)
    source_project_id: int | None = None
    target_project_id: int | None = None
    last_commit: _Id
    oldrev: Sha | None = None


class _GitLabMerge(_Told):
    project: _GitLabProject
    object_attributes: _GitLabRequest


def gitlab(name: str, payload: Any) -> Events:  # noqa: ANN401 # JSON
    """GitLab's Push Hook, Tag Push Hook and Merge Request Hook."""
    if name in ("Push Hook", "Tag Push Hook"):
        return (_gitlab_pushed(_GitLabPush.model_validate(payload)),)
    if name == "Merge Request Hook":
        return (_gitlab_proposed(_GitLabMerge.model_validate(payload)),)
    return (_passed_over(name),)


def _gitlab_pushed(push: _GitLabPush) -> Event:
    ref, is_tag = name_of(push.ref)
    if is_tag:
        commit = push.checkout_sha if commit_of(push.after) else None
        return Tagged(push.project.names, ref, commit_of(commit or push.after))
    # It lists at most twenty commits of a push.
    whole = 0 < push.total_commits_count <= len(push.commits)
    return Pushed(
        push.project.names,
        ref,
        commit_of(push.before),
        commit_of(push.after),
        _files(push.commits) if whole else None,
    )


def _gitlab_proposed(merge: _GitLabMerge) -> Event:
    request = merge.object_attributes
    moved = request.action == "update" and request.oldrev is not None
    if not moved and request.action not in ("open", "reopen", "close", "merge"):
        return Other(f"Merge requests after {request.action or 'no action'} are not built.")
    return Proposed(
        merge.project.names,
        request.iid,
        commit_of(request.last_commit.id) or _ZERO,
        request.action in ("close", "merge"),
        request.source_project_id != request.target_project_id,
    )


class _Link(_Told):
    href: Url = ""


class _Links(_Told):
    html: _Link = Field(default_factory=_Link)


class _BitbucketRepository(_Told):
    full_name: str = Field("", max_length=512)
    links: _Links = Field(default_factory=_Links)

    @property
    def names(self) -> frozenset[str]:
        return repositories_of(self.links.html.href)


class _Target(_Told):
    hash: Sha


class _Place(_Told):
    type: str = Field("branch", max_length=64)
    name: Ref
    target: _Target


class _Change(_Told):
    new: _Place | None = None
    old: _Place | None = None


class _Changes(_Told):
    changes: list[_Change] = Field(max_length=100)


class _BitbucketPush(_Told):
    push: _Changes
    repository: _BitbucketRepository


class _BitbucketSide(_Told):
    commit: _Target
    repository: _BitbucketRepository | None = None


class _BitbucketRequest(_Told):
    id: int = Field(ge=1, lt=10**9)
    source: _BitbucketSide
    destination: _BitbucketSide


class _BitbucketPull(_Told):
    pullrequest: _BitbucketRequest
    repository: _BitbucketRepository


_BITBUCKET_OPEN = ("pullrequest:created", "pullrequest:updated")
_BITBUCKET_CLOSED = ("pullrequest:fulfilled", "pullrequest:rejected")


def bitbucket(name: str, payload: Any) -> Events:  # noqa: ANN401 # JSON
    """Bitbucket Cloud's repo:push and pullrequest:…; it does not say which files changed."""
    if name == "repo:push":
        told = _BitbucketPush.model_validate(payload)
        moved = [change for change in told.push.changes if _kind(change) is not None]
        if not moved:
            return (Other("Nothing of that is built."),)
        return tuple(_bitbucket_pushed(told.repository.names, change) for change in moved)
    if name in (*_BITBUCKET_OPEN, *_BITBUCKET_CLOSED):
        asked = _BitbucketPull.model_validate(payload)
        request = asked.pullrequest
        source, target = request.source.repository, request.destination.repository
        same = source is not None and target is not None and source.full_name == target.full_name
        # Of this commit it shows twelve digits, which git finds the whole one by.
        commit, closed = request.source.commit.hash, name in _BITBUCKET_CLOSED
        return (Proposed(asked.repository.names, request.id, commit, closed, not same),)
    return (_passed_over(name),)


def _bitbucket_pushed(names: frozenset[str], change: _Change) -> Event:
    place = change.new or change.old
    assert place is not None
    name, is_tag = name_of(f"refs/{_kind(change)}/{place.name}")
    before = commit_of(change.old.target.hash if change.old else None)
    after = commit_of(change.new.target.hash if change.new else None)
    return Tagged(names, name, after) if is_tag else Pushed(names, name, before, after, None)


def _kind(change: _Change) -> str | None:
    """The folder of refs that it is about, if it is one."""
    place = change.new or change.old
    kinds = {"branch": "heads", "named_branch": "heads", "tag": "tags"}
    return None if place is None else kinds.get(place.type)


def _passed_over(name: str) -> Event:
    if name in ("ping", "diagnostics:ping"):
        return Other("The hook works.")
    return Other(f"{name or 'That'} is not built.")
