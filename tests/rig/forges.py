"""Deliveries as the forges document them, signed as they sign them."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Sequence
from typing import Any

import httpx

A, B, C = ("a" * 40, "b" * 40, "c" * 40)
ZERO = "0" * 40
REPOSITORY = "https://git.example/hep/gan"


def repository(url: str = REPOSITORY) -> dict[str, Any]:
    path = url.partition("://")[2].partition("/")[2]
    return {
        "id": 35129377,
        "name": path.rpartition("/")[2],
        "full_name": path,
        "html_url": url,
        "clone_url": f"{url}.git",
        "ssh_url": f"git@git.example:{path}.git",
        "default_branch": "main",
    }


def commit(sha: str, *files: str) -> dict[str, Any]:
    return {"id": sha, "message": "A change", "added": [], "removed": [], "modified": list(files)}


def github_push(
    before: str, after: str, *files: str, branch: str = "main", url: str = REPOSITORY, **more: Any
) -> tuple[str, dict[str, Any]]:
    return "push", {
        "ref": f"refs/heads/{branch}",
        "before": before,
        "after": after,
        "created": before == ZERO,
        "deleted": after == ZERO,
        "forced": False,
        "commits": [] if after == ZERO else [commit(after, *(files or ("requirements.txt",)))],
        "repository": repository(url),
        "pusher": {"name": "ana"},
    } | more


def github_pull(number: int, sha: str, action: str = "opened", fork: bool = False) -> Any:
    there = repository("https://git.example/mallory/gan" if fork else REPOSITORY)
    return "pull_request", {
        "action": action,
        "number": number,
        "pull_request": {
            "head": {"ref": "topic", "sha": sha, "repo": there},
            "base": {"ref": "main", "sha": A, "repo": repository()},
        },
        "repository": repository(),
    }


def github_tag(tag: str, before: str, after: str, head: str | None = None) -> Any:
    """`after` is the tag object of an annotated tag; `head` the commit that it stands for."""
    name, payload = github_push(before, after)
    more = {"ref": f"refs/tags/{tag}", "head_commit": head and {"id": head}, "commits": []}
    return name, payload | more


def gitlab_tag(tag: str, before: str, after: str, head: str | None = None) -> Any:
    _, payload = gitlab_push(before, after)
    more = {"object_kind": "tag_push", "ref": f"refs/tags/{tag}", "checkout_sha": head}
    return "Tag Push Hook", payload | more | {"commits": [], "total_commits_count": 0}


def bitbucket_tag(tag: str, before: str | None, after: str | None) -> Any:
    name, payload = bitbucket_push((before, after), branch=tag)
    for change in payload["push"]["changes"]:
        for side in ("old", "new"):
            if change[side]:
                change[side]["type"] = "tag"
    return name, payload


def gitlab_push(before: str, after: str, *files: str, total: int = 1) -> Any:
    return "Push Hook", {
        "object_kind": "push",
        "before": before,
        "after": after,
        "ref": "refs/heads/main",
        "project": {
            "web_url": REPOSITORY,
            "git_ssh_url": "git@git.example:hep/gan.git",
            "git_http_url": f"{REPOSITORY}.git",
        },
        "commits": [commit(after, *(files or ("requirements.txt",)))],
        "total_commits_count": total,
    }


def gitlab_merge(number: int, sha: str, action: str = "open", source: int = 1) -> Any:
    return "Merge Request Hook", {
        "object_kind": "merge_request",
        "project": {"web_url": REPOSITORY},
        "object_attributes": {
            "iid": number,
            "action": action,
            "source_project_id": source,
            "target_project_id": 1,
            "last_commit": {"id": sha},
        },
    }


def gitea_push(before: str, after: str, *files: str) -> Any:
    name, payload = github_push(before, after, *files)
    return name, payload | {"total_commits": 1}


def bitbucket_push(*moves: tuple[str | None, str | None], branch: str = "main") -> Any:
    def place(sha: str | None) -> Any:
        return None if sha is None else {"type": "branch", "name": branch, "target": {"hash": sha}}

    return "repo:push", {
        "push": {"changes": [{"old": place(old), "new": place(new)} for old, new in moves]},
        "repository": bitbucket_repository("hep/gan"),
    }


def bitbucket_pull(number: int, sha: str, *, source: str = "hep/gan", name: str = "created") -> Any:
    return f"pullrequest:{name}", {
        "pullrequest": {
            "id": number,
            "source": {"commit": {"hash": sha}, "repository": bitbucket_repository(source)},
            "destination": {"commit": {"hash": A}, "repository": bitbucket_repository("hep/gan")},
        },
        "repository": bitbucket_repository("hep/gan"),
    }


def bitbucket_repository(full_name: str) -> dict[str, Any]:
    link = {"href": f"https://git.example/{full_name}"}
    return {"full_name": full_name, "links": {"html": link}}


def headers(forge: str, name: str, body: bytes, secret: str, delivery: str) -> dict[str, str]:
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "github": {
            "X-GitHub-Event": name,
            "X-GitHub-Delivery": delivery,
            "X-Hub-Signature-256": f"sha256={mac}",
        },
        "gitlab": {
            "X-Gitlab-Event": name,
            "X-Gitlab-Event-UUID": delivery,
            "X-Gitlab-Token": secret,
        },
        "gitea": {
            "X-Gitea-Event": name,
            "X-Gitea-Delivery": delivery,
            "X-Gitea-Signature": mac,
        },
        "bitbucket": {
            "X-Event-Key": name,
            "X-Request-UUID": delivery,
            "X-Hub-Signature": f"sha256={mac}",
        },
    }[forge]


def send(
    http: httpx.Client,
    hook: dict[str, Any],
    told: tuple[str, Any],
    *,
    delivery: str | None = None,
    secret: str | None = None,
    remove: Sequence[str] = (),
) -> httpx.Response:
    """Send what a forge would; `told` is the event's name and its payload, or raw bytes."""
    name, payload = told
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = headers(
        hook["forge"], name, body, secret or hook["secret"], delivery or str(uuid.uuid4())
    )
    for header in remove:
        signed.pop(header)
    sent = signed | {"Content-Type": "application/json"}
    return http.post(hook["path"], content=body, headers=sent)
