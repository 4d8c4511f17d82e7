"""What WWW-Authenticate headers say is read as RFC 9110 means it, whatever they hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.stores.challenge import Challenge, parse_challenges, parse_scopes, render_scopes


@pytest.mark.parametrize(
    ("headers", "challenges"),
    [
        (
            ['Bearer realm="https://a.example/t",service="s",scope="repository:a/b:pull,push"'],
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://a.example/t",
                        "service": "s",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (['Basic realm="x"'], [Challenge("basic", {"realm": "x"})]),
        (
            ["bEARER  Realm=plain , SERVICE = s"],
            [Challenge("bearer", {"realm": "plain", "service": "s"})],
        ),
        (
            ['Basic realm="a, b=\\"c\\"", Bearer realm="r"'],
            [Challenge("basic", {"realm": 'a, b="c"'}), Challenge("bearer", {"realm": "r"})],
        ),
        (
            ["Negotiate, Basic realm=x"],
            [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})],
        ),
        (["Negotiate", "Basic"], [Challenge("negotiate", {}), Challenge("basic", {})]),
        ([""], []),
        (['"""'], []),
    ],
)
def test_challenges_are_read(headers, challenges):
    assert parse_challenges(headers) == challenges


@given(st.lists(st.text(max_size=200), max_size=4))
def test_no_header_breaks_the_reader(headers):
    for challenge in parse_challenges(headers):
        assert challenge.scheme == challenge.scheme.lower()


names = st.from_regex(r"repository:[a-z]{1,5}(:[0-9]{1,4})?/[a-z]{1,5}", fullmatch=True)
actions = st.sets(st.sampled_from(["pull", "push", "delete", "*"]), min_size=1)


@given(st.dictionaries(names, actions, max_size=4))
def test_scopes_come_out_as_they_went_in(wanted):
    scopes = frozenset(f"{name}:{action}" for name in wanted for action in wanted[name])
    rendered = render_scopes(scopes)
    assert len(rendered) == len(wanted)
    assert parse_scopes(" ".join(rendered)) == scopes
