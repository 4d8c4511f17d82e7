"""The whole API as its document says, by schemathesis, on a whole server that asks for a token.

schemathesis is no dependency: `pip install schemathesis` somewhere, and put it on PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import httpx
import pytest
from rig.process import Daemon, free_port, temp_dir

TOKEN = "the attacked server's token"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,ignored_auth"


@pytest.mark.wide
def test_whatever_the_document_allows_is_answered_as_it_says() -> None:
    found = shutil.which("schemathesis")
    if found is None:
        pytest.skip("schemathesis is not installed")
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/readyz", trust_env=False, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    with temp_dir("attack") as folder:
        settings = {
            **os.environ,
            "KITBAG_API_TOKEN": TOKEN,
            "KITBAG_INDEX_URL": "http://127.0.0.1:9/simple/",
            "KITBAG_RATE_LIMIT": "0",
            "KITBAG_RATE_LIMIT_UNKNOWN": "0",
        }
        server = Daemon(
            [
                *(sys.executable, "-m", "server", "up", "--port", str(port)),
                *("--data", str(folder / "data"), "--workers", "1"),
            ],
            log=folder / "log",
            ready=answers,
            timeout_s=120,
            env=settings,
        )
        server.start()
        try:
            done = subprocess.run(
                [
                    *(found, "run", f"{url}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}"),
                    *("--max-examples", "8", "--phases", "examples,fuzzing", "--checks", CHECKS),
                    # Reviews have no schema; tests/api/test_admission.py has them.
                    *("--exclude-path-regex", "^/v1/admission", "--request-timeout", "30"),
                ],
                capture_output=True,
                text=True,
                cwd=folder,  # where it keeps what it found
                timeout=280,
                check=False,
            )
        finally:
            server.stop()
    assert done.returncode == 0, done.stdout[-6000:]
