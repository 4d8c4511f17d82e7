"""A URL names a registry or a layout, and what is neither is said so."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from rig.registry import Registry

from builder.errors import InvalidSpecError, StoreRefusedError
from builder.stores.layout import LayoutStore
from builder.stores.names import api_host, credential_hosts, is_loopback
from builder.stores.open import open_store
from builder.stores.registry import RegistryStore

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("scheme", ["registry", "http", "https"])
def test_a_registry_may_have_a_port_and_a_prefix(scheme):
    store = open_store(f"{scheme}://r.example:5000/team/kitbag/")
    assert isinstance(store, RegistryStore)
    assert store.name == "r.example:5000/team/kitbag"
    assert store.reference("a", DIGEST) == f"r.example:5000/team/kitbag/a@{DIGEST}"


@pytest.mark.rig
def test_this_machine_is_asked_without_tls(registry: Registry, make_blob):
    store, blob = open_store(f"registry://{registry.host}"), make_blob(10)
    store.put_blob("open/local", blob.descriptor, blob.open)
    assert store.missing("open/local", [blob.digest]) == set()


@pytest.mark.rig
def test_no_proxy_stands_between_us_and_this_machine(registry: Registry, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert open_store(f"registry://{registry.host}").manifest("open/none", "v1") is None


def test_a_path_is_a_layout(tmp_path: Path, make_blob, push_image):
    for url in (f"oci:{tmp_path}/layout", f"{tmp_path}/layout"):
        store = open_store(url, host="127.0.0.1:8080")
        assert isinstance(store, LayoutStore)
        assert store.reference("a", DIGEST) == f"127.0.0.1:8080/a@{DIGEST}"
    assert (tmp_path / "layout/oci-layout").exists()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://r.example",
        "registry://user:s3cret@r.example",
        "registry://",
        "registry://r.example/UPPER",
        "registry://r.example/../x",
        "registry://r.example?x=s3cret",
        "registry://-r.example",
        "oci:",
        "",
    ],
)
def test_what_names_no_store_is_one_sentence_without_its_secrets(url):
    with pytest.raises(InvalidSpecError) as refused:
        open_store(url)
    assert "s3cret" not in refused.value.detail


@pytest.mark.rig
def test_a_certificate_is_trusted_with_its_authority_and_not_without(
    registry: Registry, tmp_path: Path, tls_front
):
    port, certificate = tls_front(registry.port)
    stranger = open_store(f"https://127.0.0.1:{port}", deadline_s=20)
    with pytest.raises(StoreRefusedError, match=r"is not trusted .*KITBAG_CA_BUNDLE"):
        stranger.manifest("open/tls", "v1")
    friend = open_store(f"https://127.0.0.1:{port}", ca_bundle=certificate)
    assert friend.manifest("open/tls", "v1") is None
    with pytest.raises(StoreRefusedError, match="can't be read as PEM"):
        open_store(f"https://127.0.0.1:{port}", ca_bundle=tmp_path).manifest("open/tls", "v1")


@pytest.mark.rig
def test_a_registry_without_tls_that_is_asked_with_it_is_said_so(registry: Registry):
    with pytest.raises(StoreRefusedError, match="speaks no TLS: name it with http://"):
        open_store(f"https://{registry.host}").manifest("open/plain", "v1")


@pytest.fixture
def tls_front(tmp_path: Path):
    """A TLS port in front of a plain one; returns the port and its own authority."""
    listeners = []

    def make(target_port: int):
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
                *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", key, "-out", certificate),
            ],
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                try:
                    with (
                        context.wrap_socket(plain, server_side=True) as client,
                        socket.create_connection(("127.0.0.1", target_port)) as server,
                    ):
                        server.sendall(client.recv(65536))
                        client.sendall(server.recv(65536))
                except OSError:
                    continue

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1], certificate

    yield make
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("localhost:5000", True),
        ("[::1]:5000", True),
        ("localhost.example", False),
        ("10.0.0.1:5000", False),
        ("127.0.0.1.example", False),
    ],
)
def test_only_this_machine_is_local(host, local):
    assert is_loopback(host) is local


def test_the_public_hub_has_an_api_and_logins_under_names_of_their_own():
    assert api_host("docker.io") != "docker.io"
    assert api_host("r.example") == "r.example"
    assert len(credential_hosts("docker.io")) == 3
