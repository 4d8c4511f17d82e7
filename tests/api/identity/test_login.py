"""Signing in with a browser at the provider, and letting a command in."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from rig.oidc import dex_claims

OWN = {"Sec-Fetch-Site": "same-origin"}
PAGE = {"Accept": "text/html"}


@pytest.fixture
def person(guarded, provider):
    """A browser, and whom the provider takes for its person."""
    provider.redirect_uris = {f"{guarded.url}/sign-in/callback"}
    provider.claims = dex_claims("ana@example.org", "hep-maintainers")
    with httpx.Client(base_url=guarded.url, timeout=20, headers=PAGE) as browser:
        yield browser


def sent_back(browser, then="/builds"):
    """The address to which the provider sends the browser back."""
    away = browser.get("/sign-in/provider", params={"then": then})
    assert away.status_code == 303, away.text
    return httpx.get(away.headers["location"], trust_env=False).headers["location"]


def test_a_person_signs_in_at_the_provider_and_is_led_back(guarded, person):
    asked = person.get("/builds?state=ready")
    shown = person.get(asked.headers["location"])
    assert "Sign in with your account" in shown.text
    back = sent_back(person, "/builds?state=ready")
    done = person.get(back)
    assert (done.status_code, done.headers["location"]) == (303, "/builds?state=ready")
    assert person.get("/builds?state=ready").status_code == 200
    told = person.get("/v1/whoami").json()
    assert (told["user"], told["kind"]) == ("ana@example.org", "person")
    assert {"namespaces": "hep", "role": "maintainer"} in told["roles"]
    cookie = done.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie


def test_the_way_to_the_provider_has_state_nonce_and_a_challenge(guarded, person):
    away = person.get("/sign-in/provider")
    query = parse_qs(urlsplit(away.headers["location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["state"][0]) == len(query["nonce"][0]) == 43
    assert query["state"] != query["nonce"]


def test_a_session_changes_nothing_for_another_site(guarded, person):
    person.get(sent_back(person))
    asked = {"environment": "hep/gan", "source": {"files": {"requirements.txt": "numpy"}}}
    assert person.post("/v1/builds", json=asked).status_code == 401
    assert person.post("/v1/builds", json=asked, headers=OWN).status_code == 202


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(guarded, person):
    back = sent_back(person)
    with httpx.Client(base_url=guarded.url, timeout=20) as other:
        assert other.get(back).status_code == 403
        sent_back(other)
        assert other.get(back).status_code == 403  # another state
    assert person.get(back.replace("state=", "state=x")).status_code == 403
    assert person.get("/sign-in/callback?error=access_denied").status_code == 403
    assert person.get(back).status_code == 303


def test_a_code_is_good_once(guarded, person):
    back = sent_back(person)
    cookie = person.cookies["kitbag_login"]
    assert person.get(back).status_code == 303
    person.cookies.set("kitbag_login", cookie)
    assert person.get(back).status_code == 403


@pytest.mark.parametrize(
    ("claims", "why"),
    [({"nonce": "another"}, "nonce"), ({"azp": "others"}, "azp"), ({"aud": "others"}, "aud")],
)
def test_a_token_of_another_sign_in_or_client_begins_no_session(
    guarded, person, provider, claims, why
):
    provider.claims |= claims
    answer = person.get(sent_back(person))
    assert answer.status_code == 403
    assert why in answer.text
    assert "kitbag_session" not in person.cookies


def test_a_cookie_for_one_purpose_is_none_for_another(guarded, person):
    person.get("/sign-in/provider")
    person.cookies.set("kitbag_session", person.cookies["kitbag_login"])
    assert person.get("/v1/whoami").status_code == 401


def test_a_person_of_many_groups_signs_in_with_those_that_count(guarded, person, provider):
    many = [f"group-{number:03}-{'x' * 40}" for number in range(150)]
    provider.claims = dex_claims("ana@example.org", *many, "team-zz")
    person.get(sent_back(person))
    assert {"namespaces": "zz", "role": "user"} in person.get("/v1/whoami").json()["roles"]


def test_a_session_of_a_token_ends_with_the_token(guarded, bearer):
    made = guarded.http.post("/v1/tokens", json={"name": "x"}, headers=bearer("hep-users")).json()
    with httpx.Client(base_url=guarded.url, timeout=20) as browser:
        form = {"token": made["secret"], "then": "/builds"}
        assert browser.post("/sign-in", data=form, headers=OWN).status_code == 303
        assert browser.get("/v1/whoami").json()["user"] == "ana@example.org"
        guarded.http.delete(f"/v1/tokens/{made['id']}", headers=bearer())
        assert browser.get("/v1/whoami").status_code == 401


def test_a_command_is_let_in_by_whoever_compares_its_code(guarded, person, problem):
    begun = guarded.http.post("/v1/logins", json={"device": "laptop"}).json()
    poll = f"/v1/logins/{begun['id']}"
    waiting = guarded.http.post(poll, json={"secret": begun["secret"]}).json()
    assert waiting == {"user": None, "token": None, "expires_at": None}
    assert person.get(begun["path"]).headers["location"].startswith("/sign-in?then=")
    person.get(sent_back(person, begun["path"]))
    shown = person.get(begun["path"]).text
    assert begun["code"] in shown and "laptop" in shown
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    form = {"code": begun["code"]}
    assert person.post("/sign-in/command", data=form, headers=elsewhere).status_code != 200
    problem(guarded.http.post(poll, json={"secret": "x"}), 404, "login-not-found")
    assert person.post("/sign-in/command", data=form, headers=OWN).status_code == 200
    let_in = guarded.http.post(poll, json={"secret": begun["secret"]}).json()
    bearer = {"Authorization": f"Bearer {let_in['token']}"}
    told = guarded.http.get("/v1/whoami", headers=bearer).json()
    assert (told["user"], told["kind"]) == ("ana@example.org", "token")
    assert {"namespaces": "hep", "role": "maintainer"} in told["roles"]
    problem(guarded.http.post(poll, json={"secret": begun["secret"]}), 404, "login-not-found")


def test_where_nobody_is_asked_no_command_waits(site, problem):
    problem(site.http.post("/v1/logins", json={"device": "x"}), 422, "invalid-request")
