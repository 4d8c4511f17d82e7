"""The header of a proxy: believed from its addresses, and from nobody else."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from api.settings import ApiSettings

ANA = {"kubeflow-userid": "ana@example.org"}


@pytest.fixture
def make_behind(make_site, grants):
    def make(*networks, **settings):
        return make_site(
            user_header="kubeflow-userid",
            groups_header="kubeflow-groups",
            trusted_proxies=networks,
            grants=grants,
            **settings,
        )

    return make


def test_a_trusted_proxy_says_who_asks(make_behind):
    site = make_behind("10.0.0.0/8", "127.0.0.0/8")
    headers = ANA | {"kubeflow-groups": "hep-users, team-ml"}
    told = site.http.get("/v1/whoami", headers=headers).json()
    assert (told["user"], told["kind"]) == ("ana@example.org", "proxied")
    assert told["groups"] == ["hep-users", "team-ml"]
    assert {"namespaces": "ml", "role": "user"} in told["roles"]


def test_from_elsewhere_the_header_is_nothing(make_behind, problem):
    site = make_behind("10.0.0.0/8", "::1/128")
    problem(site.http.get("/v1/whoami", headers=ANA), 401, "unauthorized")
    lies = ANA | {"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1"}
    problem(site.http.get("/v1/whoami", headers=lies), 401, "unauthorized")


@pytest.mark.parametrize("user", ["", "kitbag:operator", "system:serviceaccount:a:b", "a" * 300])
def test_a_name_that_is_none_is_nobody(make_behind, user):
    site = make_behind("127.0.0.0/8")
    assert site.http.get("/v1/whoami", headers={"kubeflow-userid": user}).status_code == 401


def test_a_name_that_comes_twice_is_nobody(make_behind):
    site = make_behind("127.0.0.0/8")
    twice = [("kubeflow-userid", "ana@example.org"), ("kubeflow-userid", "eve@example.org")]
    assert site.http.get("/v1/whoami", headers=twice).status_code == 401


def test_a_page_of_another_site_sends_nothing_through_the_proxys_session(make_behind, problem):
    site = make_behind("127.0.0.0/8")
    asked = {"name": "x"}
    for more in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        answer = site.http.post("/v1/tokens", json=asked, headers=ANA | more)
        problem(answer, 403, "forbidden")
    assert site.http.post("/v1/tokens", json=asked, headers=ANA).status_code == 201


def test_a_token_of_this_server_counts_before_the_proxys_word(make_behind):
    site = make_behind("127.0.0.0/8", api_token="operator")
    headers = ANA | {"Authorization": "Bearer operator"}
    assert site.http.get("/v1/whoami", headers=headers).json()["kind"] == "operator"
    headers = ANA | {"Authorization": "Bearer somebody-elses"}
    assert site.http.get("/v1/whoami", headers=headers).json()["user"] == "ana@example.org"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"user_header": "kubeflow-userid"}, "KITBAG_TRUSTED_PROXIES"),
        ({"user_header": "x", "trusted_proxies": "0.0.0.0/0"}, "everybody"),
        ({"user_header": "x", "trusted_proxies": "10.0.0.300"}, "10.0.0.300"),
        ({"groups_header": "x"}, "KITBAG_USER_HEADER"),
        ({"oidc_issuer": "https://idp.example"}, "KITBAG_OIDC_CLIENT_ID"),
        ({"oidc_issuer": "http://idp.example", "oidc_client_id": "k"}, "https"),
        ({"oidc_issuer": "https://idp.example", "oidc_client_id": "k"}, "KITBAG_HOOK_KEY"),
        ({"oidc_algorithms": "RS256,HS256"}, "choose from"),
        ({"oidc_algorithms": "none"}, "choose from"),
        ({"profiles": True}, "KITBAG_ACCOUNTS"),
    ],
)
def test_settings_that_would_let_others_in_are_refused(tmp_path, settings, why):
    with pytest.raises(ValidationError, match=why):
        ApiSettings(database_url=f"sqlite:///{tmp_path}/c.db", data=tmp_path, **settings)
