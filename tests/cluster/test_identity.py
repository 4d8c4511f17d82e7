"""Service accounts and Kubeflow's profiles, as a real API server tells of them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from rig.cluster import Access, Cluster, RefusedError

from api.auth.accounts import Accounts, is_account
from api.auth.errors import AwayError, CredentialError
from api.auth.principal import Grant, Role
from api.auth.profiles import Profiles
from kitbag.live.cluster import Cluster as Connection
from kitbag.live.connect import connect

REVIEWS = {
    "apiGroups": ["authentication.k8s.io"],
    "resources": ["tokenreviews"],
    "verbs": ["create"],
}
LISTS: list[dict[str, Any]] = [
    {"apiGroups": ["kubeflow.org"], "resources": ["profiles"], "verbs": ["list"]},
    {
        "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"],
        "verbs": ["list"],
    },
]  # fmt: skip
GROUP = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def kitbag(cluster: Cluster) -> Access:
    """Kitbag's own account: it may ask about tokens and see profiles, and nothing else."""
    account = cluster.service_account(cluster.namespace(), "kitbag")
    cluster.allow(account, rights=[REVIEWS, *LISTS])
    return account


def accounts(who: Access, fresh_s: float = 60.0) -> Accounts:
    return Accounts(Connection(connect(str(who.kubeconfig))), ("kitbag",), fresh_s=fresh_s)


def token_of(cluster: Cluster, namespace: str, audience: str | None) -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    spec = {"audiences": [audience]} if audience else {}
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return str(cluster.admin.call("POST", path, asked)["status"]["token"])


def test_a_service_account_is_known_by_a_token_that_was_made_for_kitbag(cluster, kitbag):
    namespace = cluster.namespace()
    token = token_of(cluster, namespace, "kitbag")
    assert is_account(token)
    account = accounts(kitbag).who(token)
    assert (account.namespace, account.name) == (namespace, "default")
    assert account.user == f"system:serviceaccount:{namespace}:default"
    assert f"system:serviceaccounts:{namespace}" in account.groups


def test_a_token_for_others_or_a_changed_one_is_refused(cluster, kitbag):
    namespace = cluster.namespace()
    known = accounts(kitbag)
    for audience in (None, "others"):
        with pytest.raises(CredentialError, match="made for others"):
            known.who(token_of(cluster, namespace, audience))
    token = token_of(cluster, namespace, "kitbag")
    with pytest.raises(CredentialError):
        known.who(token[:-6] + "AAAAAA")


def test_the_clusters_word_is_believed_for_so_long_and_no_longer(cluster, kitbag):
    namespace = cluster.namespace()
    token = token_of(cluster, namespace, "kitbag")
    kept, asked_again = accounts(kitbag), accounts(kitbag, fresh_s=0.0)
    assert kept.who(token) == asked_again.who(token)
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    cluster.admin.call("DELETE", path)
    assert kept.who(token).namespace == namespace
    deadline = time.monotonic() + 120  # the API server remembers its own word for seconds
    with pytest.raises(CredentialError):
        while time.monotonic() < deadline:
            asked_again.who(token)
            time.sleep(0.2)


def test_without_the_right_to_ask_nobody_is_told_that_their_token_is_bad(cluster, kitbag):
    stranger = cluster.service_account(cluster.namespace(), "stranger")
    token = token_of(cluster, cluster.namespace(), "kitbag")
    with pytest.raises(AwayError, match="operator"):
        accounts(stranger).who(token)


def profile(cluster: Cluster, name: str, owner: str) -> None:
    body = {
        "apiVersion": "kubeflow.org/v1", "kind": "Profile", "metadata": {"name": name},
        "spec": {"owner": {"kind": "User", "name": owner}},
    }  # fmt: skip
    cluster.admin.call("POST", "/apis/kubeflow.org/v1/profiles", body)


def bind(cluster: Cluster, where: str, role: str, **subject: str) -> None:
    path = f"/apis/{GROUP}/v1/namespaces/{where}/rolebindings"
    name = f"{role}-{subject['name']}".replace("@", "-").replace(":", "-").lower()
    body = {
        "metadata": {"name": name, "annotations": {"role": role, "user": subject["name"]}},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }
    cluster.admin.call("POST", path, body)


def test_owners_and_contributors_of_profiles_are_what_their_bindings_say(cluster, kitbag):
    namespace, other = cluster.namespace(), cluster.namespace()
    profile(cluster, namespace, "ana@example.org")
    user = {"kind": "User", "apiGroup": GROUP}
    bind(cluster, namespace, "kubeflow-edit", **user, name="bob@example.org")
    bind(cluster, namespace, "kubeflow-view", **user, name="eve@example.org")
    bind(cluster, namespace, "cluster-admin", **user, name="mallory@example.org")
    bind(cluster, namespace, "kubeflow-view", kind="Group", apiGroup=GROUP, name="auditors")
    bind(
        cluster, namespace, "kubeflow-edit", kind="ServiceAccount", namespace=namespace,
        name="default-editor",
    )  # fmt: skip
    bind(cluster, other, "kubeflow-admin", **user, name="bob@example.org")  # of no profile

    known = Profiles(Connection(connect(str(kitbag.kubeconfig))), fresh_s=60.0)

    assert known.of("ana@example.org") == (Grant(namespace, Role.ADMIN),)
    assert known.of("bob@example.org") == (Grant(namespace, Role.MAINTAINER),)
    assert known.of("eve@example.org") == (Grant(namespace, Role.READER),)
    assert known.of("mallory@example.org") == ()
    assert known.of("x", ["auditors"]) == (Grant(namespace, Role.READER),)
    editor = f"{namespace}:default-editor"
    assert known.of("y", (), editor) == (Grant(namespace, Role.MAINTAINER),)
    assert known.of(editor) == ()


def test_who_may_not_see_profiles_is_away_and_not_nobody(cluster, kitbag):
    stranger = cluster.service_account(cluster.namespace(), "stranger")
    known = Profiles(Connection(connect(str(stranger.kubeconfig))), fresh_s=60.0)
    with pytest.raises(AwayError):
        known.of("ana@example.org")
    with pytest.raises(RefusedError):
        stranger.call("GET", "/apis/kubeflow.org/v1/profiles")
