"""Each part of the rig answers, and misbehaves as told."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis
from rig.docker import DockerEngine
from rig.git import TOKEN, USER, GitServer
from rig.postgres import Postgres
from rig.process import MissingPartError, program
from rig.proxy import Proxy, http_answer
from rig.redis import RedisServer
from rig.registry import Factory, Registry
from rig.root import tar_of, tiny_root
from rig.wheels import WheelFactory

pytestmark = pytest.mark.rig
SHA256_OF_NOTHING = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def fetch(
    url: str,
    method: str = "GET",
    data: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, data, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def push_nothing(url: str, repository: str, headers: dict[str, str] | None = None) -> int:
    """Upload the empty blob; returns the last status."""
    status, answered, _ = fetch(f"{url}/v2/{repository}/blobs/uploads/", "POST", b"", headers)
    if status != 202:
        return status
    where = f"{answered['Location']}&digest={SHA256_OF_NOTHING}"
    return fetch(where, "PUT", b"", headers)[0]


def basic(user: str, password: str) -> dict[str, str]:
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def test_the_registry_takes_a_blob_and_keeps_it_over_a_restart(make_registry: Factory) -> None:
    registry = make_registry()
    assert push_nothing(registry.url, "rig/nothing") == 201
    registry.kill()
    registry.start()
    assert registry.blobs() == {SHA256_OF_NOTHING: 0}
    assert registry.blob_path(SHA256_OF_NOTHING).read_bytes() == b""
    assert fetch(f"{registry.url}/v2/rig/nothing/blobs/{SHA256_OF_NOTHING}", "HEAD")[0] == 200
    assert fetch(f"{registry.url}/v2/rig/nothing/blobs/{SHA256_OF_NOTHING}", "DELETE")[0] == 202


def test_a_basic_registry_wants_its_password(basic_registry: Registry, tmp_path: Path) -> None:
    assert basic_registry.credentials is not None
    user, password = basic_registry.credentials.user, basic_registry.credentials.password
    assert fetch(f"{basic_registry.url}/v2/")[0] == 401
    assert fetch(f"{basic_registry.url}/v2/", headers=basic(user, "wrong"))[0] == 401
    assert push_nothing(basic_registry.url, "rig/basic", basic(user, password)) == 201
    config = json.loads(basic_registry.docker_config(tmp_path).read_text())
    pair = base64.b64decode(config["auths"][basic_registry.host]["auth"]).decode()
    assert pair == f"{user}:{password}"


def test_a_token_registry_takes_only_what_its_token_server_granted(
    token_registry: Registry,
) -> None:
    tokens, credentials = token_registry.tokens, token_registry.credentials
    assert tokens is not None
    assert credentials is not None
    status, headers, _ = fetch(f"{token_registry.url}/v2/")
    assert status == 401
    assert f'realm="{tokens.realm}"' in headers["Www-Authenticate"]

    def token(scope: str, headers: dict[str, str] | None = None) -> dict[str, str]:
        query = f"?service={tokens.service}&scope={scope}"
        status, _, body = fetch(f"{tokens.realm}{query}", headers=headers)
        assert status == 200
        return {"Authorization": f"Bearer {json.loads(body)['token']}"}

    alice = basic(credentials.user, credentials.password)
    push = token("repository:rig/mine:pull,push", alice)
    assert push_nothing(token_registry.url, "rig/mine", push) == 201
    assert push_nothing(token_registry.url, "rig/other", push) == 401
    anonymous = token("repository:rig/mine:pull,push")
    assert push_nothing(token_registry.url, "rig/mine", anonymous) == 401
    assert fetch(tokens.realm, headers=basic(credentials.user, "wrong"))[0] == 401
    assert (credentials.user, ["repository:rig/mine:pull,push"]) in tokens.asked


def test_a_tls_registry_is_trusted_by_its_own_certificate(make_registry: Factory) -> None:
    registry = make_registry(tls=True)
    assert registry.ca is not None
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(f"{registry.url}/v2/")
    trusted = ssl.create_default_context(cafile=str(registry.ca))
    with urllib.request.urlopen(f"{registry.url}/v2/", context=trusted) as answer:
        assert answer.status == 200


def test_a_small_disk_fills_and_so_does_the_registry_on_it(
    make_disk: Callable[[int], Path], make_registry: Factory
) -> None:
    disk = make_disk(1_000_000)
    registry = make_registry(root=disk)
    started, headers, _ = fetch(f"{registry.url}/v2/rig/full/blobs/uploads/", "POST", b"")
    assert started == 202
    assert fetch(headers["Location"], "PATCH", b"x" * 2_000_000)[0] >= 500
    with pytest.raises(OSError, match="No space left"):
        (disk / "more").write_bytes(b"x" * 2_000_000)


def test_the_proxy_delays_answers_refuses_and_dies_when_told(
    registry: Registry, make_proxy: Callable[[int], Proxy]
) -> None:
    proxy = make_proxy(registry.port)
    assert push_nothing(proxy.url, "rig/proxied") == 201
    assert proxy.bytes_up > 0

    proxy.delay_s = 0.3
    started = time.monotonic()
    assert fetch(f"{proxy.url}/v2/")[0] == 200
    assert time.monotonic() - started >= 0.3
    proxy.delay_s = 0

    proxy.answers.append(http_answer(503, "Busy", "Retry-After: 1\r\n", b"later"))
    status, headers, body = fetch(f"{proxy.url}/v2/")
    assert (status, headers["Retry-After"], body) == (503, "1", b"later")
    assert fetch(f"{proxy.url}/v2/")[0] == 200

    proxy.die_after_bytes = 100_000
    with pytest.raises(OSError):
        fetch(f"{proxy.url}/v2/rig/proxied/blobs/uploads/", "POST", b"x" * 10_000_000)
    assert proxy.died
    with pytest.raises(OSError):
        fetch(f"{proxy.url}/v2/")
    proxy.die_after_bytes = None
    assert fetch(f"{proxy.url}/v2/")[0] == 200

    proxy.refuse = True
    with pytest.raises(OSError):
        fetch(f"{proxy.url}/v2/")


def test_redis_answers_again_after_a_crash(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("rig", "1")
        redis_server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        redis_server.start()
        assert client.get("rig") is None


def test_every_postgres_database_is_empty_and_ones_own(
    postgres: Postgres, postgres_url: str
) -> None:
    other = postgres.create_database()
    assert other != postgres_url
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE rig (x int)")
        connection.execute("INSERT INTO rig VALUES (1)")
    with psycopg.connect(other.replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT to_regclass('rig')").fetchone()
        assert found == (None,)
    with psycopg.connect(other.replace("+psycopg", "")) as busy:
        postgres.drop_database(other)
        with pytest.raises(psycopg.OperationalError):
            busy.execute("SELECT 1")
        busy.close()


def test_docker_and_containerd_pull_and_run_what_the_registry_holds(
    docker_engine: DockerEngine, registry: Registry, tmp_path: Path
) -> None:
    tar = tar_of(tiny_root(tmp_path / "root"), tmp_path / "root.tar")
    image = f"{registry.host}/rig/tiny:1"
    docker_engine.docker("import", str(tar), image)
    docker_engine.docker("push", image)
    docker_engine.docker("rmi", image)
    assert docker_engine.run(image, "/bin/id", "-un", user="1000").stdout == "jovyan\n"

    docker_engine.ctr("images", "pull", "--plain-http", image)
    ran = docker_engine.ctr("run", "--rm", "--net-host", image, "rig-tiny", "/bin/id", "-un")
    assert ran.stdout == "root\n"


@pytest.mark.parametrize("way", ["http_url", "git_url", "file_url"])
def test_git_serves_branches_and_tags(git_server: GitServer, tmp_path: Path, way: str) -> None:
    repository = git_server.repository(f"rig-{way}", {"requirements.txt": "six\n"})
    first = repository.head
    repository.tag("v1", annotated=True)
    second = repository.commit({"requirements.txt": None, "new.txt": b"\x00"}, ref="dev")
    repository.commit({"main.txt": "main\n"}, ref="main")
    url = getattr(repository, way)

    listed = repository.git("ls-remote", url)
    assert f"{first}\trefs/tags/v1^{{}}" in listed
    assert f"{second}\trefs/heads/dev" in listed
    repository.git("clone", "-q", "--depth=1", "--branch=dev", url, str(tmp_path / "dev"))
    assert sorted(p.name for p in (tmp_path / "dev").iterdir()) == [".git", "new.txt"]


def test_a_private_repository_asks_for_a_token(git_server: GitServer, tmp_path: Path) -> None:
    repository = git_server.repository("private/plot", {"plot.py": "pass\n"})
    quiet = ["-c", "core.askPass=true", "-c", "credential.helper="]
    with pytest.raises(RuntimeError, match="Authentication failed"):
        repository.git(*quiet, "clone", repository.http_url, str(tmp_path / "a"))
    url = repository.http_url.replace("://", f"://{USER}:{TOKEN}@")
    repository.git("clone", "-q", url, str(tmp_path / "b"))
    assert (tmp_path / "b/plot.py").read_text() == "pass\n"


def uv(*args: str) -> subprocess.CompletedProcess[str]:
    binary = Path(sys.executable).with_name("uv")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PIP_"))}
    return subprocess.run(
        [str(binary), *args, "--no-config", "--no-cache"],
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )


def test_uv_resolves_and_installs_from_the_wheel_index(
    wheel_factory: WheelFactory, tmp_path: Path
) -> None:
    wheel_factory.wheel("Rig.Base", "2.0", {"rig_base.py": "def main():\n    print('base')\n"})
    wheel_factory.wheel(
        "rig-top",
        requires=["rig-base>=1; python_version >= '3'"],
        scripts={"rig-top": "rig_base:main"},
        data={"scripts/raw": "#!python\nprint('raw')\n", "data/share/rig.txt": "shared\n"},
        stored=["rig_top/__init__.py"],
        streamed=["rig_top-1.0.dist-info/WHEEL"],
    )
    (tmp_path / "in").write_text("rig-top\n")
    lock = tmp_path / "lock.txt"
    index = ["--default-index", wheel_factory.index_url]
    compiled = uv(
        "pip", "compile", "--generate-hashes", "-o", str(lock), str(tmp_path / "in"), *index
    )
    assert compiled.returncode == 0, compiled.stderr
    assert wheel_factory.requests.count("/files/rig_base-2.0-py3-none-any.whl.metadata") == 1

    venv = tmp_path / "venv"
    assert uv("venv", str(venv)).returncode == 0
    install = ["pip", "install", "--python", str(venv), "--require-hashes", "-r", str(lock)]
    installed = uv(*install, *index)
    assert installed.returncode == 0, installed.stderr
    assert subprocess.check_output([venv / "bin/rig-top"], text=True) == "base\n"
    assert subprocess.check_output([venv / "bin/raw"], text=True) == "raw\n"
    assert (venv / "share/rig.txt").read_text() == "shared\n"


def test_an_index_that_lies_about_a_hash_is_found_out(
    wheel_factory: WheelFactory, tmp_path: Path
) -> None:
    wheel = wheel_factory.wheel("rig-liar")
    wheel_factory.lie_about(wheel)
    (tmp_path / "lock.txt").write_text(wheel_factory.requirement(wheel) + "\n")
    assert uv("venv", str(tmp_path / "venv")).returncode == 0
    installed = uv(
        *("pip", "install", "--python", str(tmp_path / "venv"), "--require-hashes"),
        *("-r", str(tmp_path / "lock.txt"), "--default-index", wheel_factory.index_url),
    )
    assert installed.returncode != 0
    assert "Hash mismatch for `rig-liar==1.0`" in installed.stderr


def test_a_package_without_a_wheel_is_only_an_sdist(wheel_factory: WheelFactory) -> None:
    sdist = wheel_factory.sdist("rig-source", "0.1")
    status, _, page = fetch(f"{wheel_factory.index_url}rig-source/")
    assert status == 200
    assert sdist.name.encode() in page
    assert fetch(f"{wheel_factory.index_url}unheard-of/")[0] == 404


def test_a_server_dies_with_the_run_that_started_it(tmp_path: Path) -> None:
    program("setpriv", "util-linux")
    starts_redis = (
        "import time\n"
        "from rig.redis import redis_server\n"
        "with redis_server() as server:\n"
        "    print(server.port, flush=True)\n"
        "    time.sleep(60)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", starts_redis],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert run.stdout is not None
        port = int(run.stdout.readline())
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    client = redis.Redis(port=port)
    for _ in range(100):
        try:
            client.ping()
        except redis.ConnectionError:
            return
        time.sleep(0.05)
    pytest.fail("the server outlived the process that started it")


def test_a_part_that_is_missing_says_how_to_get_it() -> None:
    with pytest.raises(MissingPartError, match="apt-get install no-such-package"):
        program("no-such-program", "no-such-package")
