"""How long an API server waits for an admission review, at a steady rate, from a warm cache.

    python bench/admission.py [--rate 200] [--seconds 20] [--json FILE]

The server is `kitbag-server api` over TLS in a process of its own; requests are sent when they are
due, whether or not earlier ones are answered, and timed from when they were due. The peer is
/healthz of the same server at the same rate in the same run: what HTTP, TLS and the machine cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from catalog import builds, runs
from catalog.engine import make_engine, migrate, writing
from catalog.states import BuildState
from catalog.versions import VersionFacts

ENVIRONMENTS = 20
KEY = "k3y0fthewebh00k0"
CONNECTIONS = 20


def image(number: int) -> str:
    return f"registry.example/team/env-{number}@sha256:{number:064x}"


def fill(url: str, environments: int = ENVIRONMENTS) -> None:
    """Make environments team/env-0, … with a version each, by the catalog's own steps."""
    migrate(url)
    engine = make_engine(url)
    for number in range(environments):
        with writing(engine) as session:
            build, _ = builds.request_build(
                session, environment=f"team/env-{number}", request={}, request_key=str(number)
            )
            runs.claim(session, build.id, "bench")
        for state in (BuildState.BUILDING, BuildState.PUSHING):
            with writing(engine) as session:
                runs.transition(session, build.id, state, attempt=1)
        facts = VersionFacts(
            image=image(number),
            digest=image(number).rpartition("@")[2],
            content_key=str(number),
            python="3.11.2",
            accelerator="cpu",
            base_name="auto",
            base_digest=f"sha256:{0:064x}",
            size_bytes=1,
            platform="linux/amd64",
        )
        with writing(engine) as session:
            runs.finish_ready(session, build.id, facts, attempt=1, way="layered", stats={})
    engine.dispose()


def job(reference: str) -> dict[str, Any]:
    """A TFJob of about 5 KB: three roles with volumes, probes and variables as real ones have."""
    variables = [{"name": f"VARIABLE_{n}", "value": f"value-{n}"} for n in range(15)]
    container = {
        "name": "tensorflow",
        "image": reference,
        "command": ["python", "/opt/train.py", "--epochs=20", "--data=/data/gan"],
        "env": variables,
        "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "16Gi", "cpu": "4"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    beside = {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.20", "env": variables[:5]}
    pod = {
        "containers": [container, beside],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    }
    roles = {
        role: {"replicas": 2, "restartPolicy": "OnFailure", "template": {"spec": pod}}
        for role in ("Chief", "Worker", "PS")
    }
    metadata = {"name": "gan", "namespace": "team", "labels": {"app": "gan"}}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": metadata,
        "spec": {"tfReplicaSpecs": roles},
    }


def pod(reference: str) -> dict[str, Any]:
    containers = [{"name": "main", "image": reference}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "team"},
        "spec": {"containers": containers},
    }


def review(obj: dict[str, Any]) -> bytes:
    group, _, version = obj["apiVersion"].rpartition("/")
    kind = {"group": group, "version": version, "kind": obj["kind"]}
    request = {
        "uid": "0c0ffee0-0000-4000-8000-000000000000",
        "kind": kind,
        "namespace": "team",
        "operation": "CREATE",
        "object": obj,
    }
    return json.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    ).encode()


def post(path: str, bodies: list[bytes]) -> list[bytes]:
    return [
        f"POST {path}/{KEY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
        for body in bodies
    ]


class Load:
    """Connections that are kept, and the times of the answers over them."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port = port
        self._context = context
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.Queue()
        )

    async def open(self) -> None:
        for _ in range(CONNECTIONS):
            self._free.put_nowait(
                await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)
            )

    async def one(self, request: bytes, due: float, times: list[float], wanted: bytes) -> None:
        connection = await self._free.get()
        reader, writer = connection
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        times.append(time.perf_counter() - due)
        assert head.startswith(b"HTTP/1.1 200"), body
        assert wanted in body, body
        self._free.put_nowait(connection)

    async def run(
        self, requests: list[bytes], rate: float, seconds: float, wanted: bytes
    ) -> list[float]:
        times: list[float] = []
        began = time.perf_counter() + 0.1
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = began + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                request = requests[number % len(requests)]
                group.create_task(self.one(request, due, times, wanted))
        return sorted(times)


def at(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))] * 1000


async def measure(port: int, authority: Path, rate: float, seconds: float) -> list[dict[str, Any]]:
    load = Load(port, ssl.create_default_context(cafile=authority))
    await load.open()
    references = [f"kitbag://team/env-{number}" for number in range(ENVIRONMENTS)]
    jobs = [review(job(reference)) for reference in references]
    plain = [review(job("tensorflow/tensorflow:2.15"))]
    pods = [review(pod(image(number))) for number in range(ENVIRONMENTS)]
    get = [b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    cases: list[tuple[str, list[bytes], bytes]] = [
        ("/healthz (the peer)", get, b""),
        ("a TFJob that asks for nothing", post("/v1/admission", plain), b'"allowed":true'),
        ("a TFJob with three references", post("/v1/admission", jobs), b'"patch":'),
        ("a Pod, validated", post("/v1/admission/validate", pods), b'"allowed":true'),
        ("/healthz again", get, b""),
    ]
    rows = []
    for name, requests, wanted in cases:
        await load.run(requests, 50, 2, wanted)
        times = await load.run(requests, rate, seconds, wanted)
        rows.append(
            {
                "case": name,
                "bytes": len(requests[0]),
                "requests": len(times),
                "p50_ms": at(times, 0.5),
                "p99_ms": at(times, 0.99),
                "max_ms": times[-1] * 1000,
            }
        )
    return rows


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--port", type=int, default=18443)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        url = f"sqlite:///{folder}/catalog.db"
        fill(url)
        cert, key = certificate(folder)
        server = subprocess.Popen(
            [sys.executable, "-m", "server", "api", "--port", str(chosen.port),
             "--tls-cert", str(cert), "--tls-key", str(key)],
            env={"PATH": os.environ["PATH"], "KITBAG_DATABASE_URL": url,
                 "KITBAG_DATA": str(folder / "data"), "KITBAG_ADMISSION_KEY": KEY},
        )  # fmt: skip
        try:
            wait_for(chosen.port)
            rows = asyncio.run(measure(chosen.port, cert, chosen.rate, chosen.seconds))
        finally:
            server.terminate()
            server.wait()
    peer = max(row["p99_ms"] for row in rows if row["case"].startswith("/healthz"))
    print(f"{chosen.rate:g} requests/s for {chosen.seconds:g} s each, over TLS")
    print(f"{'':<32}{'bytes':>7}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'p99 / peer':>12}")
    for row in rows:
        print(
            f"{row['case']:<32}{row['bytes']:>7}{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}"
            f"{row['max_ms']:>9.2f}{row['p99_ms'] / peer:>12.1f}"
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2))


def wait_for(port: int) -> None:
    """Return when something listens on this port of loopback."""
    import socket

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    main()
