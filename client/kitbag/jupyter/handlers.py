"""The routes below /kitbag: Jupyter's own sign-in, authorization and XSRF check before each."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import HTTPError, authenticated

from kitbag.errors import KitbagError

if TYPE_CHECKING:
    from kitbag.jupyter.notebook import Document, Notebook

_ACCEPTED = 202
_BAD_REQUEST = 400
# Not a 5xx, for which proxies put pages of their own, nor the 401 or 403 of Kitbag's server, which
# JupyterLab would take for its own session's end.
_CONFLICT = 409
_BUILD_ID = r"(?P<build_id>[A-Za-z0-9_-]{1,64})"
_SEQ = r"[0-9]{1,15}"
_VERSION = r"[1-9][0-9]{0,8}"


class _Handler(APIHandler):
    """Runs one question of a notebook beside the event loop, which serves kernels meanwhile."""

    auth_resource = "kitbag"

    def initialize(self, notebook: Notebook) -> None:
        self.notebook = notebook

    async def answer(self, ask: Callable[[], Document], status: int = 200) -> None:
        """Send what `ask` returns; a KitbagError as {"message", "type"} with 409."""
        document: dict[str, Any]
        try:
            document = await asyncio.get_running_loop().run_in_executor(None, ask)
        except KitbagError as error:
            status = _CONFLICT
            slug = error.problem.type if error.problem else None
            document = {"message": str(error), "type": slug}
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(document))


class _Status(_Handler):
    @authenticated
    @authorized
    async def get(self) -> None:
        """The environment and what differs."""
        await self.answer(self.notebook.status)


class _History(_Handler):
    @authenticated
    @authorized
    async def get(self) -> None:
        """The newest versions."""
        await self.answer(self.notebook.history)


class _Save(_Handler):
    @authenticated
    @authorized
    async def post(self) -> None:
        """Begin a build; takes no body."""
        await self.answer(self.notebook.save, _ACCEPTED)


class _Restart(_Handler):
    @authenticated
    @authorized
    async def post(self) -> None:
        """Restart this notebook on the version `to`; takes no body."""
        to = self.get_query_argument("to", "")
        if not re.fullmatch(_VERSION, to):
            raise HTTPError(_BAD_REQUEST, "to is the number of a version")
        await self.answer(lambda: self.notebook.restart(int(to)))


class _Build(_Handler):
    @authenticated
    @authorized
    async def get(self, build_id: str) -> None:
        """A build's state and its log behind the event `after`."""
        after = self.get_query_argument("after", "0")
        if not re.fullmatch(_SEQ, after):
            raise HTTPError(_BAD_REQUEST, "after is the number of an event")
        await self.answer(lambda: self.notebook.build(build_id, int(after)))


def handlers(base_url: str, notebook: Notebook) -> list[tuple[str, type, dict[str, Any]]]:
    """The routes for a server at this base URL."""
    routes = {
        "status": _Status,
        "history": _History,
        "save": _Save,
        "restart": _Restart,
        f"builds/{_BUILD_ID}": _Build,
    }
    return [
        (url_path_join(base_url, "kitbag", path), handler, {"notebook": notebook})
        for path, handler in routes.items()
    ]
