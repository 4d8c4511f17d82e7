"""The OpenAPI document: FastAPI's, with the models that no route names by itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.builds.request import BuildRequest
from api.problems import Problem

_DESCRIPTION = """\
Kitbag packs an environment once and carries it everywhere as one image digest.

Every error is a problem document (RFC 9457) whose `type` is stable; `docs/errors.md` lists them.
"""


def install(app: FastAPI) -> None:
    """Make the app answer /openapi.json with it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document: dict[str, Any] = get_openapi(
        title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes
    )
    _, definitions = models_json_schema(
        [(BuildRequest, "validation"), (Problem, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in definitions["$defs"].items():
        schemas.setdefault(name, schema)
    return document
