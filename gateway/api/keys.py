"""API keys: made, revoked, given a new secret. A secret is shown once, when it is made."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.actors import actor_of
from gateway.api.answers.keys import IssuedKeyForm, KeyForm, Keys
from gateway.api.answers.problems import BODY_ERRORS, ERRORS
from gateway.api.form_reader import body_of, read_form
from gateway.api.forms import KeyChange, KeyRequest, RotateRequest
from gateway.audit_facts import terms_of_key
from gateway.callers import Operating
from gateway.json_response import JsonResponse
from gateway.key_facts import describe_issued, describe_key
from gateway.state import get_state
from models.audit import Action, note_act
from models.key import (
    get_key,
    issue_key,
    limit_key,
    list_keys,
    revoke_key,
    rotate_key,
    weigh_key,
)

routes = APIRouter(prefix="/keys", tags=["keys"], responses=ERRORS)


@routes.get("", response_model=Keys, summary="List keys, revoked ones among them")
async def list_(request: Request, _caller: Operating) -> Response:
    async with get_state(request).runtime.database.begin() as session:
        rows = await list_keys(session)
    return _answer(request, {"keys": [describe_key(row) for row in rows]})


@routes.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=IssuedKeyForm,
    summary="Make a key",
    openapi_extra=body_of(KeyRequest),
    responses=BODY_ERRORS,
)
async def create(request: Request, caller: Operating) -> Response:
    """`key` and `webhook_secret` are in this answer and nowhere else."""
    asked = await read_form(request, KeyRequest)
    runtime = get_state(request).runtime
    async with runtime.database.begin() as session:
        issued = await issue_key(
            session,
            name=asked.name,
            scopes=asked.scopes,
            requests_per_second=asked.requests_per_second,
            result_cache=asked.result_cache,
            weight=asked.weight,
        )
        await note_act(
            session,
            actor_of(request, caller),
            Action.KEY_CREATE,
            issued.row.id,
            after=terms_of_key(issued.row),
        )
    described = describe_issued(issued, runtime.secret)
    return _answer(request, described, HTTPStatus.CREATED)


@routes.get("/{key_id}", response_model=KeyForm, summary="Read of a key")
async def read(request: Request, key_id: UUID, _caller: Operating) -> Response:
    async with get_state(request).runtime.database.begin() as session:
        row = await get_key(session, key_id)
    return _answer(request, describe_key(row))


@routes.patch(
    "/{key_id}",
    response_model=KeyForm,
    summary="Change a key's share, or how often it may ask",
    openapi_extra=body_of(KeyChange),
    responses=BODY_ERRORS,
)
async def change(request: Request, key_id: UUID, caller: Operating) -> Response:
    """Its share, of the jobs that it hands in from then on."""
    asked = await read_form(request, KeyChange)
    actor = actor_of(request, caller)
    async with get_state(request).runtime.database.begin() as session:
        row = await get_key(session, key_id)
        before = terms_of_key(row)
        if asked.weight is not None:
            row = await weigh_key(session, key_id, weight=asked.weight)
            after = terms_of_key(row)
            await note_act(session, actor, Action.KEY_WEIGH, key_id, before=before, after=after)
            before = after
        if "requests_per_second" in asked.model_fields_set:
            rate = asked.requests_per_second
            row = await limit_key(session, key_id, requests_per_second=rate)
            after = terms_of_key(row)
            await note_act(session, actor, Action.KEY_LIMIT, key_id, before=before, after=after)
    return _answer(request, describe_key(row))


@routes.delete("/{key_id}", response_model=KeyForm, summary="Revoke a key")
async def revoke(request: Request, key_id: UUID, caller: Operating) -> Response:
    """It opens nothing from then on, within a second. What it handed in goes on."""
    async with get_state(request).runtime.database.begin() as session:
        before = terms_of_key(await get_key(session, key_id))
        row = await revoke_key(session, key_id)
        actor = actor_of(request, caller)
        after = terms_of_key(row)
        await note_act(session, actor, Action.KEY_REVOKE, key_id, before=before, after=after)
    return _answer(request, describe_key(row))


@routes.post(
    "/{key_id}/rotate",
    response_model=IssuedKeyForm,
    summary="Give a key a new secret",
    openapi_extra=body_of(RotateRequest),
    responses=BODY_ERRORS,
)
async def rotate(request: Request, key_id: UUID, caller: Operating) -> Response:
    """Its jobs and files stay its own."""
    asked = await read_form(request, RotateRequest)
    runtime = get_state(request).runtime
    async with runtime.database.begin() as session:
        issued = await rotate_key(
            session,
            key_id,
            grace_seconds=asked.grace_seconds,
            webhook_secret=asked.webhook_secret,
        )
        actor = actor_of(request, caller)
        await note_act(session, actor, Action.KEY_ROTATE, key_id, after=asked.model_dump())
    return _answer(request, describe_issued(issued, runtime.secret))


def _answer(request: Request, body: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    headers = {**request.state.limits, "Cache-Control": "no-store"}
    return JsonResponse(body, status, headers)
