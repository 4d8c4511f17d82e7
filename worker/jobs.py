"""Work that takes longer than an answer waits: told to the workers, and asked after by its id.

A job is a JSON document under `kitbag:job:ID` in Redis for a day, and `kitbag:jobs` names those
that haven't ended. Losing one loses an answer and nothing else: what it does can be done again.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import redis

KEPT_S = 86_400
SILENT_S = 30.0
"""Whoever works on a job says so far more often; after this long it is dead."""
MAX_ATTEMPTS = 5
_BEAT_S = 0.5
_OPEN = "kitbag:jobs"


class JobKind(StrEnum):
    """What a job is."""

    VERIFY = "verify"
    REBASE = "rebase"
    LAUNCH = "launch"
    """A notebook is started."""
    RESTART = "restart"
    """A notebook gets a version at once."""
    USES = "uses"
    """What runs an environment is looked for."""


class Jobs:
    """The jobs of one queue; raises what Redis' client raises."""

    def __init__(self, broker_url: str) -> None:
        self._redis = redis.Redis.from_url(
            broker_url, socket_connect_timeout=2, socket_timeout=10, decode_responses=True
        )

    def add(self, kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """A new job, queued."""
        job: dict[str, Any] = {
            "id": secrets.token_hex(16),
            "kind": kind,
            "state": "queued",
            "arguments": dict(arguments),
            "attempt": 0,
            "beat": time.time(),
            "progress": {},
            "result": None,
            "problem": None,
        }
        self._write(job)
        self._redis.sadd(_OPEN, job["id"])
        return job

    def get(self, job_id: str) -> dict[str, Any] | None:
        """The job as it is now; None if there never was one, or its day is over."""
        text = self._redis.get(f"kitbag:job:{job_id}")
        job: dict[str, Any] | None = json.loads(str(text)) if text else None
        return job

    def begin(self, job_id: str) -> dict[str, Any] | None:
        """The job, begun by the caller; None if it ended or somebody works on it."""
        job = self.get(job_id)
        alive = job and job["state"] == "running" and time.time() - job["beat"] < SILENT_S
        if job is None or job["state"] in ("done", "failed") or alive:
            return None
        job |= {"state": "running", "attempt": job["attempt"] + 1, "beat": time.time()}
        self._write(job)
        return job

    def teller(self, job: dict[str, Any]) -> Callable[[Mapping[str, Any]], None]:
        """Says how far the job is, and that it is worked on; writes twice a second at most."""

        def tell(progress: Mapping[str, Any]) -> None:
            now = time.time()
            if progress:
                job["progress"] = dict(progress)
            if now - job["beat"] >= _BEAT_S:
                job["beat"] = now
                self._write(job)

        return tell

    def end(self, job: dict[str, Any], **said: Any) -> None:  # noqa: ANN401 # JSON
        """The job's `result` or `problem`."""
        state = "failed" if said.get("problem") else "done"
        self._write(job | {"state": state, "beat": time.time()} | said)
        self._redis.srem(_OPEN, job["id"])

    def left(self) -> list[str]:
        """The jobs that nobody works on: their worker died, or the queue lost them."""
        found = []
        for job_id in sorted(str(each) for each in self._redis.smembers(_OPEN)):
            job = self.get(job_id)
            if job is None:
                self._redis.srem(_OPEN, job_id)
            elif time.time() - job["beat"] >= SILENT_S:
                found.append(job_id)
        return found

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _write(self, job: Mapping[str, Any]) -> None:
        self._redis.set(f"kitbag:job:{job['id']}", json.dumps(job), ex=KEPT_S)
