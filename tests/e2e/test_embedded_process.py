"""`kitbag-server up` as a process: how it starts, ends, goes on, and says why it can't."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from e2e.servers import (
    BIN,
    Embedded,
    Server,
    SlowIndex,
    StartEmbedded,
    kill,
    run_server,
)
from rig.process import Daemon, accepts, children, free_port


def test_health_readiness_and_metrics_are_open_to_all(embedded: Embedded) -> None:
    assert embedded.get("/healthz") == {"status": "ok"}
    ready = embedded.get("/readyz")
    assert ready["ready"] is True
    assert all(ready[part]["ok"] for part in ("catalog", "queue", "workers"))
    metrics = embedded.http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "kitbag_" in metrics.text


def test_sigterm_ends_every_part_and_the_next_up_goes_on(start_embedded: StartEmbedded) -> None:
    server = start_embedded()
    built = server.build("goes/on", "two")
    parts = children(server.up.pid or 0)
    assert len(parts) >= 4
    server.up.stop(timeout_s=60)
    assert gone(parts)
    assert "Traceback" not in server.up.log
    assert (server.data / "logs" / "worker.log").read_text().count("Warm shutdown") == 1

    again = start_embedded(server.data)
    assert again.get("/v1/resolve", env="goes/on")["digest"] == built["digest"]
    assert again.submit("goes/on", "two").status_code == 200
    more = again.build("goes/on", "two", "four")
    assert (more["version"], more["stats"]["layers_new"]) == (2, 1)


def test_a_build_that_a_power_cut_ended_is_finished_by_the_next_up(
    start_embedded: StartEmbedded, slow_index: SlowIndex
) -> None:
    server = start_embedded(KITBAG_LEASE_S="3", KITBAG_HEARTBEAT_S="1")
    answer = server.submit("killed/up", f"--extra-index-url {slow_index.url}", "one")
    server.wait_for_state(answer.json()["id"], "resolving")
    parts = children(server.up.pid or 0)
    for part in parts:
        kill(part)
    server.up.kill()
    assert gone(parts)

    slow_index.hurry()
    again = start_embedded(server.data, KITBAG_LEASE_S="3", KITBAG_HEARTBEAT_S="1")
    build = again.wait(answer.json()["id"])
    assert build["state"] == "ready", build["error"]


def test_a_part_that_dies_is_started_again_and_all_end_with_their_parent(
    start_embedded: StartEmbedded,
) -> None:
    server = start_embedded()
    worker = next(pid for pid in children(server.up.pid or 0) if is_worker(pid))
    kill(worker)
    built = server.build("worker/back", "one")
    assert built["state"] == "ready"
    assert "The worker ended with -9; it was started again." in server.up.log
    parts = children(server.up.pid or 0)
    server.up.kill()
    assert gone(parts)


def test_a_part_that_is_killed_while_all_start_is_started_again(
    small_settings: dict[str, str], tmp_path: Path
) -> None:
    server = Unlucky(tmp_path / "data", small_settings)
    try:
        server.up.start()
        assert server.ready()
    finally:
        server.http.close()
        server.up.stop(timeout_s=60)
    assert server.killed
    assert "The worker ended with -9; it was started again." in server.up.log


class Unlucky(Embedded):
    """Its first worker is killed as soon as it is there."""

    killed = False

    def is_up(self) -> bool:
        for pid in () if self.killed else children(self.up.pid or 0):
            if is_worker(pid):
                kill(pid)
                self.killed = True
        return super().is_up()


def test_a_port_in_use_is_one_sentence(embedded: Embedded, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for command in (("up", "--data", tmp_path / "data"), ("api",)):
            done = run_server(*command, "--port", str(port), env=embedded.environ)
            assert done.returncode == 2
            assert done.stderr == (
                f"kitbag-server: Port {port} of 127.0.0.1 is in use; stop what listens there, "
                "or give another with --port.\n"
            )
    assert not (tmp_path / "data").exists()


def test_a_folder_in_use_is_one_sentence(embedded: Embedded) -> None:
    done = run_server("up", "--port", "0", "--data", embedded.data, env=embedded.environ)
    assert done.returncode == 2
    assert done.stderr == (
        f"kitbag-server: {embedded.data} is in use by another kitbag-server "
        f"(process {embedded.up.pid}); stop that one, or give another folder with --data.\n"
    )
    assert embedded.ready()


def test_a_folder_that_cannot_be_made_is_one_sentence(embedded: Embedded, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    data = tmp_path / "file" / "data"
    done = run_server("up", "--port", "0", "--data", data, env=embedded.environ)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "can't be written (Not a directory)" in done.stderr


def test_settings_that_make_no_sense_are_named(embedded: Embedded) -> None:
    env = {key: value for key, value in embedded.environ.items() if not key.startswith("KITBAG_")}
    missing = run_server("worker", env=env)
    assert missing.returncode == 2
    assert missing.stderr.startswith("kitbag-server: Set KITBAG_DATABASE_URL and KITBAG_DATA;")
    env |= {"KITBAG_DATA": str(embedded.data), "KITBAG_DATABASE_URL": "postgresql://127.0.0.1:9/x"}
    away = run_server("migrate", env=env)
    assert away.returncode == 2
    assert away.stderr.startswith("kitbag-server: The catalog can't be used (")
    assert away.stderr.count("\n") == 1
    open_to_all = run_server("api", "--host", "0.0.0.0", env=env)
    assert open_to_all.returncode == 2
    assert "set KITBAG_API_TOKEN" in open_to_all.stderr


def test_a_token_guards_the_api_and_the_command_shows_it(
    embedded: Embedded, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "KITBAG_API_TOKEN": "s3cret-token",
        "KITBAG_DATA": str(embedded.data),
        "KITBAG_DATABASE_URL": f"sqlite:///{embedded.data}/catalog.db",
    }
    api = Daemon(
        [str(BIN / "kitbag-server"), "api", "--host", "0.0.0.0", "--port", str(port)],
        log=tmp_path / "log",
        ready=lambda: accepts(port),
        env=embedded.environ | settings,
    )
    api.start()
    try:
        guarded = Server(url, tmp_path / "data", {})
        assert guarded.http.get("/v1/environments").status_code == 401
        refused = guarded.kitbag("ls")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.count("\n") == 1
        guarded.variables["KITBAG_TOKEN"] = "s3cret-token"
        assert guarded.kitbag("ls").returncode == 0
    finally:
        api.stop()


def is_worker(pid: int) -> bool:
    """Whether it is the process that Celery's pool and the builds are children of."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
        above = Path(f"/proc/{parent}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"worker" in command and b"worker" not in above


def gone(pids: list[int], timeout_s: float = 30) -> bool:
    """Whether all of these processes end in time."""
    deadline = time.monotonic() + timeout_s
    while any(Path(f"/proc/{pid}").exists() and not zombie(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True
