"""Schedules: campaigns that are run again and again. What they cost, they cost each time."""

import asyncio
import itertools
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from gateway.actors import actor_of
from gateway.api.answers.problems import BODY_ERRORS, ERRORS, problems
from gateway.api.answers.schedules import (
    BackfillReply,
    Fires,
    ScheduleDetail,
    ScheduledRun,
    ScheduleForm,
    Schedules,
    TimetableReply,
)
from gateway.api.form_reader import body_of, read_form
from gateway.api.forms import BackfillRequest, ScheduleChange, ScheduleRequest, TimetableRequest
from gateway.audit_facts import action_on_schedule, terms_of_schedule
from gateway.callers import Operating
from gateway.errors import ApiError
from gateway.json_response import JsonResponse
from gateway.schedule_facts import describe_fires, describe_runs, describe_schedule, say_time
from gateway.state import get_state
from models.audit import Action, note_act
from models.schedule import (
    ScheduleNameTaken,
    get_schedule,
    list_schedules,
    read_clock,
    remove_schedule,
)
from models.schedule_run import get_run, list_last_runs, list_runs
from tasks.campaigns.cron import BadCron, BadZone, Cron
from tasks.campaigns.plan import plan_inline
from tasks.campaigns.spec import CampaignSpec
from tasks.campaigns.timetable import Timetable
from tasks.intake import NUL
from tasks.schedules import (
    NEXT,
    Contents,
    InvalidSchedule,
    backfill_schedule,
    change_schedule,
    create_schedule,
    list_missing,
    list_next,
    run_schedule,
    say_problems,
)
from tasks.tick import tick_schedule
from workers.runtime import Runtime

MOST_JOBS = 10_000  # of a run; `pressroom schedules add` takes more, and files
RUNS_SHOWN = 20
RUNS_LISTED = 5  # of each
CONFLICT = problems({409: "There is one already."})

routes = APIRouter(prefix="/schedules", tags=["schedules"], responses=ERRORS)


@routes.get("", response_model=Schedules, summary="List schedules")
async def list_(request: Request, _caller: Operating) -> Response:
    async with get_state(request).runtime.database.begin() as session:
        rows = await list_schedules(session)
        runs = await list_last_runs(session, each=RUNS_LISTED)
    told = [
        {**describe_schedule(row), "runs": describe_runs(row, runs.get(row.id, ()))} for row in rows
    ]
    return _answer(request, {"schedules": told})


@routes.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=ScheduleForm,
    summary="Make a schedule",
    openapi_extra=body_of(ScheduleRequest),
    responses={**BODY_ERRORS, **CONFLICT},
)
async def create(request: Request, caller: Operating) -> Response:
    """Of a specification as `pressroom campaign schema` has it, with its prompts in it. Every item
    of it is checked; nothing is kept of one that is refused.
    """
    asked = await read_form(request, ScheduleRequest)
    runtime = get_state(request).runtime
    name, timetable, contents = await asyncio.to_thread(_plan, runtime, asked.specification)
    try:
        async with runtime.database.begin() as session:
            schedule = await create_schedule(
                session, name=name, timetable=timetable, contents=contents, paused=asked.paused
            )
            actor = actor_of(request, caller)
            after = terms_of_schedule(schedule)
            await note_act(session, actor, Action.SCHEDULE_CREATE, schedule.name, after=after)
    except ScheduleNameTaken as error:
        raise ApiError(HTTPStatus.CONFLICT, str(error)) from error
    return _answer(request, describe_schedule(schedule), HTTPStatus.CREATED)


@routes.post(
    "/preview",
    response_model=TimetableReply,
    summary="Say when a cron would fire",
    openapi_extra=body_of(TimetableRequest),
    responses=BODY_ERRORS,
)
async def preview(request: Request, _caller: Operating) -> Response:
    """From now on, in its time zone; nothing is kept."""
    asked = await read_form(request, TimetableRequest)
    try:
        cron = Cron(asked.cron, asked.zone)
    except (BadCron, BadZone) as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    async with get_state(request).runtime.database.begin() as session:
        now = await read_clock(session)
    fires = [
        due.astimezone(cron.zone).isoformat(timespec="seconds")
        for due in itertools.islice(cron.fires(now), asked.count)
    ]
    return _answer(request, {"words": cron.explain(), "fires": fires})


@routes.get("/{schedule_id}", response_model=ScheduleDetail, summary="Read of a schedule")
async def read(request: Request, schedule_id: UUID, _caller: Operating) -> Response:
    async with get_state(request).runtime.database.begin() as session:
        schedule = await get_schedule(session, schedule_id)
        runs = await list_runs(session, schedule_id, limit=RUNS_SHOWN)
    told = {"specification": schedule.spec, "runs": describe_runs(schedule, runs)}
    return _answer(request, {**describe_schedule(schedule), **told})


@routes.patch(
    "/{schedule_id}",
    response_model=ScheduleForm,
    summary="Change a schedule, pause it or resume it",
    openapi_extra=body_of(ScheduleChange),
    responses=BODY_ERRORS,
)
async def change(request: Request, schedule_id: UUID, caller: Operating) -> Response:
    """It holds from the next fire on; what is left out stays as it is."""
    asked = await read_form(request, ScheduleChange)
    changes = asked.model_dump(exclude={"paused", "specification"}, exclude_none=True)
    runtime = get_state(request).runtime
    contents = None
    if asked.specification is not None:
        contents = await asyncio.to_thread(_plan_contents, runtime, asked.specification)
    async with runtime.database.begin() as session:
        before = terms_of_schedule(await get_schedule(session, schedule_id, hold=True))
        schedule = await change_schedule(
            session, schedule_id, changes=changes, contents=contents, paused=asked.paused
        )
        await note_act(
            session,
            actor_of(request, caller),
            action_on_schedule(changed=bool(changes or contents), paused=asked.paused),
            schedule.name,
            before=before,
            after=terms_of_schedule(schedule),
        )
    return _answer(request, describe_schedule(schedule))


@routes.delete("/{schedule_id}", response_model=ScheduleForm, summary="Remove a schedule")
async def remove(request: Request, schedule_id: UUID, caller: Operating) -> Response:
    """And what is known of its fires. Its campaigns stay, and run on."""
    async with get_state(request).runtime.database.begin() as session:
        schedule = await get_schedule(session, schedule_id, hold=True)
        await remove_schedule(session, schedule_id)
        actor = actor_of(request, caller)
        before = terms_of_schedule(schedule)
        await note_act(session, actor, Action.SCHEDULE_REMOVE, schedule.name, before=before)
    return _answer(request, describe_schedule(schedule))


@routes.get("/{schedule_id}/next", response_model=Fires, summary="List its coming fires")
async def read_next(
    request: Request,
    schedule_id: UUID,
    _caller: Operating,
    count: Annotated[int, Query(ge=1, le=100)] = NEXT,
) -> Response:
    """As if it were not paused."""
    async with get_state(request).runtime.database.begin() as session:
        schedule = await get_schedule(session, schedule_id)
        now = await read_clock(session)
    fires = list_next(schedule, now=now, count=count)
    return _answer(request, {"fires": describe_fires(schedule, fires)})


@routes.post("/{schedule_id}/run", response_model=ScheduledRun, summary="Run it now")
async def start_run(request: Request, schedule_id: UUID, caller: Operating) -> Response:
    """Whatever else of it runs, and although it may be paused."""
    runtime = get_state(request).runtime
    async with runtime.database.begin() as session:
        due = await run_schedule(session, schedule_id)
        schedule = await get_schedule(session, schedule_id)
        actor = actor_of(request, caller)
        told = {"due_at": due.isoformat()}
        await note_act(session, actor, Action.SCHEDULE_RUN, schedule.name, after=told)
        now = await read_clock(session)
    await tick_schedule(runtime, schedule_id, now)
    async with runtime.database.begin() as session:
        schedule = await get_schedule(session, schedule_id)
        [told] = describe_runs(schedule, [await get_run(session, schedule_id, due)])
    return _answer(request, told)


@routes.post(
    "/{schedule_id}/backfill",
    response_model=BackfillReply,
    summary="Run fires of a past time that were not run",
    openapi_extra=body_of(BackfillRequest),
    responses=BODY_ERRORS,
)
async def backfill(request: Request, schedule_id: UUID, caller: Operating) -> Response:
    """They are begun within seconds: the first alone, each other once the one before is over."""
    asked = await read_form(request, BackfillRequest)
    waiting = 0
    async with get_state(request).runtime.database.begin() as session:
        schedule = await get_schedule(session, schedule_id)
        now = await read_clock(session)
        spell = {"start": asked.start_at, "end": asked.end_at}
        dues = await list_missing(session, schedule, **spell, now=now)
        if not asked.dry_run:
            waiting = await backfill_schedule(
                session, schedule_id, **spell, at_once=asked.at_once, now=now
            )
            actor = actor_of(request, caller)
            after = {**asked.model_dump(mode="json"), "fires": waiting}
            await note_act(session, actor, Action.SCHEDULE_BACKFILL, schedule.name, after=after)
    told = {
        "fires": [say_time(schedule, due) for due in dues],
        "jobs": len(dues) * schedule.planned,
        "estimate_usd": float(schedule.estimate_usd * Decimal(len(dues))),
        "waiting": waiting,
    }
    return _answer(request, told)


def _plan(runtime: Runtime, given: dict[str, Any]) -> tuple[str, Timetable, Contents]:
    """
    Raises:
        InvalidSchedule: with everything that is wrong.
    """
    spec = _read_spec(given)
    if spec.schedule is None:
        raise InvalidSchedule(["schedule: is wanted, with a cron and a zone"])
    return spec.name, spec.schedule, _price(runtime, spec)


def _plan_contents(runtime: Runtime, given: dict[str, Any]) -> Contents:
    return _price(runtime, _read_spec(given))


def _read_spec(given: dict[str, Any]) -> CampaignSpec:
    try:
        if NUL.search(orjson.dumps(given)):
            raise InvalidSchedule(["it holds a NUL character, which is not text"])
        return CampaignSpec.model_validate(given)
    except ValidationError as error:
        raise InvalidSchedule(say_problems(error)) from error
    except (TypeError, ValueError) as error:  # a lone surrogate
        raise InvalidSchedule([f"it is no JSON: {error}"]) from error


def _price(runtime: Runtime, spec: CampaignSpec) -> Contents:
    plan = plan_inline(runtime.catalogue, spec, most_jobs=MOST_JOBS)
    if plan.problems:
        raise InvalidSchedule(plan.problems)
    return Contents(
        spec=spec.model_dump(mode="json", exclude_unset=True, exclude={"schedule"}),
        rows_key=None,
        jobs=plan.jobs,
        usd=plan.usd,
        unpriced=plan.unpriced,
    )


def _answer(request: Request, body: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    return JsonResponse(body, status, request.state.limits)
