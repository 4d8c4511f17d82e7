"""The HTTP API of a Docker Engine, as far as a client program doesn't do it better.

Source: Docker Engine API v1.41, the oldest that is spoken here; podman's compatible API too.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import quote

import httpx

from builder.engines.address import Address
from builder.errors import EngineBuildError, EngineUnreachableError, LimitExceededError
from builder.streams import Chunks

VERSION = "v1.41"
TIMEOUT_S = 30.0
_LIBPOD = "v4.0.0/libpod"
MAX_FILES_BYTES = 4 << 30
MAX_FILES = 1000


class EngineApi:
    """One engine's API; safe for threads. Raises EngineUnreachableError when it doesn't answer."""

    def __init__(self, address: Address) -> None:
        self._address = address
        socket = address.socket
        transport = httpx.HTTPTransport(
            uds=str(socket) if socket else None, verify=address.tls(), retries=1
        )
        # No proxy of the worker's environment stands between it and its engine.
        self._client = httpx.Client(
            transport=transport,
            base_url=address.http,
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    def version(self) -> dict[str, Any]:
        """`Version`, `ApiVersion`, `Os`, `Arch` and more."""
        return self._get(f"/{VERSION}/version")

    def info(self) -> dict[str, Any]:
        """`CgroupDriver`, `MemoryLimit`, `CpuCfsQuota`, `DockerRootDir` and more."""
        return self._get(f"/{VERSION}/info")

    def image(self, name: str) -> dict[str, Any] | None:
        """What the engine knows of an image, None if it hasn't it."""
        return self._found(f"/{VERSION}/images/{quote(name, safe='/:@')}/json")

    def tags(self) -> list[str]:
        """The names REPOSITORY:TAG of all images."""
        found = self._list(f"/{VERSION}/images/json")
        return [str(name) for image in found for name in image.get("RepoTags") or ()]

    def containers(self, *, running: bool = False, size: bool = False) -> list[dict[str, Any]]:
        """Containers as the engine lists them; with `size`, `SizeRw` is what each has written."""
        return self._list(
            f"/{VERSION}/containers/json", all=str(not running).lower(), size=str(size).lower()
        )

    def container(self, container: str) -> dict[str, Any] | None:
        """What the engine knows of a container, None if it is gone."""
        return self._found(f"/{VERSION}/containers/{quote(container)}/json")

    def networks(self, label: str) -> list[dict[str, Any]]:
        """Networks that have the label."""
        return self._list(f"/{VERSION}/networks", filters=json.dumps({"label": [label]}))

    def cache_bytes(self) -> int:
        """The size of BuildKit's cache of finished steps."""
        records = self._get(f"/{VERSION}/system/df").get("BuildCache") or []
        return sum(int(each.get("Size") or 0) for each in records if not each.get("Shared"))

    def limit_processes(self, container: str, most: int) -> None:
        """Let a container that runs have no more processes than so many, whoever they run as."""
        url = f"/{VERSION}/containers/{quote(container)}/update"
        with self._answering():
            response = self._client.post(url, json={"PidsLimit": most})
        if response.status_code not in (404, 409):  # it ended meanwhile
            self._checked(response)

    def remove_image(self, name: str) -> bool:
        """Take the name from an image, and remove it if it has no other; whether it was there."""
        return self._delete(f"/{VERSION}/images/{quote(name, safe='/:@')}")

    def remove_container(self, container: str) -> bool:
        """End a container and remove it with its volumes; whether it was there."""
        return self._delete(f"/{VERSION}/containers/{quote(container)}?force=true&v=true")

    def remove_network(self, network: str) -> bool:
        """Remove a network; whether it was there."""
        return self._delete(f"/{VERSION}/networks/{quote(network)}")

    def storage_containers(self) -> list[dict[str, Any]]:
        """What builds of podman work in, which only its own API lists; `Image` is a name."""
        found = self._list(f"/{_LIBPOD}/containers/json", all="true", external="true")
        return [each for each in found if each.get("State") == "storage"]

    def remove_storage_container(self, container: str) -> bool:
        """Remove one of those; whether it was there."""
        return self._delete(f"/{_LIBPOD}/containers/{quote(container)}?force=true")

    def create(self, image: str, labels: dict[str, str]) -> str:
        """A container of the image that never starts; returns its id."""
        body = {"Image": image, "Cmd": ["none"], "Labels": labels, "NetworkDisabled": True}
        with self._answering():
            response = self._client.post(f"/{VERSION}/containers/create", json=body)
        return str(self._checked(response).json()["Id"])

    def copy_files(self, container: str, folder: str, into: Path) -> tuple[Path, ...]:
        """The regular files right in a folder of a container, as files of ours."""
        url = f"/{VERSION}/containers/{quote(container)}/archive"
        with (
            self._answering(),
            self._client.stream("GET", url, params={"path": folder}) as response,
        ):
            if response.status_code == 404:
                raise EngineBuildError(f"The build made no folder {folder}: let a step make it.")
            if response.status_code != 200:
                response.read()
                self._checked(response)
            stream = cast("IO[bytes]", Chunks(response.iter_bytes()))
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                return tuple(_flat_files(tar, into))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _get(self, url: str, **params: str) -> dict[str, Any]:
        with self._answering():
            response = self._client.get(url, params=params)
        return _object(self._checked(response))

    def _list(self, url: str, **params: str) -> list[dict[str, Any]]:
        with self._answering():
            response = self._client.get(url, params=params)
        found = self._checked(response).json()
        return [each for each in found if isinstance(each, dict)] if found else []

    def _found(self, url: str) -> dict[str, Any] | None:
        with self._answering():
            response = self._client.get(url)
        return None if response.status_code == 404 else _object(self._checked(response))

    def _delete(self, url: str) -> bool:
        with self._answering():
            response = self._client.delete(url)
        if response.status_code in (404, 409):
            return False  # gone already, or in use, or somebody removes it just now
        self._checked(response)
        return True

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        try:
            said = str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            said = response.text
        raise EngineUnreachableError(
            f"The container engine answered {response.status_code} ({said[:200].strip()}); its "
            "operator finds the cause in the engine's log."
        )

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, OSError, tarfile.TarError) as error:
            raise EngineUnreachableError(
                f"The container engine at {self._address.url} does not answer "
                f"({type(error).__name__}); its operator must start it, or correct the address."
            ) from error


def _object(response: httpx.Response) -> dict[str, Any]:
    found = response.json()
    return found if isinstance(found, dict) else {}


def _flat_files(tar: tarfile.TarFile, into: Path) -> Iterator[Path]:
    """Write the regular files that are right in the archive's one folder, and nothing else."""
    total, count = 0, 0
    for member in tar:
        parts = member.name.removeprefix("./").split("/")
        if not member.isreg() or len(parts) != 2 or parts[1] in ("", ".", ".."):
            continue
        total += member.size
        count += 1
        if total > MAX_FILES_BYTES or count > MAX_FILES:
            raise LimitExceededError(
                f"The build gave over {MAX_FILES} files or {MAX_FILES_BYTES >> 30} GiB: "
                "let it give less."
            )
        source = tar.extractfile(member)
        assert source is not None
        target = into / parts[1]
        with target.open("xb") as out:
            while chunk := source.read(1 << 20):
                out.write(chunk)
        yield target
