"""A Git LFS server: the batch API's basic transfer, over the repositories of `rig.git`."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler

_TYPE = "application/vnd.git-lfs+json"
_BATCH = "/info/lfs/objects/batch"
_STORE = "/lfs-objects/"
_LOCKS = "/info/lfs/locks"


class LfsServer:
    """Objects by SHA-256, for all repositories together.

    They are handed out to whoever shows the header that the batch API told. `asked` lists each
    request as (method, path, its Authorization).
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self._ticket = secrets.token_hex(8)

    def put(self, content: bytes) -> str:
        """Keep a file; returns its pointer."""
        oid = hashlib.sha256(content).hexdigest()
        self.objects[oid] = content
        return pointer(oid, len(content))

    def takes(self, path: str) -> bool:
        """Whether a request for this path is for here."""
        return path.endswith((_BATCH, _LOCKS, _LOCKS + "/verify")) or path.startswith(_STORE)

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer it; who may see the repository was checked before."""
        self.asked.append((request.command, request.path, request.headers.get("Authorization")))
        if request.path.startswith(_STORE):
            self._object(request, request.path.removeprefix(_STORE), body)
        elif request.path.endswith(_BATCH):
            here = f"http://{request.headers['Host']}"
            _send(request, 200, json.dumps(self._batch(json.loads(body), here)).encode())
        else:
            _send(request, 404, b'{"message": "no locks here"}')

    def _batch(self, asked: Mapping[str, object], here: str) -> dict[str, object]:
        assert asked["hash_algo"] == "sha256" if "hash_algo" in asked else True
        operation = str(asked["operation"])
        wanted: list[dict[str, object]] = asked["objects"]  # type: ignore[assignment]
        objects: list[dict[str, object]] = []
        for each in wanted:
            known = str(each["oid"]) in self.objects
            action = {"href": f"{here}{_STORE}{each['oid']}", "header": {"X-Rig": self._ticket}}
            if operation == "download" and not known:
                objects.append({**each, "error": {"code": 404, "message": "no such object"}})
            elif operation == "upload" and known:
                objects.append(dict(each))
            else:
                objects.append({**each, "authenticated": True, "actions": {operation: action}})
        return {"transfer": "basic", "objects": objects}

    def _object(self, request: BaseHTTPRequestHandler, oid: str, body: bytes) -> None:
        if request.headers.get("X-Rig") != self._ticket:
            _send(request, 403, b"{}")
        elif request.command == "PUT":
            assert hashlib.sha256(body).hexdigest() == oid
            self.objects[oid] = body
            _send(request, 200, b"")
        else:
            _send(request, 200, self.objects[oid], "application/octet-stream")


def pointer(oid: str, size_bytes: int) -> str:
    """The text of a pointer."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size_bytes}\n"


def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = _TYPE) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
