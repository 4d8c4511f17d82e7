"""Read a build request: a JSON body, or multipart with the request and an archive."""

from __future__ import annotations

import errno
import json
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from api.builds import uploads
from api.builds.normal import NormalRequest, normalise
from api.builds.request import BuildRequest
from api.builds.uploads import Upload
from api.problems import ProblemError, Slug
from api.services import Services
from api.settings import ApiSettings
from api.text import human

_JSON_SCHEMA = {"$ref": "#/components/schemas/BuildRequest"}
OPENAPI_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _JSON_SCHEMA},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["request", "archive"],
                    "properties": {
                        "request": {
                            "type": "string",
                            "description": "A BuildRequest in JSON, without `source`.",
                        },
                        "archive": {
                            "type": "string",
                            "format": "binary",
                            "description": "A .tar or .tar.gz of the folder.",
                        },
                    },
                }
            },
        },
    }
}


async def _read(request: Request) -> NormalRequest:
    """The normalised request; an archive is on disk when this returns."""
    services: Services = request.app.state.services
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        asked = parse(await request.body(), services.settings)
        return normalise(asked, None)
    if kind == "multipart/form-data":
        return await _read_form(request, services.settings)
    raise ProblemError(
        Slug.INVALID_REQUEST,
        "The body must be application/json, or multipart/form-data with request and archive.",
        status=415,
    )


RequestDep = Annotated[NormalRequest, Depends(_read)]


async def _read_form(request: Request, settings: ApiSettings) -> NormalRequest:
    try:
        async with request.form(
            max_files=1, max_fields=1, max_part_size=settings.max_json_bytes
        ) as form:
            text, archive = form.get("request"), form.get("archive")
            if not isinstance(text, str) or not isinstance(archive, UploadFile):
                raise ProblemError(
                    Slug.INVALID_REQUEST,
                    "The form needs two parts: request, a JSON text, and archive, a file.",
                )
            asked = parse(text.encode(), settings)
            if asked.source is not None:
                raise ProblemError(
                    Slug.INVALID_REQUEST,
                    "source can't be given beside an archive; leave one of them out.",
                )
            upload: Upload = await run_in_threadpool(uploads.keep, settings, archive.file)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ProblemError(
            Slug.DISK_FULL,
            "The server has no space left for uploads; tell its operator, or build from git.",
        ) from error
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise ProblemError(
            Slug.INVALID_REQUEST,
            "The form can't be read; send the parts request and archive as multipart/form-data.",
            status=400,
        ) from error
    return normalise(asked, upload)


def parse(body: bytes, settings: ApiSettings) -> BuildRequest:
    """The request in a JSON body, within the limits; raises ProblemError."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProblemError(
            Slug.INVALID_REQUEST, "The body is not valid JSON; send a JSON object.", status=400
        ) from error
    try:
        asked = BuildRequest.model_validate(data)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False)) from error
    _check_files(asked, settings)
    return asked


def _check_files(asked: BuildRequest, settings: ApiSettings) -> None:
    files = asked.source.files if asked.source else None
    if not files:
        return
    if len(files) > settings.max_files:
        raise ProblemError(
            Slug.TOO_LARGE,
            f"source.files names over {settings.max_files:,} files; upload an archive instead.",
        )
    for name, text in files.items():
        if len(text.encode()) > settings.max_text_bytes:
            raise ProblemError(
                Slug.TOO_LARGE,
                f"The file {name!r} is over {human(settings.max_text_bytes)}; shorten it.",
                about={"file": name},
            )
