"""The audit log: who did what, when, and how it was before and after.

For keys that operate: it names other keys, and what they did.
"""

import datetime as dt
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from gateway.api.answers.audit import AuditForm, AuditPage
from gateway.api.answers.problems import ERRORS
from gateway.api.jobs import in_zone
from gateway.api.pages import Cursor, Limit, cut_page, read_cursor
from gateway.audit_facts import describe_act
from gateway.callers import Operating
from gateway.json_response import JsonResponse
from gateway.state import get_state
from models.audit import AuditFilter, get_act, list_acts

Text = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]

routes = APIRouter(prefix="/audit", tags=["audit"], responses=ERRORS)


@routes.get("", response_model=AuditPage, summary="List acts, the latest first")
async def list_(
    request: Request,
    _caller: Operating,
    action: Text = None,
    actor: Text = None,
    key_id: UUID | None = None,
    target: Text = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """`action` may be how one begins (`lane`), `target` how one ends, `actor` a part of one."""
    wanted = AuditFilter(
        action=action,
        actor=actor,
        key_id=key_id,
        target=target,
        since=in_zone(since),
        until=in_zone(until),
    )
    async with get_state(request).runtime.database.begin() as session:
        lines = await list_acts(session, wanted, limit=limit + 1, before=read_cursor(cursor))
    page, following = cut_page(lines, limit, lambda line: line.id)
    told = {"acts": [describe_act(line) for line in page], "next": following}
    return JsonResponse(told, headers=request.state.limits)


@routes.get("/{act_id}", response_model=AuditForm, summary="Read of an act")
async def read(request: Request, act_id: UUID, _caller: Operating) -> Response:
    async with get_state(request).runtime.database.begin() as session:
        line = await get_act(session, act_id)
    return JsonResponse(describe_act(line), headers=request.state.limits)
