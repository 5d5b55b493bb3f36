"""First polls are put off while webhooks are heard, and made as forecast once they are not."""

import asyncio

import pytest

from endpoints.forecast import BINS, count_durations
from models.base import new_id
from models.claims import claim_polls
from models.endpoint_stats import Learned, add_durations, get_learned, list_hinted
from models.job import JobState, OnUnknown, Route
from models.lane import StageName, seconds_until_due
from models.transitions import ask_again, move_jobs, recall_polls
from tasks.first_poll import LATELY, plan_first_poll
from tasks.intake import Request, check_request, enqueue
from tasks.poll import POLL
from tasks.submit import SUBMIT
from tasks.sweep import sweep_lanes
from workers.lane import LaneRun

OWN = "my-own"
TOOK = 20.0  # seconds, as the endpoint's jobs are known to
UPSTREAM = 400.0  # the same on the emulator's clock, which is 20 times as fast


@pytest.fixture(autouse=True)
async def _endpoint(runtime, emulator, run):
    """An endpoint of our own, of which it is known how long its jobs take."""
    pace = {"endpoint": OWN, "execution_seconds": UPSTREAM, "spread": 0}
    assert (await emulator.post("/admin/custom", json=pace)).is_success
    await add_job(runtime)
    await run(add_durations, OWN, counts=count_durations([TOOK] * 100), bins=BINS, keep=1.0)


async def add_job(runtime, **options):
    request = Request(endpoint=OWN, input={"prompt": "a fox"}, **options)
    job = check_request(runtime.catalogue, request, on_unknown=OnUnknown.RESUBMIT).job
    await enqueue(runtime, [job])
    return job.id


async def hear(execute, *, ago=TOOK, listening="0 s"):
    """A webhook came of a job that was sent `ago`; when the gateway last said that it listens."""
    await execute(
        """UPDATE endpoint_stats SET heard_at = now(),
               hinted_at = now() - make_interval(secs => :ago)""",
        ago=ago,
    )
    await execute("DELETE FROM pulses")
    await execute(
        """INSERT INTO pulses (name, since, at) VALUES
               ('listening', now() - interval '1 h', now() - CAST(:listening AS interval))""",
        listening=listening,
    )


async def submit(runtime):
    await LaneRun(runtime, SUBMIT, OWN).run()


async def due_in(run):
    return await run(seconds_until_due, StageName.POLL, OWN)


async def plan(runtime, run):
    return plan_first_poll(runtime, OWN, await run(get_learned, OWN))


async def test_an_endpoint_that_nobody_knows_taught_nothing(run):
    assert await run(get_learned, "unknown") == Learned()
    assert await run(list_hinted) == {}


@pytest.mark.parametrize(
    ("ago", "listening", "put_off"),
    [
        (TOOK, "0 s", True),
        (TOOK, "9 s", True),
        (TOOK, "11 s", False),  # the gateway is down
        (3 * LATELY * TOOK, "0 s", False),  # none came of what was sent since
    ],
)
async def test_a_first_poll_is_put_off_only_while_webhooks_are_heard(
    runtime, run, execute, *, ago, listening, put_off
):
    await hear(execute, ago=ago, listening=listening)
    planned = await plan(runtime, run)

    await submit(runtime)

    wanted = planned.overdue if put_off else planned.forecast
    assert planned.hinted is put_off
    assert await due_in(run) == pytest.approx(wanted, abs=1)
    assert planned.forecast < TOOK < planned.overdue


async def test_where_none_ever_came_the_forecast_says_when(runtime, run):
    planned = await plan(runtime, run)

    await submit(runtime)

    assert not planned.hinted
    assert await due_in(run) == pytest.approx(planned.forecast, abs=1)


async def test_what_is_kept_for_a_minute_is_asked_for_at_once_all_the_same(runtime, run, execute):
    await hear(execute)
    await execute("UPDATE jobs SET route = :route", route=Route.RUNSYNC.value)

    await submit(runtime)

    assert await due_in(run) == 0


async def test_a_job_that_was_asked_for_too_early_is_asked_for_by_the_forecast(
    runtime, run, execute
):
    """Its webhook may have come a moment before its status tells of the end."""
    await hear(execute)
    await submit(runtime)
    await execute("UPDATE jobs SET next_at = now(), submitted_at = now() - interval '18 s'")

    async with asyncio.timeout(10):
        # Its quota is not known at first.
        while not await LaneRun(runtime, POLL, OWN).run():  # noqa: ASYNC110 -- Redis tells nobody
            await asyncio.sleep(0.1)

    assert 0 < await due_in(run) < TOOK - 18 + 2


@pytest.mark.parametrize("ceased", ["the gateway is down", "none comes"])
async def test_once_they_cease_a_sweep_gives_waiting_jobs_their_forecast_back(
    runtime, run, execute, ceased
):
    await hear(execute)
    await submit(runtime)
    put_off = await due_in(run)
    if ceased == "none comes":
        await hear(execute, ago=3 * LATELY * TOOK)
    else:
        await hear(execute, listening="11 s")

    await sweep_lanes(runtime)

    forecast = (await plan(runtime, run)).forecast
    assert put_off > TOOK
    assert await due_in(run) == pytest.approx(forecast, abs=2)


async def test_while_they_come_a_sweep_leaves_first_polls_where_they_are(runtime, run, execute):
    await hear(execute)
    await submit(runtime)
    before = await due_in(run)

    await sweep_lanes(runtime)

    assert await due_in(run) == pytest.approx(before, abs=2)


async def test_a_job_that_should_have_been_asked_for_is_due_at_once(runtime, run, execute):
    await hear(execute)
    await submit(runtime)
    await execute("UPDATE jobs SET submitted_at = now() - interval '18 s'")

    assert await run(recall_polls, endpoint=OWN, first_seconds=15.0) == 1

    assert await due_in(run) == 0


async def test_only_first_polls_of_the_endpoint_that_nobody_makes_now_are_recalled(
    runtime, run, execute
):
    await hear(execute)
    await submit(runtime)
    await execute("UPDATE jobs SET next_at = now()")
    claim = {"endpoint": OWN, "limit": 1, "lease": new_id(), "lease_seconds": 60, "proven": True}
    [row] = await run(claim_polls, **claim)

    while_asked = await run(recall_polls, endpoint=OWN, first_seconds=1.0)
    await run(move_jobs, [ask_again(row.id, row.lease, state=JobState.IN_QUEUE, due_in=50)])
    after = await run(recall_polls, endpoint=OWN, first_seconds=1.0)
    await execute("UPDATE jobs SET polled_at = NULL")
    of_another = await run(recall_polls, endpoint="another", first_seconds=1.0)

    assert (while_asked, after, of_another) == (0, 0, 0)
    assert await run(recall_polls, endpoint=OWN, first_seconds=1.0) == 1
