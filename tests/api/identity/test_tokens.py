"""Tokens of people and of namespaces: what they are good for, and for how long."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from catalog.engine import reading, writing
from catalog.models import Token
from catalog.types import utcnow


def as_bearer(token):
    return {"Authorization": f"Bearer {token}"}


def make(site, headers, **asked):
    answer = site.http.post("/v1/tokens", json={"name": "ci"} | asked, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def build(site, headers, environment="hep/gan"):
    asked = {"environment": environment, "source": {"files": {"requirements.txt": "numpy"}}}
    return site.http.post("/v1/builds", json=asked, headers=headers)


def test_a_token_is_who_made_it_and_its_secret_is_kept_nowhere(guarded, bearer):
    made = make(guarded, bearer("hep-users"))
    assert re.fullmatch(r"kb_[A-Za-z0-9_-]{43}", made["secret"])
    told = guarded.http.get("/v1/whoami", headers=as_bearer(made["secret"])).json()
    assert (told["user"], told["kind"], told["token"]) == ("ana@example.org", "token", made["id"])
    assert build(guarded, as_bearer(made["secret"])).status_code == 202
    with reading(guarded.engine) as session:
        rows = session.execute(select(*Token.__table__.columns)).mappings().all()
    assert made["secret"] not in json.dumps([dict(row) for row in rows], default=str)
    listed = guarded.http.get("/v1/tokens", headers=bearer()).json()["items"]
    assert [item["id"] for item in listed] == [made["id"]]
    assert listed[0]["last_used_at"] is not None
    assert "secret" not in listed[0]


def test_a_token_is_good_for_no_more_than_its_role_in_its_namespaces(guarded, bearer):
    wide = bearer("hep-maintainers", "team-ml")
    reader = make(guarded, wide, role="reader")["secret"]
    assert build(guarded, as_bearer(reader)).status_code == 403
    other = make(guarded, wide, role="admin", namespaces=["ml"])["secret"]
    told = guarded.http.get("/v1/whoami", headers=as_bearer(other)).json()
    assert told["roles"] == [{"namespaces": "ml", "role": "user"}]
    assert build(guarded, as_bearer(other)).status_code == 403
    assert build(guarded, as_bearer(other), "ml/gan").status_code == 202


def test_a_token_loses_what_the_grants_no_longer_give(guarded, bearer, grants, monkeypatch):
    monkeypatch.setattr("api.auth.grants._LOOK_S", 0.0)
    secret = make(guarded, bearer("hep-users"))["secret"]
    assert build(guarded, as_bearer(secret)).status_code == 202
    grants.write_text("grants: []")
    assert build(guarded, as_bearer(secret)).status_code == 403
    grants.write_text("grants: [{user: '*', namespaces: [hep], role: wizard}]")
    assert (
        build(guarded, as_bearer(secret)).status_code == 403
    )  # what can't be read changes nothing


def test_a_revoked_token_is_worth_nothing_at_once(guarded, bearer, problem):
    ana, bob = bearer("hep-users"), bearer("hep-users", email="bob@example.org")
    made = make(guarded, ana)
    shown = as_bearer(made["secret"])
    assert guarded.http.get("/v1/builds", headers=shown).status_code == 200
    path = f"/v1/tokens/{made['id']}"
    problem(guarded.http.delete(path, headers=bob), 404, "token-not-found")
    assert guarded.http.delete(path, headers=ana).json()["id"] == made["id"]
    told = problem(guarded.http.get("/v1/builds", headers=shown), 401, "unauthorized")
    assert "revoked" in told["detail"]
    problem(guarded.http.delete(path, headers=ana), 404, "token-not-found")


def test_a_token_ends(guarded, bearer, problem):
    made = make(guarded, bearer("hep-users"), days=1)
    with writing(guarded.engine) as session:
        session.execute(update(Token).values(expires_at=utcnow() - timedelta(seconds=1)))
    answer = guarded.http.get("/v1/builds", headers=as_bearer(made["secret"]))
    problem(answer, 401, "unauthorized")


def test_a_token_may_live_as_long_as_the_operator_says(make_guarded, bearer, problem):
    site = make_guarded(max_token_days=30)
    asked = {"name": "ci", "days": 31}
    problem(site.http.post("/v1/tokens", json=asked, headers=bearer()), 422, "invalid-request")
    made = make(site, bearer(), days=None)
    assert made["expires_at"] is not None


def test_a_token_makes_no_other_tokens(guarded, bearer, problem):
    secret = make(guarded, bearer("hep-admins"), role="admin")["secret"]
    answer = guarded.http.post("/v1/tokens", json={"name": "x"}, headers=as_bearer(secret))
    problem(answer, 403, "forbidden")


def test_a_namespaces_token_is_its_admins_and_is_for_that_alone(guarded, bearer, problem):
    asked = {"name": "ci", "namespace": "hep", "role": "maintainer"}
    for group in ("hep-readers", "hep-users", "hep-maintainers"):
        answer = guarded.http.post("/v1/tokens", json=asked, headers=bearer(group))
        problem(answer, 403, "forbidden")
    made = make(guarded, bearer("hep-admins"), namespace="hep", role="maintainer")
    assert (made["user"], made["namespace"], made["created_by"]) == (None, "hep", "ana@example.org")
    shown = as_bearer(made["secret"])
    told = guarded.http.get("/v1/whoami", headers=shown).json()
    assert told["user"] == "kitbag:token:hep/ci"
    assert told["roles"] == [{"namespaces": "hep", "role": "maintainer"}]
    assert build(guarded, shown).status_code == 202
    assert build(guarded, shown, "shared/gan").status_code == 403
    others = bearer("hep-admins", email="eve@example.org")
    assert guarded.http.delete(f"/v1/tokens/{made['id']}", headers=others).status_code == 200
    wider = asked | {"namespaces": ["ml"]}
    answer = guarded.http.post("/v1/tokens", json=wider, headers=bearer("hep-admins"))
    problem(answer, 422, "invalid-request")


@pytest.mark.parametrize("secret", ["kb_", "kb_x", "kb_" + "A" * 43, "kb_" + "A" * 9000, "KB_x"])
def test_what_only_looks_like_a_token_is_refused(guarded, secret):
    assert guarded.http.get("/v1/builds", headers=as_bearer(secret)).status_code == 401


def test_a_token_is_a_password_for_pulls(guarded, bearer):
    secret = make(guarded, bearer("hep-readers"))["secret"]
    assert guarded.http.get("/v2/", auth=("anyone", secret)).status_code == 200
    assert guarded.http.get("/v2/", auth=("anyone", secret + "x")).status_code == 401


def test_where_nobody_is_asked_a_token_still_limits_whoever_shows_it(site):
    made = make(site, {}, role="reader")
    assert build(site, {}).status_code == 202
    assert build(site, as_bearer(made["secret"]), "hep/other").status_code == 403
    assert site.http.get("/v1/builds", headers=as_bearer("kb_none")).status_code == 401
