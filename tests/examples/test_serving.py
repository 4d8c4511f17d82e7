from __future__ import annotations

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PREDICT = "/v1/models/3dgan:predict"


@pytest.fixture(scope="module")
def port(science, example: Path, trained: Path) -> Iterator[int]:
    """A running predictor's port."""
    model = trained / "model.npz"
    args = ["-m", "gan3d.serve", "--model", model, "--host", "127.0.0.1", "--port", 0]
    command, env = science.command(example, *args)
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)/", server.stdout.readline())
            assert found
            yield int(found[1])
        finally:
            server.kill()


def ask(
    port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, content, headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_the_predictor_says_it_is_ready(port: int) -> None:
    assert ask(port, "GET", "/v1/models/3dgan") == (200, {"name": "3dgan", "ready": True})


def test_a_prediction_is_a_shower_for_each_instance_within_its_energy(port: int) -> None:
    wanted = [20.0, 400.0]
    body = {"instances": [{"energy_gev": energy} for energy in wanted]}
    status, answer = ask(port, "POST", PREDICT, body)
    assert status == 200
    assert [shower["energy_gev"] for shower in answer["predictions"]] == wanted
    for shower in answer["predictions"]:
        voxels = [v for plane in shower["voxels_gev"] for row in plane for v in row]
        assert len(voxels) == 8**3
        assert min(voxels) >= 0
        assert 0 < sum(voxels) <= shower["energy_gev"] * 1.001


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[" * 60_000,
        b"\xff\xfe",
        [],
        {"instances": {}},
        {"instances": []},
        {"instances": [{"energy_gev": None}]},
        {"instances": [{"energy_gev": 1e9}]},
        b'{"instances": [{"energy_gev": NaN}]}',
        b'{"instances": [{"energy_gev": 1' + b"0" * 400 + b"}]}",
        {"instances": [{"energy_gev": 50}] * 65},
    ],
    ids=lambda body: repr(body)[:40],
)
def test_a_bad_body_is_refused_with_a_reason(port: int, body: object) -> None:
    status, answer = ask(port, "POST", PREDICT, body)
    assert status == 400
    assert re.search("send|energy_gev", answer["error"])


def test_a_body_over_the_limit_is_refused_unread(port: int) -> None:
    status, answer = ask(port, "POST", PREDICT, headers={"Content-Length": "9" * 20})
    assert (status, answer) == (413, {"error": "send at most 65536 bytes"})


def test_a_body_of_unknown_length_is_refused(port: int) -> None:
    status, _ = ask(port, "POST", PREDICT, b"{}", headers={"Content-Length": "-1"})
    assert status == 411


def test_another_path_is_not_found(port: int) -> None:
    assert ask(port, "GET", "/etc/passwd")[0] == 404
    assert ask(port, "POST", "/v1/models/other:predict", {})[0] == 404
