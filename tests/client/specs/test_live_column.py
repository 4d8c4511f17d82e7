"""The `live` column of the table of kinds: mistakes in it are named."""

from __future__ import annotations

import pytest

from kitbag.specs import KindsError, builtin, extended

ROW = "kinds:\n- kind: A\n  group: a\n  places: []\n  live: "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no-such-name", "'live' names one of the lives"),
        ("{say: x}", "needs 'change'"),
        ("{change: explodes}", "rolls, later"),
        ("{change: rolls, colour: red}", "'colour'"),
        ("{change: fixed, clone: maybe}", "'clone' is true or false"),
        ("{change: rolls, when: [{is: x}]}", "a condition is"),
        ("{change: rolls, when: [{at: a, no-pods: b}]}", "a condition is"),
        ("{change: rolls, when: [{at: a, is: b, only: c}]}", "a condition is"),
        ("{change: rolls, when: [{no-pods: b, is: c}]}", "a condition is"),
        ("{change: rolls, when: [{at: 'a..b'}]}", "no path"),
        ("{change: fixed, drop: ['a..b']}", "no path"),
    ],
)
def test_a_mistake_in_a_rule_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(KindsError) as caught:
        extended(builtin(), (ROW + text + "\n").encode(), "ours.yaml")
    assert said in str(caught.value)
    assert "ours.yaml:5:" in str(caught.value)


def test_a_row_uses_the_tables_named_rules() -> None:
    text = "lives: {mine: {change: later}}\n" + ROW + "mine\n"
    row = extended(builtin(), text.encode()).rows[0]
    assert [rule.change.value for rule in row.live] == ["later"]
