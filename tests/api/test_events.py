from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import event

from catalog.engine import migrate

STREAM = {"Accept": "text/event-stream"}


def read(response, *, until="done"):
    """The events of a stream as (id, name, data), up to the named one or the end."""
    got = []
    fields = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif "data" in fields:
            got.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
            if fields["event"] == until:
                break
            fields = {}
    return got


def follow(site, build_id, headers=None, params=None, until="done"):
    with site.http.stream(
        "GET", f"/v1/builds/{build_id}/events", headers=STREAM | (headers or {}), params=params
    ) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        return read(response, until=until)


def wait_until(true, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def hub(site):
    return site.app.state.services.hub


def test_events_come_as_they_happen_and_end_with_done(site):
    build = site.ask()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow, site, build["id"])
        wait_until(lambda: hub(site).follower_count == 1)
        site.workers.begin(build["id"])
        site.workers.say(build["id"], "one", "two\nlines", "ünï")
        site.workers.finish(build["id"])
        got = following.result(20)

    assert [seq for seq, _, _ in got] == list(range(1, len(got) + 1))
    assert [name for _, name, _ in got] == ["state"] * 2 + ["log"] * 3 + ["state"] * 2 + ["done"]
    assert [data["message"] for _, name, data in got if name == "log"] == [
        "one",
        "two\nlines",
        "ünï",
    ]
    assert got[2][2].keys() == {"seq", "at", "kind", "phase", "message", "data"}
    assert got[-1][2]["data"] == {
        "state": "ready",
        "image": "registry.example/alice/gan@sha256:" + "a" * 64,
        "version": 1,
        "error": None,
    }


def test_a_build_that_ended_tells_all_of_it_at_once(site):
    build = site.ask()
    site.workers.build(build["id"])
    assert [name for _, name, _ in follow(site, build["id"])] == ["state"] * 4 + ["done"]


def test_a_stream_goes_on_behind_the_last_event_that_was_seen(site):
    build = site.ask()
    site.workers.begin(build["id"])
    site.workers.say(build["id"], *"abcdef")
    first = follow(site, build["id"], until="log")
    site.workers.finish(build["id"])

    rest = follow(site, build["id"], {"Last-Event-ID": str(first[-1][0])})

    assert [seq for seq, _, _ in first + rest] == list(range(1, 12))
    assert [seq for seq, _, _ in follow(site, build["id"], params={"after": 9})] == [10, 11]


def test_a_browser_that_has_seen_the_end_is_told_not_to_come_back(site):
    build = site.ask()
    site.workers.build(build["id"])
    for last in ("5", "99"):
        response = site.http.get(
            f"/v1/builds/{build['id']}/events", headers=STREAM | {"Last-Event-ID": last}
        )
        assert (response.status_code, response.content) == (204, b"")


def test_a_last_event_id_from_the_future_still_gets_what_is_new(site):
    build = site.ask()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow, site, build["id"], {"Last-Event-ID": "99"})
        wait_until(lambda: hub(site).follower_count == 1)
        site.workers.build(build["id"])
        assert [seq for seq, _, _ in following.result(20)] == [2, 3, 4, 5]


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "99999999999999999999"])
def test_a_last_event_id_that_is_no_number_is_refused(site, problem, last):
    build = site.ask()
    told = problem(
        site.http.get(f"/v1/builds/{build['id']}/events", headers=STREAM | {"Last-Event-ID": last}),
        422,
        "invalid-request",
    )
    assert "last-event-id" in told["detail"].lower()


def test_events_are_a_page_for_who_asks_for_json(site):
    build = site.ask()
    site.workers.begin(build["id"])
    page = site.http.get(f"/v1/builds/{build['id']}/events", headers={"Accept": "application/json"})
    assert [item["seq"] for item in page.json()["items"]] == [1, 2]
    rest = site.http.get(
        f"/v1/builds/{build['id']}/events",
        headers={"Accept": "application/json"},
        params={"after": 1},
    )
    assert rest.json()["items"] == page.json()["items"][1:]


def test_a_long_history_is_told_whole_and_in_order(site):
    build = site.ask()
    site.workers.begin(build["id"])
    site.workers.say(build["id"], *(str(number) for number in range(1300)))
    site.workers.finish(build["id"])
    assert [seq for seq, _, _ in follow(site, build["id"])] == list(range(1, 1306))


def test_a_comment_comes_while_nothing_happens(make_site):
    site = make_site(event_heartbeat_s=0.1)
    build = site.ask()
    with site.http.stream("GET", f"/v1/builds/{build['id']}/events", headers=STREAM) as response:
        comments = (line for line in response.iter_lines() if line.startswith(":"))
        assert next(comments)
        assert next(comments)


def test_followers_of_one_build_share_the_questions_to_the_catalog(site):
    build = site.ask()
    engine = site.app.state.services.engine
    questions = []
    stop = threading.Event()
    got = []

    def one() -> None:
        with httpx.Client(base_url=site.url, timeout=60) as http:
            path = f"/v1/builds/{build['id']}/events"
            with http.stream("GET", path, headers=STREAM) as response:
                got.append([seq for seq, _, _ in read(response)])

    threads = [threading.Thread(target=one) for _ in range(100)]
    for thread in threads:
        thread.start()
    wait_until(lambda: hub(site).follower_count == 100, 60)
    time.sleep(0.3)
    event.listen(engine, "before_cursor_execute", lambda *args: questions.append(args[2]))
    began = time.monotonic()
    time.sleep(1.0)
    ticks = (time.monotonic() - began) / site.settings.event_poll_s
    idle = [text for text in questions if text.startswith("SELECT")]
    assert 0 < len(idle) <= ticks + 1

    questions.clear()
    site.workers.begin(build["id"])
    site.workers.say(build["id"], *(str(number) for number in range(50)))
    site.workers.finish(build["id"])
    for thread in threads:
        thread.join(60)
    stop.set()
    assert got == [list(range(1, 56))] * 100
    told = [text for text in questions if text.startswith("SELECT") and "events" in text]
    assert len(told) <= 60
    wait_until(lambda: hub(site).follower_count == 0)


def test_a_follower_that_hangs_up_leaves_nothing_behind(site):
    build = site.ask()
    sockets = [site.open_socket() for _ in range(20)]
    for connection in sockets:
        connection.sendall(
            f"GET /v1/builds/{build['id']}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Accept: text/event-stream\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    wait_until(lambda: hub(site).follower_count == 20)
    assert "kitbag_event_followers 20.0" in site.http.get("/metrics").text

    for connection in sockets:
        connection.close()

    wait_until(lambda: hub(site).follower_count == 0)
    wait_until(lambda: "kitbag_event_followers 0.0" in site.http.get("/metrics").text)
    wait_until(lambda: hub(site)._poller.done())


def test_a_follower_that_reads_slowly_holds_up_nobody(site):
    build = site.ask()
    slow = site.open_socket()
    slow.sendall(
        f"GET /v1/builds/{build['id']}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Accept: text/event-stream\r\n\r\n".encode()
    )
    wait_until(lambda: hub(site).follower_count == 1)
    site.workers.begin(build["id"])
    site.workers.say(build["id"], *("x" * 16_000 for _ in range(400)))
    site.workers.finish(build["id"])

    assert len(follow(site, build["id"])) == 405
    slow.close()
    wait_until(lambda: hub(site).follower_count == 0)


def test_more_followers_than_there_is_room_for_are_sent_away(make_site, problem):
    site = make_site(max_followers=1)
    build = site.ask()
    with site.http.stream("GET", f"/v1/builds/{build['id']}/events", headers=STREAM):
        wait_until(lambda: hub(site).follower_count == 1)
        response = site.http.get(f"/v1/builds/{build['id']}/events", headers=STREAM)
        problem(response, 503, "unavailable")
        assert response.headers["retry-after"] == "60"


SERVER = """
import sys
import uvicorn
from api.app import create_app
from api.settings import ApiSettings

class NoQueue:
    def enqueue_build(self, build_id): pass

app = create_app(ApiSettings(), NoQueue())
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


def test_a_server_that_is_told_to_stop_does_so_while_somebody_follows(tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.db"
    migrate(url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {"KITBAG_DATABASE_URL": url, "KITBAG_DATA": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], env=env)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
            wait_until(lambda: alive(http), 30)
            asked = {"environment": "a/b", "source": {"files": {"requirements.txt": ""}}}
            build = http.post("/v1/builds", json=asked).json()
            with http.stream("GET", build["events"], headers=STREAM) as response:
                lines = response.iter_lines()
                assert next(lines) == "id: 1"
                process.send_signal(signal.SIGTERM)
                assert process.wait(10) is not None
    finally:
        process.kill()
        process.wait(10)


def alive(http):
    try:
        return http.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_the_client_library_follows_a_build_to_its_end(site):
    from kitbag.client import Client

    build = site.ask()
    thread = threading.Thread(target=site.workers.build, args=(build["id"],))
    with Client(site.url) as client:
        seen = []
        thread.start()
        ended = client.wait(build["id"], timeout_s=20, on_event=seen.append)
        thread.join()
        assert ended.version == 1
        assert [event.seq for event in seen] == [1, 2, 3, 4, 5]
        assert [event.seq for event in client.events(build["id"], after=2)] == [3, 4, 5]


def test_the_whole_way_on_postgresql_and_through_its_restart(make_site, postgres, problem):
    site = make_site(database_url=postgres.create_database())
    site.add_base()
    build = site.ask("numpy")
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow, site, build["id"])
        wait_until(lambda: hub(site).follower_count == 1)
        postgres.stop()
        try:
            problem(site.http.get("/v1/builds"), 503, "unavailable")
            assert site.http.get("/readyz").json()["catalog"]["ok"] is False
            assert site.http.get("/healthz").status_code == 200
        finally:
            postgres.start()
        site.engine.dispose()
        site.workers.begin(build["id"])
        site.workers.say(build["id"], "a\0b")
        site.workers.finish(build["id"], branches=["main"])
        got = following.result(30)
    assert [seq for seq, _, _ in got] == [1, 2, 3, 4, 5, 6]
    again = site.http.post("/v1/builds", json=build["request"])
    assert (again.status_code, again.json()["version"]) == (200, 1)
    assert site.http.get("/v1/resolve", params={"env": "alice/gan:main"}).json()["version"] == 1
    assert site.http.get("/v1/environments", params={"query": "GAN"}).json()["items"]
