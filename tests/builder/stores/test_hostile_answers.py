"""Whatever a server answers, the end is a value or one sentence, never a broken program."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import BuildError, StoreRefusedError
from builder.stores.exchange import retry_after_s
from builder.stores.problems import problem

DEEP = b"[" * 200_000


@pytest.mark.rig
@pytest.mark.parametrize("body", [DEEP, b"[]", b"7", b"", b"\xff", b'{"mediaType": []}'])
def test_a_manifest_that_is_none_is_one_sentence(registry, make_front, make_store, body):
    front = make_front(registry.port)
    front.rule = lambda _: front.answer(200, body)
    with contextlib.suppress(StoreRefusedError):
        found = make_store(front.host).manifest("hostile/manifest", "v1")
        assert found.data == body


@pytest.mark.rig
@pytest.mark.parametrize(
    "location",
    ["http://[", "//", "http://other.invalid:99999999/", "file:///etc/passwd", "x" * 70_000, "ä"],
)
def test_a_location_that_is_none_is_one_sentence(
    registry, make_front, make_store, make_blob, location
):
    front, blob = make_front(registry.port), make_blob(10)

    def lost(asked, answer):
        if asked.method == "POST":
            return front.answer(202, Location=location)
        return answer

    front.change = lost
    with pytest.raises(BuildError) as refused:
        make_store(front.host, retries=1).put_blob("hostile/where", blob.descriptor, blob.open)
    assert type(refused.value) is not BuildError


@pytest.mark.rig
@pytest.mark.parametrize("body", [DEEP, b"[]", b'{"token": 7}', b'{"token": "a\\nb"}', b"{}"])
def test_a_token_that_is_none_is_one_sentence(registry, make_front, make_store, body):
    front = make_front(registry.port)

    def rule(asked):
        if asked.path.startswith("/token"):
            return front.answer(200, body)
        return front.answer(401, WWW_Authenticate=f'Bearer realm="http://{front.host}/token"')

    front.rule = rule
    with pytest.raises(StoreRefusedError, match=re.escape(front.host)):
        make_store(front.host).manifest("hostile/token", "v1")


@given(st.integers(100, 999), st.text(max_size=500), st.booleans())
def test_any_refusal_is_one_line(status, text, logged_in):
    error = problem(
        host="r.example", method="PUT", path="/v2/a/b/manifests/v1", status=status,
        text=json.dumps({"errors": [{"code": "X", "message": text}]}), logged_in=logged_in,
    )  # fmt: skip
    assert error.detail.isprintable()
    assert "r.example" in error.detail


@given(st.text(max_size=60) | st.from_regex(r"\d{1,500}", fullmatch=True))
def test_no_retry_after_breaks_the_reader(header):
    waited = retry_after_s(header)
    assert waited is None or waited >= 0


def test_retry_after_is_seconds_or_a_date():
    assert retry_after_s("120") == 120
    assert retry_after_s(None) is None
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < retry_after_s(soon) <= 90
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    assert retry_after_s(past) == 0
