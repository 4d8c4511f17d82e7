"""A Kubernetes API: Debian's etcd and a kube-apiserver that Go builds, with RBAC, and no kubelet.

Nothing runs what is created: there are no controllers, so a namespace's service account is made
here, and what is deleted goes at once but for namespaces, which stay (`Terminating`).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rig.certificate import Authority
from rig.crds import definitions
from rig.golang import built
from rig.process import Daemon, free_port, program, temp_dir

_MODULE = Path(__file__).parents[1] / "cluster/apiserver"
_BUILD_S = 1500
_PATIENCE_S = 120  # two cores may be busy with other tests

Object = dict[str, Any]


class RefusedError(Exception):
    """The API server, or kubectl, said no; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Access:
    """The cluster as somebody sees it: a kubeconfig file, and the API itself as `http`."""

    user: str
    kubeconfig: Path
    http: httpx.Client = field(repr=False)

    def kubectl(self, *arguments: str | Path, stdin: str | bytes = "") -> str:
        """What kubectl prints, as this user; raises `RefusedError`."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [program("kubectl", "kubernetes-client"), *map(str, arguments)],
            input=data,
            env=self.environ,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        if done.returncode:
            raise RefusedError(done.stderr.decode().strip())
        return done.stdout.decode()

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a process that is to find this cluster with kubectl or a client."""
        home = str(self.kubeconfig.parent)
        return {"PATH": os.environ["PATH"], "KUBECONFIG": str(self.kubeconfig), "HOME": home}

    def apply(self, manifest: str | Object, *options: str) -> str:
        """`kubectl apply -f -` of YAML text or one object."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        return self.kubectl("apply", *options, "-f", "-", stdin=text)

    def get(self, what: str, name: str, namespace: str = "") -> Object:
        """`kubectl get WHAT NAME`; `what` may be `tfjobs.v1.kubeflow.org`."""
        where = ("-n", namespace) if namespace else ()
        found: Object = json.loads(self.kubectl("get", what, name, "-o", "json", *where))
        return found

    def call(self, method: str, path: str, body: Object | None = None, **headers: str) -> Object:
        """One call of the API, without kubectl and its half second; raises `RefusedError`."""
        answer = self.http.request(method, path, json=body, headers=headers)
        if answer.is_error:
            raise RefusedError(answer.text)
        found: Object = answer.json()
        return found


class Cluster:
    """One API server that a whole run shares: use namespaces of your own in it."""

    def __init__(self, folder: Path, url: str, authority: Authority) -> None:
        self._folder = folder
        self._authority = authority
        self._numbers = itertools.count(1)
        self._made: list[httpx.Client] = []
        self.url = url
        self.admin = self.user("admin", groups=["system:masters"])

    @property
    def authority(self) -> Path:
        """The PEM file by which the API server is known."""
        return self._authority.path

    def user(self, name: str, *, groups: Sequence[str] = ()) -> Access:
        """Somebody with a client certificate, and no right at all until `allow`."""
        certificate = self._authority.issue(name, groups=groups)
        credential = {
            "client-certificate": str(certificate.path),
            "client-key": str(certificate.key),
        }
        context = self._context()
        context.load_cert_chain(certificate.path, certificate.key)
        return self._access(name, credential, context, {})

    def namespace(self, name: str = "", *, labels: Mapping[str, str] | None = None) -> str:
        """Make a namespace and its service account `default`; returns its name."""
        name = name or f"ns-{next(self._numbers)}"
        metadata = {"name": name, "labels": dict(labels or {})}
        self.admin.call("POST", "/api/v1/namespaces", {"metadata": metadata})
        self._service_account(name, "default")
        return name

    def service_account(self, namespace: str, name: str) -> Access:
        """A service account with a token, and no right at all until `allow`."""
        if name != "default":
            self._service_account(namespace, name)
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = self.admin.call("POST", path, asked)["status"]["token"]
        user = f"system:serviceaccount:{namespace}:{name}"
        headers = {"Authorization": f"Bearer {token}"}
        return self._access(user, {"token": token}, self._context(), headers)

    def allow(
        self, user: Access | str, namespace: str = "", rights: Sequence[Object] | None = None
    ) -> None:
        """Give a user `rights`, or every right: in the namespace, or everywhere without one.

        Returns once the API server knows it, which is a moment after it was written.
        """
        everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
        scope = "" if namespace else "Cluster"
        where = f"namespaces/{namespace}/" if namespace else ""
        name = f"kitbag-rig-{next(self._numbers)}"
        group = "rbac.authorization.k8s.io"
        path = f"/apis/{group}/v1/{where}{scope.lower()}role"
        role = {"metadata": {"name": name}, "rules": list(rights or [everything])}
        who = user if isinstance(user, str) else user.user
        subject = {"kind": "User", "apiGroup": group, "name": who}
        reference = {"kind": f"{scope}Role", "apiGroup": group, "name": name}
        binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
        self.admin.call("POST", f"{path}s", role)
        self.admin.call("POST", f"{path}bindings", binding)
        rule = role["rules"][-1]
        resource, _, below = rule["resources"][0].partition("/")
        asked = {
            "group": rule["apiGroups"][0],
            "resource": resource,
            "subresource": below,
            "verb": rule["verbs"][0],
            "namespace": namespace,
            "name": next(iter(rule.get("resourceNames", ())), ""),
        }
        review = {"spec": {"user": who, "resourceAttributes": asked}}
        for _ in range(_PATIENCE_S * 20):
            path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            if self.admin.call("POST", path, review)["status"].get("allowed"):
                return
            threading.Event().wait(0.05)
        raise AssertionError(f"{who} was not given {rule}")

    def install(self, crds: Sequence[Object]) -> None:
        """Create CustomResourceDefinitions and wait until all of them are served."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda crd: self.admin.call("POST", path, crd), crds))
        wanted = {crd["metadata"]["name"] for crd in crds}
        for _ in range(_PATIENCE_S * 20):
            listed = self.admin.call("GET", path)["items"]
            if wanted <= {crd["metadata"]["name"] for crd in listed if _established(crd)}:
                return
            threading.Event().wait(0.05)
        raise AssertionError("the custom resources were not established")

    def close(self) -> None:
        for client in self._made:
            client.close()

    def _service_account(self, namespace: str, name: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.admin.call("POST", path, {"metadata": {"name": name}})

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)

    def _access(
        self,
        user: str,
        credential: Mapping[str, str],
        context: ssl.SSLContext,
        headers: Mapping[str, str],
    ) -> Access:
        home = self._folder / f"{re.sub('[^a-z0-9]', '-', user)}-{next(self._numbers)}"
        home.mkdir()
        where = {"server": self.url, "certificate-authority": str(self.authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "rig",
            "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": user}}],
            "clusters": [{"name": "rig", "cluster": where}],
            "users": [{"name": user, "user": dict(credential)}],
        }
        (home / "config").write_text(json.dumps(config))
        client = httpx.Client(
            base_url=self.url, verify=context, headers=headers, trust_env=False, timeout=_PATIENCE_S
        )
        self._made.append(client)
        return Access(user, home / "config", client)


def kube_apiserver() -> Path:
    """The API server, built once into the user's cache folder under a name of its module's hash.

    About six minutes on two idle cores where Go has cached nothing.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kitbag-rig"
    pins = (_MODULE / "go.mod").read_text()
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", pins, re.MULTILINE)
    assert found is not None
    return built(
        "kube-apiserver",
        module=_MODULE,
        package="k8s.io/kubernetes/cmd/kube-apiserver",
        cache=cache,
        sources=[_MODULE / "go.mod", _MODULE / "go.sum"],
        ldflags=[f"-X=k8s.io/component-base/version.gitVersion={found[1]}"],
        timeout_s=_BUILD_S,
    )


@contextmanager
def cluster() -> Iterator[Cluster]:
    etcd = program("etcd", "etcd-server")
    program("kubectl", "kubernetes-client")
    server = kube_apiserver()
    client_port, peer_port, port = free_port(), free_port(), free_port()
    with temp_dir("cluster") as folder:
        authority = Authority(folder, "authority")
        hosts = ("localhost", "kubernetes.default.svc")
        serving = authority.issue("kube-apiserver", hosts=hosts)
        accounts = authority.issue("service-accounts")
        etcd_url = f"http://127.0.0.1:{client_port}"
        store = Daemon(
            [
                *(etcd, "--data-dir", str(folder / "etcd")),
                *("--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url),
                *("--listen-peer-urls", f"http://127.0.0.1:{peer_port}"),
            ],
            log=folder / "etcd.log",
            ready=lambda: _healthy(f"{etcd_url}/health"),
            timeout_s=_PATIENCE_S,
        )
        api = Daemon(
            [
                *(str(server), "--etcd-servers", etcd_url),
                *("--bind-address=127.0.0.1", f"--secure-port={port}"),
                *("--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24"),
                f"--cert-dir={folder}",
                f"--tls-cert-file={serving.path}",
                f"--tls-private-key-file={serving.key}",
                f"--client-ca-file={authority.path}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={accounts.path}",
                f"--service-account-signing-key-file={accounts.key}",
            ],
            log=folder / "kube-apiserver.log",
            ready=lambda: _healthy(f"https://127.0.0.1:{port}/readyz", authority.path),
            timeout_s=_PATIENCE_S,
        )
        try:
            store.start()
            api.start()
            made = Cluster(folder, f"https://127.0.0.1:{port}", authority)
            try:
                made.install(definitions())
                yield made
            finally:
                made.close()
        finally:
            api.kill()  # it would wait a minute for its watchers, and there is nothing to keep
            store.kill()


def _healthy(url: str, authority: Path | None = None) -> bool:
    verify = ssl.create_default_context(cafile=authority) if authority else False
    try:
        return httpx.get(url, verify=verify, trust_env=False, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _established(crd: Object) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
