"""Files of results: list them, read of one, download it, make a link to it."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.api.answers.artifacts import ArtifactForm, ArtifactPage, LinkForm
from gateway.api.answers.problems import BODY_ERRORS, ERRORS, problems
from gateway.api.form_reader import body_of, read_form
from gateway.api.forms import LinkRequest
from gateway.api.pages import Cursor, Limit, cut_page, read_cursor
from gateway.callers import Reading
from gateway.files import serve
from gateway.json_response import JsonResponse
from gateway.state import get_links, get_state
from models.artifact import Artifact, ArtifactState, get_artifact, list_artifacts
from models.errors import NotFound
from models.job_queries import get_job
from models.key import Caller
from tasks.results import describe_artifact

routes = APIRouter(prefix="/artifacts", tags=["artifacts"], responses=ERRORS)


@routes.get("", response_model=ArtifactPage, summary="List files, the newest first")
async def list_(
    request: Request,
    caller: Reading,
    job: UUID | None = None,
    campaign: UUID | None = None,
    state: Annotated[ArtifactState | None, Query()] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    async with get_state(request).runtime.database.begin() as session:
        rows = await list_artifacts(
            session,
            job_ids=None if job is None else [job],
            campaign_id=campaign,
            state=state,
            owner=caller.owner,
            before=read_cursor(cursor),
            newest_first=True,
            limit=limit + 1,
        )
    page, following = cut_page(rows, limit, lambda artifact: artifact.id)
    links = await get_links(request)
    artifacts = [describe_artifact(artifact, links) for artifact in page]
    return JsonResponse({"artifacts": artifacts, "next": following}, headers=request.state.limits)


@routes.get("/{artifact_id}", response_model=ArtifactForm, summary="Read of a file")
async def read(request: Request, artifact_id: UUID, caller: Reading) -> Response:
    artifact = await _find(request, artifact_id, caller)
    described = describe_artifact(artifact, await get_links(request))
    return JsonResponse(described, headers=request.state.limits)


@routes.get(
    "/{artifact_id}/content",
    summary="Download a file",
    response_class=Response,
    responses={
        200: {"description": "The whole file.", "content": {"*/*": {}}},
        206: {"description": "The bytes that `Range` asked for.", "content": {"*/*": {}}},
        304: {"description": "`If-None-Match` names it: it is had already."},
        **problems({416: "The file has no such bytes."}),
    },
)
@routes.head("/{artifact_id}/content", include_in_schema=False)
async def content(request: Request, artifact_id: UUID, caller: Reading) -> Response:
    """One range of bytes may be asked for. `ETag` is the SHA-256."""
    return await serve(request, await _find(request, artifact_id, caller))


@routes.post(
    "/{artifact_id}/link",
    response_model=LinkForm,
    summary="Make a link that opens without a key",
    openapi_extra=body_of(LinkRequest),
    responses=BODY_ERRORS,
)
async def link(request: Request, artifact_id: UUID, caller: Reading) -> Response:
    """`url` is null while the file is not stored."""
    asked = await read_form(request, LinkRequest)
    artifact = await _find(request, artifact_id, caller)
    links = await get_links(request)
    reply: dict[str, Any] = {
        "url": links.link(artifact, live_seconds=asked.expires_seconds),
        "expires_seconds": asked.expires_seconds,
    }
    return JsonResponse(reply, headers=request.state.limits)


async def _find(request: Request, artifact_id: UUID, caller: Caller) -> Artifact:
    async with get_state(request).runtime.database.begin() as session:
        return await _get(session, artifact_id, caller)


async def _get(session: AsyncSession, artifact_id: UUID, caller: Caller) -> Artifact:
    artifact = await get_artifact(session, artifact_id)
    if caller.owner is not None:
        try:
            await get_job(session, artifact.job_id, owner=caller.owner)
        except NotFound:
            raise NotFound("artifact", str(artifact_id)) from None
    return artifact
