"""Serve the generator over KServe's v1 protocol: `python -m gan3d.serve --model model.npz`.

curl localhost:8080/v1/models/3dgan:predict -d '{"instances": [{"energy_gev": 50}]}'
"""

import argparse
import json
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from gan3d.cli import run
from gan3d.gan import Generator
from gan3d.showers import ENERGY_MAX_GEV, ENERGY_MIN_GEV

MODEL = "/v1/models/3dgan"
MAX_BODY_BYTES = 64 * 1024
MAX_INSTANCES = 64
TIMEOUT_S = 10.0


def energies(body: bytes) -> list[float]:
    """Return the energies asked for; raise ValueError, for the caller to read, if any is off."""
    try:
        instances = json.loads(body)["instances"]
        wanted = [float(instance["energy_gev"]) for instance in instances]
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ValueError('send {"instances": [{"energy_gev": 50.0}, ...]}') from error
    if not 1 <= len(wanted) <= MAX_INSTANCES:
        raise ValueError(f"send from 1 to {MAX_INSTANCES} instances")
    if not all(ENERGY_MIN_GEV <= energy <= ENERGY_MAX_GEV for energy in wanted):
        raise ValueError(f"energy_gev must be from {ENERGY_MIN_GEV:g} to {ENERGY_MAX_GEV:g}")
    return wanted


class Server(ThreadingHTTPServer):
    """An HTTP server with a generator, which takes one request at a time to bound its memory."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], generator: Generator) -> None:
        super().__init__(address, Handler)
        self.generator, self.lock, self.rng = generator, Lock(), np.random.default_rng()

    def predict(self, wanted: list[float]) -> list[dict[str, Any]]:
        with self.lock:
            showers = self.generator.generate(np.array(wanted, np.float32), self.rng)
        voxels = showers.voxels_gev.astype(np.float64).round(6).tolist()
        pairs = zip(wanted, voxels, strict=True)
        return [{"energy_gev": energy, "voxels_gev": grid} for energy, grid in pairs]


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        if self.path in ("/", MODEL):
            self._answer(HTTPStatus.OK, {"name": "3dgan", "ready": True})
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error": f"ask for {MODEL}"})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != f"{MODEL}:predict":
            self._refuse(HTTPStatus.NOT_FOUND, f"post to {MODEL}:predict")
        elif not re.fullmatch("[0-9]+", length):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
        elif len(length) > 9 or int(length) > MAX_BODY_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {MAX_BODY_BYTES} bytes"
            )
        else:
            self._predict(self.rfile.read(int(length)))

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True  # the body stays unread
        self._answer(status, {"error": reason})

    def _predict(self, body: bytes) -> None:
        try:
            wanted = energies(body)
        except ValueError as error:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        else:
            self._answer(HTTPStatus.OK, {"predictions": self.server.predict(wanted)})

    def _answer(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _work(args: argparse.Namespace) -> None:
    with Server((args.host, args.port), Generator.load(args.model)) as server:
        print(f"serving {args.model} on {args.host}:{server.server_port}{MODEL}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser("gan3d.serve", description="Serve the generator.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--host", default="0.0.0.0", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8080)
    run(parser, _work)
