"""What every request meets: limits of bodies, unknown paths, ids, tokens, surprises."""

from __future__ import annotations

import base64
import json
import socket
import time

import pytest

TOKEN = "s3cret-token"


def raw(site, request: bytes, *pieces: bytes) -> bytes:
    """Send bytes over a socket and read the answer to its end."""
    with site.open_socket() as connection:
        connection.sendall(request)
        try:
            for piece in pieces:
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while more := connection.recv(65536):
                answer += more
                if b"\r\n\r\n" in answer and answer.rstrip().endswith(b"}"):
                    break
        except (ConnectionResetError, TimeoutError):
            pass
        return answer


HEAD = b"POST /v1/builds HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def test_a_body_that_says_it_is_too_long_is_refused_unread(site):
    answer = raw(site, HEAD + b"Content-Length: 2000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"problems/too-large" in answer
    assert b"application/problem+json" in answer


def test_a_chunked_body_is_refused_once_it_is_too_long(site):
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    answer = raw(site, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *([chunk] * 40))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"problems/too-large" in answer


def test_the_limit_of_uploads_is_not_that_of_json(site, problem):
    headers = {"Content-Type": "application/json"}
    for path in ("/v1/builds", "/v1/plans", "/v1/pins"):
        response = site.http.post(path, content=b" " * (1 << 20) + b"{}", headers=headers)
        problem(response, 413, "too-large")


def test_a_requirements_file_of_ten_megabytes_is_too_large(site, problem):
    asked = {"environment": "a/b", "source": {"files": {"requirements.txt": "x\n" * 5_000_000}}}
    problem(site.http.post("/v1/builds", json=asked), 413, "too-large")
    assert site.http.get("/healthz").status_code == 200


def test_a_file_over_its_limit_is_named(make_site, problem):
    site = make_site(max_text_bytes=10)
    asked = {"environment": "a/b", "source": {"files": {"r.txt": "x" * 11}}}
    assert problem(site.http.post("/v1/builds", json=asked), 413, "too-large")["file"] == "r.txt"


def test_a_body_that_never_comes_is_given_up(make_site):
    site = make_site(body_timeout_s=0.2)
    began = time.monotonic()
    answer = raw(site, HEAD + b"Content-Length: 100\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"problems/timed-out" in answer
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"nul", b"[" * 100_000, b'"\\ud800"'])
def test_a_body_that_is_no_json_object_is_refused(site, problem, body):
    for path in ("/v1/builds", "/v1/pins", "/v1/environments/a/b/rollback"):
        headers = {"Content-Type": "application/json"}
        response = site.http.post(path, content=body, headers=headers)
        assert response.status_code in (400, 422)
        problem(response, response.status_code, "invalid-request")


def test_a_body_of_another_type_is_refused(site, problem):
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = site.http.post("/v1/builds", content=b"{}", headers={"Content-Type": kind})
        problem(response, 415, "invalid-request")


def test_what_is_not_there_and_what_can_not_be_done_are_problems(site, problem):
    problem(site.http.get("/v1/nothing"), 404, "not-found")
    problem(site.http.get("/no/such/page"), 404, "not-found")
    response = site.http.put("/v1/pins")
    problem(response, 405, "invalid-request")
    assert response.headers["allow"] == "POST"


def test_every_answer_has_a_request_id(site):
    assert len(site.http.get("/healthz").headers["x-request-id"]) == 16
    given = {"X-Request-ID": "abc-1.2"}
    assert site.http.get("/v1/nothing", headers=given).headers["x-request-id"] == "abc-1.2"
    for bad in ("a b", "x" * 65, "<script>"):
        answer = site.http.get("/healthz", headers={"X-Request-ID": bad})
        assert answer.headers["x-request-id"] != bad


def test_a_surprise_tells_its_id_and_nothing_of_itself(site, problem, caplog):
    site.workers.plan = {"way": "secret that no caller may see"}
    response = site.http.post(
        "/v1/plans", json={"environment": "a/b", "source": {"files": {"a": "b"}}}
    )
    problem(response, 500, "internal")
    assert "secret" not in response.text

    def broken(request, timeout_s):
        raise KeyError("secret")

    site.workers.request_plan = broken
    response = site.http.post(
        "/v1/plans",
        json={"environment": "a/b", "source": {"files": {"a": "b"}}},
        headers={"X-Request-ID": "find-me"},
    )
    told = problem(response, 500, "internal")
    assert "find-me" in told["detail"]
    assert "secret" not in response.text
    assert response.headers["x-request-id"] == "find-me"
    assert "find-me" in caplog.text
    assert "KeyError" in caplog.text


def test_a_catalog_that_is_gone_is_a_problem_too(site, problem):
    with site.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE builds RENAME TO gone")
    response = site.http.get("/v1/builds")
    problem(response, 503, "unavailable")
    assert "gone" not in response.text
    assert "SELECT" not in response.text


@pytest.fixture
def guarded(make_site):
    return make_site(api_token=TOKEN)


def test_a_call_needs_the_token(guarded, problem):
    for header in (None, "Bearer", "Bearer x", f"Basic {TOKEN}", TOKEN, "Bearer ü", "Bearer \xff"):
        headers = {} if header is None else {"Authorization": header.encode("latin-1")}
        for path in ("/v1/builds", "/v1/bases", "/v1/resolve?env=a/b", "/v1/environments"):
            response = guarded.http.get(path, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert response.json()["type"].endswith("/unauthorized")
            assert TOKEN not in response.text
    for kind in ("Bearer", "bearer"):
        given = {"Authorization": f"{kind} {TOKEN}"}
        assert guarded.http.get("/v1/builds", headers=given).status_code == 200


def test_no_body_is_read_before_the_token_is_seen(guarded):
    answer = raw(guarded, HEAD + b"Content-Length: 1000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401")


def test_health_and_metrics_need_no_token(guarded):
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        assert guarded.http.get(path).status_code == 200


def test_a_pull_takes_the_token_as_a_password_or_as_a_bearer(guarded):
    refused = guarded.http.get("/v2/")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert refused.json()["errors"][0]["code"] == "UNAUTHORIZED"
    assert guarded.http.get("/v2/", auth=("anyone", TOKEN)).status_code == 200
    assert guarded.http.get("/v2/", auth=("anyone", "x")).status_code == 401
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.http.get("/v2/", headers=bearer).status_code == 200
    for bad in (b"Basic !!!", b"Basic " + base64.b64encode(b"\xff\xff"), b"Basic"):
        assert guarded.http.get("/v2/", headers={"Authorization": bad}).status_code == 401


def test_an_empty_token_setting_means_none(make_site):
    assert make_site(api_token="").http.get("/v1/builds").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_without_a_token_another_host_name_is_refused(site, host):
    for path in ("/v1/builds", "/v2/"):
        response = site.http.get(path, headers={"Host": host})
        assert response.status_code == 403
        assert "KITBAG_API_TOKEN" in response.text


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:80", "127.0.0.2:5"])
def test_without_a_token_loopback_names_are_served(site, host):
    assert site.http.get("/v1/builds", headers={"Host": host}).status_code == 200


def test_without_a_token_pages_of_other_sites_are_refused(site, problem):
    headers = {"Sec-Fetch-Site": "cross-site"}
    problem(site.http.get("/v1/builds", headers=headers), 403, "forbidden")
    headers = {"Sec-Fetch-Site": "same-origin"}
    assert site.http.get("/v1/builds", headers=headers).status_code == 200


def test_a_path_that_is_odd_does_no_harm(site):
    for path in (
        b"/v1/builds/%00",
        b"/v1/environments/%2e%2e/x",
        b"/v1/bases/../../x",
        b"/v2/%ff/",
    ):
        answer = raw(site, b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b" 404 " in answer.split(b"\r\n")[0] or b" 400 " in answer.split(b"\r\n")[0]
        assert b"Traceback" not in answer


def test_json_numbers_where_text_belongs_are_refused(site, problem):
    asked = {"environment": 7, "source": {"files": {"a": "b"}}}
    response = site.http.post(
        "/v1/builds", content=json.dumps(asked), headers={"Content-Type": "application/json"}
    )
    assert "environment" in problem(response, 422, "invalid-request")["detail"]


def test_an_abrupt_end_of_a_request_leaves_the_server_up(site):
    connection = site.open_socket()
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
    connection.shutdown(socket.SHUT_RDWR)
    connection.close()
    assert site.http.get("/healthz").json() == {"status": "ok"}
