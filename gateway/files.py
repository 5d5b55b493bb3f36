"""Stored files over HTTP: whole, or a range of their bytes. A signed link opens them without a key.

What is served was made by others, so a browser is told to take it for what we say it is, and to run
nothing in it.
"""

import re
import time
from collections.abc import Iterator
from http import HTTPStatus
from uuid import UUID

import obstore
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from obstore.exceptions import BaseError as StoreError
from obstore.store import ObjectStore
from starlette.concurrency import run_in_threadpool

from gateway.errors import ApiError
from gateway.state import get_links, get_state
from models.artifact import Artifact, ArtifactState, get_artifact
from models.errors import NotFound

routes = APIRouter(tags=["files"])

SHOWN_INLINE = ("image/", "video/", "audio/", "text/plain", "application/json")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@routes.api_route(
    "/files/{artifact_id}/{signature}/{name}", methods=["GET", "HEAD"], include_in_schema=False
)
async def signed_file(request: Request, artifact_id: str, signature: str) -> Response:
    """A stored file; the name at the end is for its readers alone."""
    artifact = await _open_link(request, artifact_id, signature, part="file")
    return await serve(request, artifact)


@routes.api_route(
    "/thumbnails/{artifact_id}/{signature}/{name}",
    methods=["GET", "HEAD"],
    include_in_schema=False,
)
async def signed_thumbnail(request: Request, artifact_id: str, signature: str) -> Response:
    """A small picture of a stored file."""
    artifact = await _open_link(request, artifact_id, signature, part="thumbnail")
    return await serve(request, artifact, thumbnail=True)


async def _open_link(request: Request, artifact_id: str, signature: str, *, part: str) -> Artifact:
    """
    Raises:
        ApiError: 404 we made no such link; 410 it has run out.
    """
    nothing = ApiError(HTTPStatus.NOT_FOUND, "there is no such file")
    until = request.query_params.get("until")
    if until is not None and not re.fullmatch(r"[0-9]{1,12}", until):
        raise nothing
    try:
        given = UUID(artifact_id)
    except ValueError:
        raise nothing from None
    links = await get_links(request)
    if not links.check(given, signature, int(until) if until else None, part=part):
        raise nothing
    if until and int(until) < time.time():
        raise ApiError(HTTPStatus.GONE, "this link has run out; ask for another")
    async with get_state(request).runtime.database.begin() as session:
        try:
            return await get_artifact(session, given)
        except NotFound:
            raise nothing from None


async def serve(request: Request, artifact: Artifact, *, thumbnail: bool = False) -> Response:
    """The file, or the range of it that was asked for.

    Raises:
        ApiError: 404 it is not stored; 416 there are no such bytes; 503 the store does not answer.
    """
    key = artifact.thumbnail_key if thumbnail else artifact.store_key
    if artifact.state is not ArtifactState.STORED or key is None or artifact.sha256 is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"the file is not stored: it is {artifact.state}")
    etag = f'"{artifact.sha256}{"-thumbnail" if thumbnail else ""}"'
    media_type = "image/webp" if thumbnail else artifact.media_type or "application/octet-stream"
    inline = media_type.startswith(SHOWN_INLINE) and not media_type.startswith("image/svg")
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": "inline" if inline else "attachment",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    seen = request.headers.get("if-none-match", "")
    if etag in seen or seen.strip() == "*":
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    store = get_state(request).runtime.store
    try:
        size = (await run_in_threadpool(obstore.head, store, key))["size"]
    except FileNotFoundError as error:
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            "the file is missing from the store: `pressroom artifacts verify` tells more",
        ) from error
    except StoreError as error:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "the store does not answer") from error
    wanted = _read_range(request, etag, size) if request.method == "GET" else None
    start, end = wanted or (0, size)
    status = HTTPStatus.OK
    if wanted:
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD" or start == end:
        return Response(status_code=status, headers=headers, media_type=media_type)
    chunks = _read(store, key, start, end)
    return StreamingResponse(chunks, status, headers=headers, media_type=media_type)


def _read(store: ObjectStore, key: str, start: int, end: int) -> Iterator[bytes]:
    """On a thread of Starlette's: see `workers/store.py`."""
    found = obstore.get(store, key, options={"range": (start, end)})
    for chunk in found.stream():
        yield bytes(chunk)


def _read_range(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """From which byte to before which; None for all: also where several ranges were asked for.

    Raises:
        ApiError: 416 they are none of the file's.
    """
    asked = request.headers.get("range", "")
    if request.headers.get("if-range", etag) != etag:
        return None
    found = _RANGE.fullmatch(asked.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first == "":
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1 if last else size, size)
    if start >= end:
        raise ApiError(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"{asked!r} came; the file has {size:,} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end
