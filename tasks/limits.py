"""Limits: the sweep's part in keeping budgets and slots, beside what each claim and each end does.

It settles what nobody settled, releases what there is room for by now (a new day has begun, a limit
was raised by somebody who died), ends the jobs of budgets under which none waits, and tells of
budgets that are nearly used up, or are.
"""

from collections.abc import Collection
from uuid import UUID

import structlog

from models.announcement import AnnouncementType, announce, note_event
from models.base import say_plainly
from models.budget import AtCap, BudgetState, list_budgets, raise_alarms
from models.delivery import wake_deliveries
from models.hold import list_holders, release_for_money, release_for_slots
from models.interventions import reject_held
from models.lane import StageName
from models.reservation import list_in_flight
from models.room import make_all_room
from tasks import control
from workers.runtime import Runtime

REJECTED_AT_ONCE = 5_000
STEPS_OF_A_SWEEP = 4

log = structlog.get_logger()


async def keep_limits(runtime: Runtime) -> None:
    """One sweep of it."""
    await _raise_alarms(runtime)
    async with runtime.database.begin() as session:
        holders = await list_holders(session)
        budgets = await list_budgets(session, ids=holders) if holders else []
    async with runtime.database.begin() as session:
        released = await make_all_room(session)
    await runtime.bells.ring_each(StageName.SUBMIT, released)
    for budget in budgets:
        if budget.at_cap is not AtCap.PAUSE:
            await _end_held(runtime, budget)


async def release(runtime: Runtime, holders: Collection[UUID]) -> None:
    """These budgets, or campaigns, have more room now: let come due what fits."""
    async with runtime.database.begin() as session:
        released = set(await release_for_money(session, holders))
        released |= set(await release_for_slots(session, holders))
    await runtime.bells.ring_each(StageName.SUBMIT, released)


async def _end_held(runtime: Runtime, budget: BudgetState) -> None:
    if budget.at_cap is AtCap.STOP:  # before: without a job that is held nobody looks again
        async with runtime.database.begin() as session:
            running = await list_in_flight(session, budget.id)
        await control.cancel(runtime, running)
    for _ in range(STEPS_OF_A_SWEEP):
        async with runtime.database.begin() as session:
            ended = await reject_held(session, budget.id, name=budget.name, limit=REJECTED_AT_ONCE)
            told = await wake_deliveries(session, ended=list(ended), hold_seconds=0)
        for stage in told:
            await runtime.bells.ring_each(stage, set(ended.values()))
        if not ended:
            break
        log.warning("jobs_rejected", budget=budget.name, jobs=len(ended))


async def _raise_alarms(runtime: Runtime) -> None:
    async with runtime.database.begin() as session:
        alarms = await raise_alarms(session)
        states = {one.id: one for one in await list_budgets(session)} if alarms else {}
        for alarm in alarms:
            if (budget := states.get(alarm.budget_id)) is None:
                continue
            kind = (
                AnnouncementType.BUDGET_REACHED if alarm.capped else AnnouncementType.BUDGET_WARNED
            )
            await note_event(
                session,
                kind,
                budget_id=budget.id,
                campaign_id=budget.campaign_id,
                key_id=budget.key_id,
            )
            announce(session, kind, describe_alarm(kind, budget), url=budget.webhook)
            told = log.bind(budget=budget.name, left_usd=str(budget.left_usd))
            if alarm.capped:
                told.warning("budget_reached")
            else:
                told.warning("budget_warned")


def describe_alarm(kind: AnnouncementType, budget: BudgetState) -> dict[str, object]:
    """As it is sent: amounts are decimal numbers as texts."""
    return {
        "type": kind.value,
        "budget": budget.name,
        "budget_id": str(budget.id),
        "of": budget.holder,
        "period": budget.period.value,
        "limit_usd": say_plainly(budget.limit_usd),
        "spent_usd": say_plainly(budget.spent_usd),
        "reserved_usd": say_plainly(budget.reserved_usd),
        "jobs_held": budget.held,
    }
