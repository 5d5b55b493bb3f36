"""What holds a lane up: closures that grow, pauses that stay, and what an operator is shown."""

import pytest
from sqlalchemy import text

from models.artifact import NewArtifact, add_artifacts
from models.base import new_id
from models.claims import claim_artifacts, claim_polls
from models.delivery import DeliveryKind, NewDelivery, add_deliveries, wake_deliveries
from models.interventions import cancel_jobs
from models.lane import (
    CLOSE_SECONDS,
    CLOSE_SECONDS_MOST,
    StageName,
    close_lane,
    find_lanes,
    list_lane_states,
    note_lane_fails,
    note_lane_works,
    reopen_lane,
    seconds_until_due,
    set_paused,
    try_sweep_lock,
)
from models.transitions import NewJob, claim_submissions, enqueue_jobs

FLUX = "black-forest-labs-flux-1-schnell"
SUBMIT = StageName.SUBMIT


async def add_job(database, *, endpoint=FLUX):
    job_id = new_id()
    async with database.begin() as session:
        await enqueue_jobs(session, [NewJob(id=job_id, endpoint=endpoint, input={})])
    return job_id


async def close(database, *, seconds=None, reason="429"):
    async with database.begin() as session:
        return await close_lane(session, SUBMIT, FLUX, reason=reason, seconds=seconds)


async def let_it_open(database):
    """The time until which it is closed passes."""
    async with database.begin() as session:
        await session.execute(text("UPDATE lanes SET closed_until = now()"))


async def pause(database, *, paused=True, stage=SUBMIT, endpoint=FLUX):
    async with database.begin() as session:
        await set_paused(session, stage, endpoint, paused=paused)


async def claim(database, *, limit=10):
    async with database.begin() as session:
        return await claim_submissions(
            session, endpoint=FLUX, limit=limit, lease=new_id(), lease_seconds=15.0, proven=True
        )


async def due_in(database, *, stage=SUBMIT):
    async with database.begin() as session:
        return await seconds_until_due(session, stage, FLUX)


async def list_lanes(database):
    async with database.begin() as session:
        return await find_lanes(session)


async def test_a_closed_lane_gives_nothing_out_until_it_opens(database):
    await add_job(database)
    await close(database, seconds=30)

    assert await claim(database) == []
    await let_it_open(database)
    assert len(await claim(database)) == 1


async def test_the_time_that_the_upstream_names_is_kept(database):
    assert await close(database, seconds=30) == pytest.approx(30, abs=0.01)


async def test_closures_in_a_row_are_longer_each_time_up_to_a_minute(database):
    closed = []
    for _ in range(12):
        closed.append(await close(database))
        await let_it_open(database)

    assert 0.5 * CLOSE_SECONDS <= closed[0] <= 1.5 * CLOSE_SECONDS
    for turn, seconds in enumerate(closed[1:], start=1):
        full = min(CLOSE_SECONDS * 2**turn, CLOSE_SECONDS_MOST)
        assert 0.5 * full <= seconds <= full


async def test_answers_of_one_batch_close_the_lane_once(database):
    closed = [await close(database) for _ in range(50)]

    assert closed == sorted(closed, reverse=True)  # the same moment, nearer each time
    await let_it_open(database)
    assert await close(database) <= 2 * CLOSE_SECONDS


async def test_of_two_times_named_the_longer_counts(database):
    await close(database, seconds=30)

    assert await close(database, seconds=5) == pytest.approx(30, abs=1)
    assert await close(database, seconds=60) == pytest.approx(60, abs=1)


async def test_an_answer_forgets_earlier_closures(database):
    for _ in range(6):
        await close(database)
        await let_it_open(database)

    async with database.begin() as session:
        await note_lane_works(session, SUBMIT, FLUX)

    assert await close(database) <= 1.5 * CLOSE_SECONDS


async def test_an_answer_does_not_open_a_lane_that_was_closed_meanwhile(database):
    await add_job(database)
    await close(database, seconds=30)

    async with database.begin() as session:
        await note_lane_works(session, SUBMIT, FLUX)

    assert await claim(database) == []


async def test_a_paused_lane_gives_nothing_out_until_it_is_resumed(database):
    await add_job(database)
    await pause(database)

    held = await claim(database)
    await pause(database, paused=False)

    assert held == []
    assert len(await claim(database)) == 1


async def test_a_pause_outlives_closures_and_answers(database):
    await pause(database)
    await close(database, seconds=0.001)
    async with database.begin() as session:
        await note_lane_works(session, SUBMIT, FLUX)

    [lane] = await list_lanes(database)
    assert lane.paused


async def test_pausing_one_stage_or_endpoint_holds_no_other(database):
    await add_job(database)
    await pause(database, stage=StageName.POLL)
    async with database.begin() as session:
        await set_paused(session, SUBMIT, "another", paused=True)

    assert len(await claim(database)) == 1


async def test_a_lane_is_due_when_its_first_row_is(database):
    await add_job(database)
    due = await due_in(database)
    async with database.begin() as session:
        await session.execute(text("UPDATE jobs SET next_at = now() + interval '20 s'"))

    assert due == 0
    assert await due_in(database) == pytest.approx(20, abs=1)


async def test_an_empty_lane_is_never_due(database):
    assert await due_in(database) is None


async def test_a_closed_lane_is_not_due_before_it_opens_and_a_paused_one_never(database):
    await add_job(database)

    await close(database, seconds=30)
    closed = await due_in(database)
    await pause(database)
    paused = await due_in(database)

    assert closed == pytest.approx(30, abs=1)
    assert paused is None


async def test_every_stage_with_due_rows_is_found(database):
    job_id = await add_job(database)
    file = NewArtifact(
        job_id=job_id,
        position=0,
        endpoint=FLUX,
        field="output.image_url",
        source_url="https://image.test/fox.png",
        lives_seconds=60.0,
    )
    async with database.begin() as session:
        await add_artifacts(session, [file])
        await add_deliveries(
            session,
            [
                NewDelivery(job_id=job_id, endpoint=FLUX, kind=kind, request={})
                for kind in DeliveryKind
            ],
        )
        await cancel_jobs(session, job_ids=[job_id])
        await wake_deliveries(session, ended=[job_id], hold_seconds=0)
    await add_job(database)
    in_flight = [await add_job(database) for _ in range(2)]
    async with database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET state = 'in_queue', upstream_id = 'u' WHERE id = ANY(:ids)"),
            {"ids": in_flight},
        )
        await cancel_jobs(session, job_ids=in_flight[:1])

    lanes = await list_lanes(database)

    assert [(lane.stage, lane.endpoint, lane.due, lane.paused) for lane in lanes] == [
        (stage, FLUX, True, False) for stage in sorted(StageName)
    ]


async def test_a_lane_with_nothing_due_and_nothing_in_its_way_is_not_shown(database):
    await add_job(database)
    await claim(database)

    assert await list_lanes(database) == []


async def test_what_holds_a_lane_up_is_shown_with_the_reason(database):
    await add_job(database)
    await close(database, seconds=30, reason="rate limited (429): slow down")

    [lane] = await list_lanes(database)

    assert lane.due
    assert not lane.paused
    assert lane.closed_seconds == pytest.approx(30, abs=1)
    assert lane.closed_reason == "rate limited (429): slow down"


async def test_a_reason_is_shown_no_longer_than_it_holds(database):
    await add_job(database)
    await close(database, seconds=30)
    await let_it_open(database)

    [lane] = await list_lanes(database)

    assert (lane.due, lane.closed_seconds, lane.closed_reason) == (True, None, None)


async def test_files_of_a_paused_archive_lane_wait(database):
    job_id = await add_job(database)
    file = NewArtifact(
        job_id=job_id,
        position=0,
        endpoint=FLUX,
        field="output",
        source_url="https://image.test/fox.png",
        lives_seconds=60.0,
    )
    async with database.begin() as session:
        await add_artifacts(session, [file])
    await pause(database, stage=StageName.ARCHIVE)

    async with database.begin() as session:
        claimed = await claim_artifacts(
            session, endpoint=FLUX, limit=10, lease=new_id(), lease_seconds=15.0, proven=True
        )

    assert claimed == []


async def test_one_sweep_at_a_time_holds_the_lock_and_its_end_frees_it(database):
    async with database.begin() as session:
        first = await try_sweep_lock(session)
        async with database.begin() as other:
            second = await try_sweep_lock(other)
    async with database.begin() as session:
        third = await try_sweep_lock(session)

    assert (first, second, third) == (True, False, True)


async def test_what_holds_one_stage_up_says_nothing_of_when_another_is_due(database):
    await add_job(database)
    await pause(database, stage=StageName.POLL)

    assert await due_in(database) == 0


async def test_a_lane_is_opened_by_hand_alone_and_whole(database):
    """As if it had never been closed: neither its probe nor its failures are kept."""
    await add_job(database)
    for stage, endpoint in ((SUBMIT, FLUX), (StageName.POLL, FLUX), (SUBMIT, "another")):
        async with database.begin() as session:
            await close_lane(session, stage, endpoint, reason="429", seconds=60)
            await session.execute(text("UPDATE lanes SET probing = true, faults = 4"))

    async with database.begin() as session:
        await reopen_lane(session, SUBMIT, FLUX)

        lanes = await session.execute(
            text("""
                SELECT stage, endpoint, closures, faults, probing, closed_until IS NULL,
                    closed_reason
                FROM lanes
            """)
        )
        assert {(stage, endpoint): tuple(facts) for stage, endpoint, *facts in lanes} == {
            ("submit", FLUX): (0, 0, False, True, None),
            ("poll", FLUX): (1, 4, True, False, "429"),
            ("submit", "another"): (1, 4, True, False, "429"),
        }


async def test_of_a_lane_that_works_nothing_is_left_of_what_closed_it(database):
    await close(database, seconds=0)
    async with database.begin() as session:
        assert await note_lane_works(session, SUBMIT, FLUX)

        [lane] = await session.execute(
            text("SELECT closures, faults, probing, closed_until, closed_reason FROM lanes")
        )
    assert tuple(lane) == (0, 0, False, None, None)


async def test_a_closed_lane_is_shown_though_nothing_waits_in_it(database):
    await close(database, seconds=30)

    [lane] = await list_lanes(database)

    assert (lane.due, lane.closed_reason) == (False, "429")


async def test_a_lane_that_works_opens_no_other(database):
    for endpoint in (FLUX, "another"):
        async with database.begin() as session:
            await close_lane(session, SUBMIT, endpoint, reason="429", seconds=60)
            await session.execute(text("UPDATE lanes SET probing = true"))

    async with database.begin() as session:
        await note_lane_works(session, SUBMIT, FLUX)

    [lane] = await list_lanes(database)
    assert lane.endpoint == "another"


async def test_a_probe_that_fails_closes_the_lane_for_longer_than_it_was_let_through(database):
    await close(database)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE lanes SET closures = 9, probing = true, closed_until = now()")
        )
        await session.execute(text("UPDATE lanes SET closed_until = now() + interval '0.1 s'"))

    assert await close(database) >= 0.5 * CLOSE_SECONDS_MOST


async def test_due_work_of_one_stage_and_the_pause_of_another_are_two_lanes(database):
    await add_job(database)
    await pause(database, stage=StageName.POLL)

    lanes = await list_lanes(database)

    assert [(lane.stage, lane.due, lane.paused) for lane in lanes] == [
        (StageName.POLL, False, True),
        (SUBMIT, True, False),
    ]


async def test_what_is_due_at_one_endpoint_is_not_at_another(database):
    await add_job(database, endpoint="another")

    assert await due_in(database) is None


async def test_a_claim_probes_its_own_lane_alone(database):
    for endpoint in (FLUX, "another"):
        await add_job(database, endpoint=endpoint)
        async with database.begin() as session:
            await close_lane(session, SUBMIT, endpoint, reason="429")
    await let_it_open(database)

    assert len(await claim(database)) == 1

    async with database.begin() as session:
        probed = await session.scalars(text("SELECT endpoint FROM lanes WHERE probing"))
        assert list(probed) == [FLUX]


async def test_what_has_been_due_for_longest_is_asked_for_first(database, execute):
    job_ids = [await add_job(database) for _ in range(4)]
    await execute("UPDATE jobs SET state = 'in_queue', upstream_id = 'u', submitted_at = now()")
    async with database.begin() as session:
        for age, job_id in enumerate(job_ids):
            await session.execute(
                text(
                    "UPDATE jobs SET next_at = now() - make_interval(secs => :age) WHERE id = :id"
                ),
                {"age": age, "id": job_id},
            )

    async with database.begin() as session:
        rows = await claim_polls(
            session, endpoint=FLUX, limit=2, lease=new_id(), lease_seconds=15.0, proven=True
        )

    assert {row.id for row in rows} == set(job_ids[2:])


async def test_every_endpoint_is_known_once_it_is_asked_for(database):
    for endpoint in (FLUX, "another", FLUX):
        await add_job(database, endpoint=endpoint)

    async with database.begin() as session:
        known = await session.scalars(text("SELECT endpoint FROM endpoint_stats"))
        assert sorted(known) == ["another", FLUX]


async def test_a_stage_that_works_opens_no_other_stage_of_its_endpoint(database):
    async with database.begin() as session:
        await close_lane(session, StageName.POLL, FLUX, reason="429", seconds=60)
        await note_lane_fails(session, SUBMIT, FLUX, calls=1, reason="500")

    async with database.begin() as session:
        await note_lane_works(session, SUBMIT, FLUX)

    [lane] = await list_lanes(database)
    assert (lane.stage, lane.closed_reason) == (StageName.POLL, "429")


async def test_what_is_due_later_is_not_due(database):
    async with database.begin() as session:
        job = NewJob(id=new_id(), endpoint=FLUX, input={}, due_seconds=60.0)
        await enqueue_jobs(session, [job])

    assert await list_lanes(database) == []


async def test_due_work_of_one_endpoint_and_the_pause_of_another_are_two_lanes(database):
    await add_job(database)
    await pause(database, endpoint="another")

    lanes = await list_lanes(database)

    assert [(lane.endpoint, lane.due, lane.paused) for lane in lanes] == [
        ("another", False, True),
        (FLUX, True, False),
    ]


async def test_the_pause_of_another_endpoint_says_nothing_of_when_this_one_is_due(database):
    await add_job(database)
    await pause(database, endpoint="another")

    assert await due_in(database) == 0


async def test_a_lane_of_which_something_was_said_once_is_not_probed(database):
    """A pause that is over leaves a row; its lane is open all the same."""
    await add_job(database)
    await add_job(database)
    await pause(database)
    await pause(database, paused=False)

    assert len(await claim(database, limit=1)) == 1

    assert len(await claim(database, limit=1)) == 1
    assert await list_lanes(database) == []


async def test_of_one_endpoint_the_lanes_of_others_are_not_shown(database):
    """One that is held up is, whether anything waits in it or not."""
    for endpoint in (FLUX, "another"):
        await pause(database, endpoint=endpoint)

    async with database.begin() as session:
        lanes = await list_lane_states(session, stage=SUBMIT, endpoint=FLUX)

    assert [(lane.endpoint, lane.paused) for lane in lanes] == [(FLUX, True)]


async def test_a_closed_lane_is_shown_as_long_as_it_is_closed(database):
    await close(database, seconds=30)
    async with database.begin() as session:
        [lane] = await list_lane_states(session)
        await session.execute(text("UPDATE lanes SET closed_until = now() - interval '1 s'"))

        later = await list_lane_states(session)

    assert (lane.waiting, lane.closed_reason) == (0, "429")
    assert later == []


async def test_of_each_endpoint_its_own_waiting_jobs_are_counted(database):
    for endpoint in (FLUX, "another", "another"):
        await add_job(database, endpoint=endpoint)

    async with database.begin() as session:
        lanes = await list_lane_states(session, stage=SUBMIT)

    assert [(lane.endpoint, lane.waiting) for lane in lanes] == [("another", 2), (FLUX, 1)]


async def test_a_claim_takes_nothing_of_another_endpoint(database):
    await add_job(database, endpoint="another")

    assert await claim(database) == []
