"""Kitbag in a Jupyter server: what its panel in JupyterLab asks, answered in the server's process.

Jupyter is no dependency of this package: it imports this module where it is installed.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter Server finds the extension."""
    return [{"module": "kitbag.jupyter"}]


def _load_jupyter_server_extension(app: Any) -> None:  # noqa: ANN401 - jupyter_server's ServerApp
    """Answer below /kitbag of this server."""
    from kitbag.jupyter.handlers import handlers
    from kitbag.jupyter.notebook import Notebook

    app.web_app.add_handlers(".*$", handlers(app.web_app.settings["base_url"], Notebook()))
