"""What of an engine's output is told."""

from __future__ import annotations

from builder.binder.log import HEAD_LINES, TAIL_LINES, BuildLog


def told(lines, secrets=()):
    steps = []
    with BuildLog(steps.append, secrets) as log:
        for line in lines:
            log(line)
    assert {step.kind for step in steps} == {"log"}
    return [step.message for step in steps]


def test_a_line_is_told_at_once():
    steps = []
    with BuildLog(steps.append) as log:
        log("Setting up hello")
        assert [step.message for step in steps] == ["Setting up hello"]


def test_of_a_long_output_the_beginning_and_the_end_are_told():
    count = HEAD_LINES + 5 * TAIL_LINES
    lines = told(f"line {number}" for number in range(count))
    assert lines[:2] == ["line 0", "line 1"]
    assert lines[HEAD_LINES] == f"… {4 * TAIL_LINES} lines are left out here …"
    assert lines[-1] == f"line {count - 1}"
    assert len(lines) == HEAD_LINES + TAIL_LINES + 1


def test_secrets_and_what_looks_like_one_are_not_told():
    lines = told(
        ["token s3cr3t-value here", "https://user:word@host/x", "Authorization: Basic abcdef"],
        ["s3cr3t-value"],
    )
    assert not any(word in line for line in lines for word in ("s3cr3t", "word@", "abcdef"))


def test_what_an_engine_says_of_each_layer_is_left_out():
    assert told(["0123456789ab: Pulling fs layer", "#5 sha256:" + "a" * 64, "kept"]) == ["kept"]


def test_a_line_of_a_gigabyte_is_cut():
    assert len(told(["x" * 10_000_000])[0]) <= 2000
