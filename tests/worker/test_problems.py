"""Every error that a build ends with is a sentence that says what to do."""

from __future__ import annotations

from builder.errors import (
    BadWheelError,
    DiskFullError,
    StoreUnreachableError,
    UnresolvableError,
)
from worker.problems import problem_of, surprise, unreadable


def test_a_problem_has_the_slug_the_place_and_a_full_stop() -> None:
    error = UnresolvableError("a.txt, line 3: no; try x", file="a.txt", line=3, package="one")
    assert problem_of(error) == {
        "type": "unresolvable",
        "detail": "a.txt, line 3: no; try x.",
        "file": "a.txt",
        "line": 3,
        "package": "one",
    }
    assert problem_of(StoreUnreachableError("down: try again."))["detail"] == "down: try again."


def test_advice_is_added_where_a_sentence_has_none() -> None:
    told = problem_of(BadWheelError("x.whl has no RECORD."))["detail"]
    assert told == (
        "x.whl has no RECORD; ask for another version of it, and tell those who publish it."
    )
    assert problem_of(DiskFullError("No space; free some."))["detail"] == "No space; free some."


def test_what_nobody_foresaw_points_to_the_log() -> None:
    assert "the cause of 01abc in the log" in surprise("01abc")["detail"]
    assert unreadable()["detail"].endswith("the same release.")
