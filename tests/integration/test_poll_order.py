"""More polls are due than a claim takes: those nearest to losing their result go first."""

import pytest
from sqlalchemy import text

from models.base import new_id
from models.claims import claim_polls
from models.job import Route
from models.lane import StageName, close_lane
from models.transitions import NewJob, accept, claim_submissions, enqueue_jobs, move_jobs
from tests.integration.conftest import FLUX

OVERDUE = {Route.RUN: (500, 100, 300), Route.RUNSYNC: (5, 50)}  # seconds


def limits(limit):
    return {
        "endpoint": FLUX,
        "limit": limit,
        "lease": new_id(),
        "lease_seconds": 60,
        "proven": True,
    }


@pytest.fixture
async def jobs(run, execute):
    """Jobs in flight by how long their poll is overdue."""
    overdue = {new_id(): (route, seconds) for route, each in OVERDUE.items() for seconds in each}
    await run(
        enqueue_jobs,
        [
            NewJob(id=job_id, endpoint=FLUX, input={}, route=route)
            for job_id, (route, _) in overdue.items()
        ],
    )
    rows = await run(claim_submissions, **limits(10))
    await run(
        move_jobs,
        [accept(row.id, row.lease, upstream_id=f"up-{row.id}", due_in=0) for row in rows],
    )
    for job_id, (_, seconds) in overdue.items():
        await execute(
            "UPDATE jobs SET next_at = now() - make_interval(secs => :seconds) WHERE id = :id",
            seconds=seconds,
            id=job_id,
        )
    return overdue


async def claim(run, jobs, limit):
    return {jobs[row.id] for row in await run(claim_polls, **limits(limit))}


async def test_results_that_are_kept_a_minute_come_first_then_the_longest_overdue(run, jobs):
    taken = [await claim(run, jobs, 1) for _ in range(len(jobs))]

    assert taken == [
        {(Route.RUNSYNC, 50)},
        {(Route.RUNSYNC, 5)},
        {(Route.RUN, 500)},
        {(Route.RUN, 300)},
        {(Route.RUN, 100)},
    ]


async def test_one_claim_takes_of_both_kinds_and_no_more_than_its_limit(run, jobs):
    taken = await claim(run, jobs, 3)

    assert taken == {(Route.RUNSYNC, 50), (Route.RUNSYNC, 5), (Route.RUN, 500)}
    assert await claim(run, jobs, 10) == {(Route.RUN, 300), (Route.RUN, 100)}


async def test_what_another_claim_holds_is_passed_over(run, jobs, database):
    async with database.begin() as session:
        await session.execute(
            text("SELECT FROM jobs WHERE route = 'runsync' ORDER BY next_at LIMIT 1 FOR UPDATE")
        )

        taken = await claim(run, jobs, 2)

    assert taken == {(Route.RUNSYNC, 5), (Route.RUN, 500)}


async def test_a_lane_that_is_half_open_lets_one_of_either_kind_through(run, jobs, execute):
    await run(close_lane, StageName.POLL, FLUX, seconds=1.0, reason="429")
    await execute("UPDATE lanes SET closed_until = now() - interval '1 s'")

    assert await claim(run, jobs, 10) == {(Route.RUNSYNC, 50)}
    assert await claim(run, jobs, 10) == set()
