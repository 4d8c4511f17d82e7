"""Every route as every role and from another tenant: none of the table may be left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth.principal import Role
from api.auth.table import TABLE, Need, Where
from catalog import tokens
from catalog.engine import writing

from ..test_plans import PLAN
from ..test_pulls import digest_of, make_image, push

SPEC = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x}]}\n"
MISSING = {
    "build": "0" * 26, "hook": "1" * 26, "rollout": "77", "job": "f" * 32, "tokens": "999",
    "digest": "sha256:" + "9" * 64, "code": "BBBB-BBBB",
}  # fmt: skip
# What answers by other rules than a role in a namespace: only those who may do all everywhere.
OPERATORS = {"GET /v1/audit"}
# It is the namespace of the cluster, in the form, that says who may; the path says who sees.
OF_THE_FORM = {"POST /environments/{namespace}/{name}/launch/{number}": Role.USER}
# A part of a page, which shows the refusal.
SHOWN = "POST /new/plan"
# Its slug tells that it is the thing itself that a role before took away.
TAKEN = ("rollout-not-found", "hook-not-found", "token-not-found", "login-not-found")


class Tenant:
    """A namespace with one of everything, or the same names with nothing behind them."""

    def __init__(self, namespace: str, things: dict[str, str]) -> None:
        self.namespace = namespace
        self.things = things

    def path(self, template: str) -> str:
        filled = {
            "{namespace}": self.namespace,
            "{name}": "gan",
            "{version:path}": "1",
            "{number}": "1",
            "{name:path}": "auto",
            "{rest:path}": "https%3A%2F%2Fh%2Fr/HEAD",
            "{build_id}": self.things["build"],
            "{hook_id}": self.things["hook"],
            "{repo:path}": f"{self.namespace}/gan",
            "{reference}": "1",
            "{digest}": self.things["digest"],
            "{id}": self._id(template),
        }
        for hole, value in filled.items():
            template = template.replace(hole, value)
        assert "{" not in template, template
        return template

    def _id(self, template: str) -> str:
        part = template.split("/")[-2] if "{id}" in template else ""
        if "rollouts" in template:
            return self.things["rollout"]
        return self.things.get(part) or self.things["job"]

    def ask(self, site: Any, key: str, headers: dict[str, str]) -> httpx.Response:
        method, _, template = key.partition(" ")
        more = self.bodies().get(key, {})
        own = headers | {"Sec-Fetch-Site": "same-origin"} | more.pop("headers", {})
        answer: httpx.Response = site.http.request(
            method, self.path(template), headers=own, follow_redirects=False, **more
        )
        return answer

    def bodies(self) -> dict[str, dict[str, Any]]:
        """What each route that wants more than its path is asked."""
        env = f"{self.namespace}/gan"
        files = {"environment": env, "source": {"files": {"requirements.txt": "numpy"}}}
        form = {"name": env, "kind": "packages", "packages": "numpy"}
        at = f"/v1/environments/{{namespace}}/{{name}}"  # noqa: F541 - as the table has it
        page = "/environments/{namespace}/{name}"
        return {
            "POST /v1/builds": {"json": files},
            "POST /v1/plans": {"json": files},
            "GET /v1/builds": {"params": {"limit": 100}},
            "GET /v1/builds/{build_id}/events": {"headers": {"Accept": "application/json"}},
            f"PATCH {at}": {"json": {"offered": False}},
            f"GET {at}/diff": {"params": {"from": "1", "to": "1"}},
            f"POST {at}/rollback": {"json": {"to": "1"}},
            f"POST {at}/rollouts": {"json": {"selector": "a=b"}},
            f"POST {at}/hooks": {"json": {"forge": "gitea", "url": "https://git.example/a/b"}},
            "GET /v1/resolve": {"params": {"env": env}},
            "POST /v1/resolve": {"json": {"names": [env]}},
            "POST /v1/pins": {"json": {"text": SPEC, "environment": env}},
            "POST /v1/verifications": {"json": {"version": env}},
            "POST /v1/rebases": {"json": {"old": "auto", "new": "auto", "environments": env}},
            "GET /v1/packages": {"params": {"requirement": "numpy"}},
            "POST /v1/launches": {"json": {"version": env}},
            "POST /v1/restarts": {
                "json": {"version": env, "namespace": self.namespace, "name": "n"}
            },
            "POST /v1/uses": {"json": {"environment": env}},
            "POST /v1/tokens": {"json": {"name": "ci", "namespace": self.namespace}},
            "GET /sign-in/command": {"params": {"code": self.things["code"]}},
            "POST /sign-in/command": {"data": {"code": self.things["code"]}},
            "GET /": {"params": {"q": "gan"}},
            f"POST {page}/offer": {"data": {"offered": "false"}},
            f"POST {page}/launch/{{number}}": {"data": {"name": "n"}},
            "GET /new": {"params": {"like": env}},
            "GET /new/packages": {"params": {"q": "secretpackage"}},
            "POST /new": {"data": form},
            "POST /new/plan": {"data": form},
            "GET /v1/launch/git": {"params": {"repo": "https://h/r", "environment": env}},
            "GET /v1/launch/git/{rest:path}": {"params": {"environment": env}},
            "POST /v1/launch/git": {"data": {"repo": "https://h/r", "environment": env}},
        }


GUARDED = [key for key, need in TABLE.items() if need.where not in (Where.OPEN, Where.PROVEN)]


@pytest.fixture
def site(make_guarded: Callable[..., Any], tmp_path: Path) -> Any:
    push(tmp_path / "layout", make_image("hep"), "1", repo="hep/gan")
    site = make_guarded(
        layout=tmp_path / "layout", cluster="in-cluster", spawner="in-cluster", rate_limit=0,
        rate_limit_unknown=0,
    )  # fmt: skip
    site.workers.plan = PLAN
    return site


@pytest.fixture
def hep(site: Any) -> Tenant:
    """A namespace that has one of everything."""
    site.http.headers["Authorization"] = "Bearer the operator's own token"
    packages = [{"name": "secretpackage", "version": "2.0.0", "size_bytes": 900}]
    version = site.workers.build(site.ask("secretpackage", "hep/gan")["id"], packages=packages)
    waiting = site.ask("other", "hep/gan")["id"]
    at = "/v1/environments/hep/gan"
    post = site.http.post
    hook = post(f"{at}/hooks", json={"forge": "gitea", "url": "https://git.example/a/b"}).json()
    rollout = post(f"{at}/rollouts", json={"selector": "a=b"}).json()
    asked: dict[str, dict[str, str]] = {
        "verifications": {"version": "hep/gan"},
        "rebases": {"old": "auto", "new": "auto", "environments": "hep/gan"},
        "launches": {"version": "hep/gan"},
        "restarts": {"version": "hep/gan", "namespace": "hep", "name": "n"},
        "uses": {"environment": "hep/gan"},
    }
    jobs = {kind: post(f"/v1/{kind}", json=body).json()["id"] for kind, body in asked.items()}
    with writing(site.engine) as session:
        token = tokens.add(
            session, "kb_x", name="x", role="user", namespaces=["hep"], namespace="hep",
            created_by="o",
        )  # fmt: skip
    del site.http.headers["Authorization"]
    assert version.number == 1
    return Tenant(
        "hep",
        {
            "build": waiting,
            "hook": hook["id"],
            "rollout": str(rollout["id"]),
            "job": jobs["uses"],
            **jobs,
            "tokens": str(token.id),
            "code": "BBBB-BBBB",
            "digest": make_image("hep").digest,
        },
    )


def expected(key: str, need: Need, role: Role) -> str:
    if key in OPERATORS:
        return "forbidden"
    return "allowed" if role.covers(OF_THE_FORM.get(key, need.role)) else "forbidden"


def test_every_operation_of_the_document_is_in_the_table(site: Any) -> None:
    document = site.http.get("/openapi.json").json()
    said = {
        f"{method.upper()} {path}" for path, each in document["paths"].items() for method in each
    }
    known = {key.replace(":path}", "}") for key in TABLE}
    known |= {key.replace(" /admission", " /v1/admission") for key in known}
    assert said <= known
    guarded = {key.replace(":path}", "}") for key in GUARDED}
    assert len(said & guarded) > 35


def test_to_another_tenant_nothing_is_there(
    site: Any, hep: Tenant, bearer: Callable[..., dict[str, str]]
) -> None:
    """What is in a namespace that somebody has no part in is answered word for word like what there
    never was."""
    nowhere = Tenant("abc", MISSING)
    stranger = bearer("team-other", "readers-of-others")
    for key in GUARDED:
        there, missing = hep.ask(site, key, stranger), nowhere.ask(site, key, stranger)
        assert there.status_code == missing.status_code, (key, there.text, missing.text)
        assert there.status_code < 500, (key, there.text)
        assert plain(there, hep, key) == plain(missing, nowhere, key), key
        if TABLE[key].where is not Where.ANYWHERE:
            assert there.status_code >= 400 or key in ("POST /v1/resolve", SHOWN), key
        # Only what was asked for is repeated.
        assert "secretpackage" not in there.text or "q=" in str(there.request.url), key


def plain(answer: httpx.Response, tenant: Tenant, key: str) -> str:
    text = (answer.text + answer.headers.get("location", "")).replace(
        tenant.path(key.partition(" ")[2]), "PATH"
    )
    text = text.replace(f"token {tenant.things['tokens']};", "token ID;")
    for thing in sorted(tenant.things.values(), key=len, reverse=True):
        if len(thing) > 2:
            text = text.replace(thing, "ID")
    return text.replace(tenant.namespace, "NS")


@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_what_the_table_says_and_nothing_more(
    site: Any, hep: Tenant, bearer: Callable[..., dict[str, str]], role: Role
) -> None:
    somebody = bearer(f"hep-{role}s")
    for key in GUARDED:
        answer = hep.ask(site, key, somebody)
        slug = _slug(answer)
        assert answer.status_code < 500, (key, answer.text)
        assert answer.status_code != 401, key
        if expected(key, TABLE[key], role) == "allowed":
            assert answer.status_code != 403, (key, answer.text)
            assert answer.status_code != 404 or slug in TAKEN, (key, answer.text)
        elif key == SHOWN:
            assert "That is not allowed" in answer.text
        elif key == "DELETE /v1/tokens/{id}":
            assert answer.status_code == 404  # whose it is decides, and it is not theirs
        else:
            assert answer.status_code == 403, (key, answer.text)


def test_whoever_is_not_known_gets_nothing(site: Any, hep: Tenant) -> None:
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Bearer kb_x.y"}):
        for key in GUARDED:
            answer = hep.ask(site, key, headers)
            assert answer.status_code == 401, (key, answer.text)


def test_an_admin_of_everything_may_everything(
    site: Any, hep: Tenant, bearer: Callable[..., dict[str, str]]
) -> None:
    for key in GUARDED:
        answer = hep.ask(site, key, bearer("platform"))
        assert answer.status_code not in (401, 403), (key, answer.text)


def _slug(answer: httpx.Response) -> str:
    if "problem+json" not in answer.headers.get("content-type", ""):
        return ""
    return str(answer.json()["type"]).rpartition("/")[2]


def test_a_blob_is_pulled_through_no_repository_that_does_not_have_it(
    site: Any, hep: Tenant, tmp_path: Path, bearer: Callable[..., dict[str, str]]
) -> None:
    push(tmp_path / "layout", make_image("other"), "1", repo="other/gan")
    ana = bearer("team-other")
    image = make_image("hep")
    own = make_image("other")
    for digest in (image.digest, digest_of(image.layer), digest_of(image.config)):
        for kind in ("blobs", "manifests"):
            assert site.http.get(f"/v2/other/gan/{kind}/{digest}", headers=ana).status_code == 404
    for digest in (digest_of(own.layer), digest_of(own.config)):
        assert site.http.get(f"/v2/other/gan/blobs/{digest}", headers=ana).status_code == 200
    assert site.http.get(f"/v2/other/gan/manifests/{own.digest}", headers=ana).status_code == 200
