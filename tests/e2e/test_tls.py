"""`kitbag-server api` behind TLS, as an API server calls it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from e2e.servers import BIN, run_server
from rig.certificate import Authority, Certificate
from rig.process import Daemon, accepts, free_port

from catalog.engine import migrate

pytestmark = pytest.mark.rig


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    url = f"sqlite:///{tmp_path}/catalog.db"
    migrate(url)
    return {
        "PATH": str(BIN),
        "KITBAG_DATABASE_URL": url,
        "KITBAG_DATA": str(tmp_path / "data"),
    }


@pytest.fixture
def guarded(tmp_path: Path, authority: Authority, environ: dict[str, str]) -> Iterator[str]:
    """The URL of a server that takes only callers with a certificate of `authority`."""
    port, mine = free_port(), authority.issue("server")
    daemon = Daemon(
        [
            *(str(BIN / "kitbag-server"), "api", "--port", str(port)),
            *("--tls-cert", str(mine.path), "--tls-key", str(mine.key)),
            *("--tls-client-ca", str(authority.path)),
        ],
        log=tmp_path / "log",
        ready=lambda: accepts(port),
        timeout_s=120,
        env=environ,
    )
    daemon.start()
    yield f"https://127.0.0.1:{port}"
    daemon.stop()


def healthz(url: str, authority: Authority, certificate: Certificate | None) -> int:
    context = ssl.create_default_context(cafile=authority.path)
    if certificate is not None:
        context.load_cert_chain(certificate.path, certificate.key)
    return httpx.get(f"{url}/healthz", verify=context, trust_env=False).status_code


def test_only_callers_with_a_certificate_of_the_given_authority_get_in(
    guarded: str, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "strange").mkdir()
    stranger = Authority(tmp_path / "strange", "stranger").issue("caller")
    assert healthz(guarded, authority, authority.issue("kube-apiserver")) == 200
    for shown in (None, stranger):
        with pytest.raises(httpx.HTTPError):
            healthz(guarded, authority, shown)


def test_half_a_certificate_or_two_halves_of_different_ones_are_refused_in_a_sentence(
    authority: Authority, environ: dict[str, str]
) -> None:
    one, two = authority.issue("one"), authority.issue("two")
    half = run_server("api", "--port", "0", "--tls-cert", one.path, env=environ)
    assert half.returncode == 2
    assert half.stderr.startswith("kitbag-server: Give --tls-cert and --tls-key together")
    mixed = run_server(
        "api", "--port", "0", "--tls-cert", one.path, "--tls-key", two.key, env=environ
    )
    assert mixed.returncode == 2
    assert mixed.stderr.startswith("kitbag-server: The TLS files can't be used")
