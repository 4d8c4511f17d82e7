"""Events over connections that break: each once, in order, to the last."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.http import serve

from kitbag import Build, Client, Event, EventKind, KitbagError, StillRunningError, UnreachableError
from kitbag import events as module
from kitbag.cli.builds import waited
from kitbag.events import messages

pytestmark = pytest.mark.timeout(60)

LAST = 6


def event(seq: int, kind: str = "log") -> bytes:
    data = {"seq": seq, "at": "2026-01-02T03:04:05Z", "kind": kind, "phase": "p", "message": "m"}
    return f"id: {seq}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def whole(after: int = 0) -> bytes:
    """The rest of a build's stream."""
    return b"".join(
        event(seq, "done" if seq == LAST else "log") for seq in range(after + 1, LAST + 1)
    )


Answer = Callable[["Handler", int, int], None]


class Handler(BaseHTTPRequestHandler):
    """Answers the n-th request for events as the test says."""

    protocol_version = "HTTP/1.1"
    answer: Answer
    asked: list[str | None]

    def do_GET(self) -> None:
        last = self.headers.get("Last-Event-ID")
        self.asked.append(last)
        self.close_connection = True
        type(self).answer(self, len(self.asked), int(last or 0))

    def begin(self, kind: str = "text/event-stream", status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@contextmanager
def server(answer: Answer) -> Iterator[tuple[Client, list[str | None]]]:
    asked: list[str | None] = []
    handler = type("Answering", (Handler,), {"answer": staticmethod(answer), "asked": asked})
    with serve(handler) as port, Client(f"http://127.0.0.1:{port}") as client:
        yield client, asked


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.005)


def followed(client: Client) -> list[int]:
    return [event.seq for event in client.follow("b1")]


def test_a_stream_is_read_to_its_last_event():
    def answer(handler: Handler, _: int, after: int) -> None:
        handler.begin()
        handler.write(b": hello\n\n" + whole(after))

    with server(answer) as (client, asked):
        assert followed(client) == [1, 2, 3, 4, 5, 6]
        assert asked == [None]


def test_after_a_dropped_connection_the_rest_comes_and_nothing_twice():
    def answer(handler: Handler, number: int, after: int) -> None:
        handler.begin()
        # Whole events, then half of one; the server repeats one that was already seen.
        start = max(after - 1, 0)
        handler.write(b"".join(event(seq) for seq in range(start + 1, min(start + 3, LAST))))
        if number < 4:
            handler.write(event(min(start + 3, LAST))[:30])
        else:
            handler.write(whole(after))

    with server(answer) as (client, asked):
        assert followed(client) == [1, 2, 3, 4, 5, 6]
        assert asked[0] is None
        assert asked[1:] == sorted(asked[1:], key=lambda last: int(last or 0))


def test_a_server_that_restarts_is_waited_for():
    def answer(handler: Handler, number: int, after: int) -> None:
        if number == 1:
            handler.begin()
            handler.write(event(1))
        elif number == 2:
            handler.begin("text/plain", 503)
        elif number == 3:
            handler.connection.close()
        else:
            handler.begin()
            handler.write(whole(after))

    with server(answer) as (client, asked):
        assert followed(client) == [1, 2, 3, 4, 5, 6]
        assert asked == [None, "1", "1", "1"]


def test_a_build_whose_last_event_was_seen_has_nothing_more_to_tell():
    def answer(handler: Handler, _: int, __: int) -> None:
        handler.send_response(204)
        handler.end_headers()

    with server(answer) as (client, asked):
        assert list(client.follow("b1", after=LAST)) == []
        assert asked == [str(LAST)]


def test_a_server_without_room_for_one_more_stream_is_asked_again():
    def answer(handler: Handler, number: int, after: int) -> None:
        if number == 1:
            handler.begin("application/problem+json", 503)
            handler.write(b'{"type": "unavailable", "status": 503, "detail": "No room."}')
        else:
            handler.begin()
            handler.write(whole(after))

    with server(answer) as (client, asked):
        assert followed(client) == [1, 2, 3, 4, 5, 6]
        assert len(asked) == 2


def test_a_build_that_is_not_there_is_an_error_at_once():
    def answer(handler: Handler, _: int, __: int) -> None:
        handler.begin("application/problem+json", 404)
        problem = {
            "type": "https://kitbag.dev/problems/build-not-found",
            "status": 404,
            "detail": "There is no build b1; `kitbag ls` shows what is there.",
        }
        handler.write(json.dumps(problem).encode())

    with server(answer) as (client, asked):
        with pytest.raises(KitbagError, match="There is no build b1") as caught:
            followed(client)
        assert caught.value.problem is not None
        assert caught.value.problem.type == "build-not-found"
        assert len(asked) == 1


def test_a_server_that_stays_away_is_given_up_in_the_end(monkeypatch):
    def answer(handler: Handler, _: int, __: int) -> None:
        handler.connection.close()

    monkeypatch.setattr(module, "_PATIENCE_S", 0.3)
    with server(answer) as (client, asked):
        with pytest.raises(UnreachableError):
            followed(client)
        assert len(asked) > 2
        begun = Build.from_json({"id": "b1", "environment": "a/b", "state": "queued"})
        with pytest.raises(UnreachableError, match="build b1 may go on: `kitbag logs -f b1`"):
            waited(client, begun, False)


def test_waiting_ends_when_its_time_is_up_though_the_server_says_nothing():
    held = threading.Event()

    def answer(handler: Handler, _: int, __: int) -> None:
        handler.begin()
        handler.write(event(1))
        held.wait(20)

    with server(answer) as (client, _):
        began = time.monotonic()
        with pytest.raises(StillRunningError, match=r"not ready after 0\.5 s"):
            list(client.follow("b1", timeout_s=0.5))
        assert 0.5 <= time.monotonic() - began < 5
        held.set()


def test_an_answer_that_is_no_stream_names_the_address_to_check():
    def answer(handler: Handler, _: int, __: int) -> None:
        handler.begin("text/html")
        handler.write(b"<h1>It works!</h1>")

    with server(answer) as (client, _), pytest.raises(KitbagError, match="check KITBAG_URL"):
        followed(client)


def test_an_event_without_end_is_refused():
    def answer(handler: Handler, _: int, __: int) -> None:
        handler.begin()
        handler.write(b"data: ")
        for _ in range(40):
            handler.write(b"x" * 65536)

    with server(answer) as (client, _), pytest.raises(KitbagError, match="over a million"):
        followed(client)


def test_line_ends_of_every_kind_may_be_cut_anywhere():
    text = whole().replace(b"\n", b"\r\n")

    def answer(handler: Handler, number: int, _: int) -> None:
        handler.begin()
        data = text if number == 1 else whole().replace(b"\n", b"\r")
        for start in range(0, len(data), 7):
            handler.write(data[start : start + 7])
            time.sleep(0.0005)

    with server(answer) as (client, _):
        assert followed(client) == [1, 2, 3, 4, 5, 6]
        assert followed(client) == [1, 2, 3, 4, 5, 6]


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n"), max_size=20), max_size=8)
)
def test_data_of_many_lines_comes_back_as_it_was(lines: list[str]):
    sent = [f"data: {line}" for line in lines]
    found = [message.data for message in messages([*sent, ""]) if message]
    assert found == (["\n".join(lines)] if lines else [])


def test_the_kinds_are_read_and_unknown_ones_name_what_to_update():
    first = module.parse('{"seq": 1, "kind": "warning", "message": "m", "data": {"a": 1}}')
    assert first == Event(1, None, EventKind.WARNING, "", "m", {"a": 1})
    for text in ('{"seq": 1, "kind": "later"}', "[]", "x", '{"kind": "log"}'):
        with pytest.raises(KitbagError, match="update the client"):
            module.parse(text)


def test_a_token_is_not_sent_along_with_a_redirect():
    seen: list[str | None] = []

    class Elsewhere(Handler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization"))
            self.begin()

    with serve(Elsewhere) as other:

        def answer(handler: Handler, _: int, __: int) -> None:
            handler.send_response(302)
            handler.send_header("Location", f"http://127.0.0.1:{other}/")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with (
            server(answer) as (client, _),
            pytest.raises(KitbagError, match=r"HTTP 302.*check KITBAG_URL"),
        ):
            Client(client.url, "s3cret").resolve("a/b")
    assert seen == []
