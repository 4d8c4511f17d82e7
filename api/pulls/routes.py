"""/v2: docker, podman, containerd and skopeo pull from here (distribution-spec v1.1, "Pull")."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import FileResponse

from api.pulls.errors import VERSION_HEADER, PullError
from api.pulls.layout import Seen
from api.pulls.schemas import TagList
from api.services import ServicesDep

_MAX_TAGS = 1000
_ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"description": "A token is needed, as the password of any user."},
    403: {"description": "Without a token only this machine may pull."},
    404: {"description": "There is no such repository, manifest or blob."},
    422: {"description": "A name or number is out of its limits."},
}

router = APIRouter(prefix="/v2", tags=["pulls"], responses=_ERRORS)

Repo = Annotated[str, Path(max_length=255, description="The repository, such as `hep/3dgan`.")]
Reference = Annotated[str, Path(max_length=200, description="A tag or a digest.")]
Digest = Annotated[str, Path(max_length=200, description="`sha256:` and 64 hex digits.")]


async def _layout(services: ServicesDep) -> Seen:
    if services.layout is None:
        raise PullError(
            "NAME_UNKNOWN", "This server keeps no images itself; pull from the registry it names."
        )
    return Seen(services.layout, services.who.scope)


LayoutDep = Annotated[Seen, Depends(_layout)]


@router.head("/", operation_id="check_pull_version_head", include_in_schema=False)
@router.get("/", operation_id="check_pull_version")
async def check_version(response: Response) -> dict[str, str]:
    """Say that this is a registry that can be pulled from."""
    response.headers.update(VERSION_HEADER)
    return {}


@router.head("/{repo:path}/tags/list", operation_id="list_tags_head", include_in_schema=False)
@router.get("/{repo:path}/tags/list", operation_id="list_tags")
def list_tags(
    repo: Repo,
    layout: LayoutDep,
    response: Response,
    n: Annotated[int, Query(ge=0, le=_MAX_TAGS)] = _MAX_TAGS,
    last: Annotated[str, Query(max_length=128)] = "",
) -> TagList:
    """The repository's tags in order, at most `n` behind `last`."""
    tags = layout.tags(repo)
    if tags is None:
        raise PullError("NAME_UNKNOWN", f"There is no repository {repo} here.")
    rest = [tag for tag in tags if tag > last]
    response.headers.update(VERSION_HEADER)
    if 0 < n < len(rest):
        query = urlencode({"n": n, "last": rest[n - 1]})
        response.headers["Link"] = f'</v2/{repo}/tags/list?{query}>; rel="next"'
    return TagList(name=repo, tags=rest[:n])


@router.head(
    "/{repo:path}/manifests/{reference}",
    operation_id="get_manifest_head",
    response_class=FileResponse,
    include_in_schema=False,
)
@router.get(
    "/{repo:path}/manifests/{reference}",
    operation_id="get_manifest",
    response_class=FileResponse,
)
def get_manifest(repo: Repo, reference: Reference, layout: LayoutDep) -> FileResponse:
    """A manifest, byte for byte, with its own media type and its digest in a header."""
    found = layout.manifest(repo, reference)
    if found is None:
        raise PullError(
            "MANIFEST_UNKNOWN", f"{repo} has no image {reference}; see its tags or its history."
        )
    return FileResponse(
        found.path,
        media_type=found.media_type,
        headers=_headers(found.digest),
    )


@router.head(
    "/{repo:path}/blobs/{digest}",
    operation_id="get_blob_head",
    response_class=FileResponse,
    include_in_schema=False,
)
@router.get(
    "/{repo:path}/blobs/{digest}",
    operation_id="get_blob",
    response_class=FileResponse,
    responses={206: {"description": "The range that was asked for."}},
)
def get_blob(repo: Repo, digest: Digest, layout: LayoutDep) -> FileResponse:
    """A layer or a config; a `Range` of it too, so that a broken pull goes on where it stopped."""
    path = layout.blob(repo, digest)
    if path is None:
        raise PullError("BLOB_UNKNOWN", f"{repo} has no blob {digest}; pull the image again.")
    return FileResponse(
        path,
        media_type="application/octet-stream",
        headers=_headers(digest) | {"Cache-Control": "private, max-age=31536000, immutable"},
    )


def _headers(digest: str) -> dict[str, str]:
    return VERSION_HEADER | {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
