"""A server before a registry that answers some requests itself, as other registries would."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rig.http import QuietHandler, serve


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in, without its body."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response instead of the real registry's."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Rule = Callable[[Asked], Answer | None]
Change = Callable[[Asked, Answer], Answer]


@dataclass(slots=True)
class Front:
    """Stands before a real registry: `rule` answers instead of it, `change` changes its answer."""

    port: int = 0
    rule: Rule = lambda _: None
    change: Change = lambda _, answer: answer
    asked: list[Asked] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @staticmethod
    def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
        """An answer for a rule; `_` in header names stands for `-`."""
        return Answer(status, {k.replace("_", "-"): v for k, v in headers.items()}, body)

    def count(self, method: str) -> int:
        return sum(asked.method == method for asked in self.asked)


@contextmanager
def front(target_port: int) -> Iterator[Front]:
    """Put a front before a registry's port until the end."""
    made = Front()
    with serve(_handler(made, target_port)) as made.port:
        yield made


def _handler(made: Front, target_port: int) -> type[QuietHandler]:
    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
            made.asked.append(asked)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = made.rule(asked) or made.change(asked, self._ask(body))
            self.send_response(answer.status)
            length = {"Content-Length": str(len(answer.body))} if self.command != "HEAD" else {}
            for name, value in {**length, **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def _ask(self, body: bytes) -> Answer:
            connection = http.client.HTTPConnection("127.0.0.1", target_port, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            response = connection.getresponse()
            data = response.read()
            connection.close()
            kept = {k: v for k, v in response.getheaders() if k.lower() != "content-length"}
            if self.command == "HEAD":
                kept = dict(response.getheaders())
            return Answer(response.status, kept, data)

    return Handler
