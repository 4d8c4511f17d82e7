"""A part that is started with `--held` begins when its parent says so, and not otherwise."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from e2e.servers import BIN
from rig.process import accepts, free_port

from catalog.engine import migrate


def held_api(tmp_path: Path, port: int) -> subprocess.Popen[bytes]:
    environ = os.environ | {
        "KITBAG_DATA": str(tmp_path),
        "KITBAG_DATABASE_URL": f"sqlite:///{tmp_path}/catalog.db",
        "KITBAG_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0",
        "KITBAG_LOCAL": "true",
    }
    return subprocess.Popen(
        [BIN / "kitbag-server", "api", "--port", str(port), "--held"],
        env=environ,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_held_part_ends_with_a_sentence_if_the_word_never_comes(tmp_path: Path) -> None:
    port = free_port()
    with held_api(tmp_path, port) as api:
        _, said = api.communicate(timeout=60)
    assert api.returncode == 2
    assert b"ended before the catalog was ready; start it anew." in said


def test_a_held_part_begins_at_the_word(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/catalog.db")
    port = free_port()
    with held_api(tmp_path, port) as api:
        try:
            assert api.stdin is not None
            assert not accepts(port)
            api.stdin.write(b"\n")
            api.stdin.flush()
            deadline = time.monotonic() + 60
            while not accepts(port) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert accepts(port)
        finally:
            api.terminate()
