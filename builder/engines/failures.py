"""What an engine's client says at the end, as one of our errors."""

from __future__ import annotations

import re
from collections.abc import Sequence

from builder.engines.protocol import Limit, Limits
from builder.errors import (
    BuildError,
    DiskFullError,
    EngineBuildError,
    EngineUnreachableError,
    LimitExceededError,
)

KILLED = 137
"""The exit status of a step that was killed, as the kernel does when memory runs out."""

_STATUS = re.compile(r"(?:returned a non-zero code|exit code|exit status):? (\d{1,3})")
# Classic: "The command '…' returned a non-zero code: 7"; BuildKit: 'process "…" did not complete
# successfully: exit code: 7', before 0.9 "executor failed running […]: exit code: 7"; podman:
# 'while running "…": exit status 7'.
_STEP = re.compile(
    r"(?:The command '(?P<classic>.*)' returned|process \"(?P<solve>.*)\" did not"
    r"|executor failed running \[(?P<old>.*)\]:|building at STEP \"(?P<podman>.*)\": while)"
)
_GONE = re.compile(
    r"(?i)cannot connect to the docker daemon|error during connect|unexpected eof"
    r"|transport is closing|connection re(?:set|fused)|broken pipe|error reading from server"
    r"|use of closed network connection|code = unavailable|no such host|i/o timeout"
    r"|connect: no such file|^(?:error: )?eof$|failed to receive status"
    r"|graceful_stop|no active session"
)
_AWAY = re.compile(
    r"(?i)\bEOF\b|connection re(?:set|fused)|i/o timeout|broken pipe|server closed"
    r"|TLS handshake timeout|unexpected http status: 5\d\d|status(?: code)?:? 5\d\d"
    r"|context deadline exceeded"
)
_FORKLESS = re.compile(
    r"(?i)(?:can(?:no|')t fork|fork|thread).{0,40}(?:resource temporarily unavailable|can't start)"
    r"|can(?:no|')t fork|can't start new thread|\[errno 11\]"
)
_FULL = re.compile(r"(?i)no space left on device|disk quota exceeded")
_MAX_SAID = 300
_NEAR = 20
# How far from the end a program's complaint of a full disk still explains why its step failed.


def is_away(reason: str) -> bool:
    """Whether a client says of a registry that it did not answer, or stopped half-way."""
    return _AWAY.search(reason) is not None


def failure(
    said: Sequence[str], limits: Limits, honoured: frozenset[Limit], *, answers: bool
) -> BuildError:
    """The error of a client that ended with a failure; `said` are its last lines, redacted.

    `answers` is whether the engine does now. Only the client's own last words decide: what steps
    print comes before them.
    """
    spoken = [line.strip() for line in said if line.strip() and not line.startswith("View build")]
    last = spoken[-1] if spoken else ""
    status = _STATUS.search(last)
    if not answers or (_GONE.search(last) and not status):
        return EngineUnreachableError(
            "The container engine stopped answering during the build; the build can be tried again."
        )
    if any(_FULL.search(line) for line in spoken[-_NEAR:]):
        return DiskFullError("The container engine's disk is full: tell its operator.")
    if status is None:
        reason = re.sub(r"^(?:ERROR|Error|error)(?:: | response from daemon: )", "", last)
        return EngineBuildError(
            f"The container engine can't build this: {_short(reason) or 'it gave no reason'}"
        )
    code = int(status[1])
    if code == KILLED and limits.memory_bytes and Limit.MEMORY in honoured:
        return LimitExceededError(
            f"A step of the build was killed, most likely for more memory than its limit of "
            f"{limits.memory_bytes / (1 << 20):.0f} MiB; let it use less, or ask for more."
        )
    if limits.processes and any(_FORKLESS.search(line) for line in spoken[-_NEAR:]):
        return LimitExceededError(
            f"A step of the build could start no more processes, of which it may have "
            f"{limits.processes}; let it start fewer, or ask for more."
        )
    match = _STEP.search(last)
    step = next((each for each in match.groups() if each), "") if match else ""
    step = re.sub(r"^(?:RUN )?(?:/bin/sh -c )?", "", step)
    extra: dict[str, str | int] = {"status": code} | ({"step": step[:_MAX_SAID]} if step else {})
    named = f" ({step[:100]})" if step else ""
    return EngineBuildError(
        f"A step of the build{named} ended with status {code}; the lines above it in the build's "
        "log say why.",
        **extra,
    )


def _short(reason: str) -> str:
    """What is long begins with a name, said twice, and ends with the cause."""
    if len(reason) <= _MAX_SAID:
        return reason
    return f"{reason[: _MAX_SAID // 3]} … {reason[-2 * _MAX_SAID // 3 :]}"
