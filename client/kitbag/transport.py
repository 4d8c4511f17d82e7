"""HTTP to a Kitbag server: JSON in, JSON out, problems as errors."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import httpx

from kitbag import __version__
from kitbag.config import Config
from kitbag.errors import KitbagError, Problem, UnreachableError

_MAX_PROBLEM_BYTES = 1024 * 1024
_CONNECT_S = 10.0
# Too many requests, bad gateway, unavailable, gateway time-out: the same may work a minute later.
_PASSING = frozenset({429, 502, 503, 504})
# With the status of the former: it lasts for hours.
_LASTING = "quota-exceeded"


class Transport:
    """One server, its connections and the token it is shown; safe to use from several threads."""

    def __init__(self, config: Config, *, timeout_s: float) -> None:
        self.url = config.url
        self._token = config.token
        headers = {"User-Agent": f"kitbag/{__version__}", "Accept": "application/json"}
        if config.token:
            headers["Authorization"] = f"Bearer {config.token}"
        self._http = httpx.Client(
            base_url=config.url,
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
            # A proxy of the environment can't reach this machine's loopback.
            trust_env=not _is_loopback(config.url),
        )

    def close(self) -> None:
        """Close the connections; the transport can't be used afterwards."""
        self._http.close()

    def get(self, path: str, **query: str | int | None) -> Any:  # noqa: ANN401 - JSON
        """The JSON at this path; None values are left out of the query."""
        params = {key: value for key, value in query.items() if value is not None}
        # Asking again is harmless, and a kept-alive connection may have died since the last answer.
        try:
            return self._send("GET", path, params=params)
        except _DroppedError:
            return self._send("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, Any], *, timeout_s: float | None = None) -> Any:  # noqa: ANN401 - JSON
        """Post a JSON body; returns the JSON of the answer."""
        return self._send("POST", path, json=body, **_timeout(timeout_s))

    def post_archive(
        self, path: str, body: Mapping[str, Any], archive: IO[bytes], *, timeout_s: float
    ) -> Any:  # noqa: ANN401 - JSON
        """Post a build request with the folder it is about, as multipart/form-data."""
        return self._send(
            "POST",
            path,
            data={"request": json.dumps(body)},
            files={"archive": ("source.tar.gz", archive, "application/gzip")},
            **_timeout(timeout_s),
        )

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Patch with a JSON body; returns the JSON of the answer."""
        return self._send("PATCH", path, json=body)

    def delete(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Delete what is at this path; returns the JSON of the answer, None if it has none."""
        return self._send("DELETE", path)

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str], *, read_timeout_s: float
    ) -> Iterator[httpx.Response]:
        """An open answer whose body is read as it comes; problems raise as in `get`."""
        timeout = httpx.Timeout(_CONNECT_S, read=read_timeout_s)
        with (
            self._told("GET", path),
            self._http.stream("GET", path, headers=dict(headers), timeout=timeout) as response,
        ):
            if not response.is_success:
                raise self._problem(response, _some(response))
            yield response

    def _send(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - httpx's own
        with self._told(method, path):
            response = self._http.request(method, path, **options)
        if not response.is_success:
            raise self._problem(response, response.content)
        if response.status_code == httpx.codes.NO_CONTENT:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise self._foreign() from error

    @contextmanager
    def _told(self, method: str, path: str) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectTimeout as error:
            raise UnreachableError(
                f"{self.url} did not answer within {_CONNECT_S:g} s: check KITBAG_URL, or try later"
            ) from error
        except httpx.TimeoutException as error:
            raise UnreachableError(
                f"{self.url} took too long to answer {method} {path}: try again later"
            ) from error
        except httpx.ConnectError as error:
            raise UnreachableError(
                f"no server answers at {self.url} ({_reason(error)}): start one with"
                " `kitbag-server up`, or set KITBAG_URL"
            ) from error
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            raise _DroppedError(
                f"{self.url} closed the connection in mid-answer: try again"
            ) from error
        except httpx.TransportError as error:
            raise UnreachableError(f"{self.url} can't be asked: {_reason(error)}") from error

    def _problem(self, response: httpx.Response, body: bytes) -> KitbagError:
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        if kind == "application/problem+json":
            try:
                data = json.loads(body)
                problem = Problem.from_json(data) if isinstance(data, dict) else None
            except ValueError:
                problem = None
            if problem:
                if response.status_code == httpx.codes.UNAUTHORIZED:
                    return KitbagError(self._login(), problem)
                lasting = problem.type == _LASTING
                passing = response.status_code in _PASSING and not lasting
                return (UnreachableError if passing else KitbagError).of(problem)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            return KitbagError(self._login())
        if response.status_code in _PASSING:
            return UnreachableError(
                f"{self.url} is not ready (HTTP {response.status_code}): try again later"
            )
        return self._foreign(response.status_code)

    def _login(self) -> str:
        if self._token:
            return (
                f"{self.url} does not take this token: run `kitbag login {self.url}` with a new one"
            )
        return f"{self.url} asks for a token: run `kitbag login {self.url}`, or set KITBAG_TOKEN"

    def _foreign(self, status: int | None = None) -> KitbagError:
        what = f"HTTP {status}" if status else "something that is not JSON"
        return KitbagError(f"{self.url} answers like no Kitbag server ({what}): check KITBAG_URL")


class _DroppedError(UnreachableError):
    """The connection ended before the answer did."""


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _timeout(timeout_s: float | None) -> dict[str, httpx.Timeout]:
    return {} if timeout_s is None else {"timeout": httpx.Timeout(timeout_s, connect=_CONNECT_S)}


def _some(response: httpx.Response) -> bytes:
    body = b""
    for piece in response.iter_bytes():
        body += piece
        if len(body) > _MAX_PROBLEM_BYTES:
            break
    return body


def _reason(error: httpx.HTTPError) -> str:
    """The operating system's words for it: httpx wraps the error that has them twice."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
