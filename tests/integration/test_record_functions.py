"""Whatever is written of a job is written of that job alone, and says what came of it.

Each write is made beside a bystander: a second job in the same state, with the same files and
deliveries, of which not one column may change.
"""

from collections import Counter
from decimal import Decimal

import pytest
from celery import Celery
from sqlalchemy import text

from endpoints.outcomes import (
    Accepted,
    Busy,
    BusyCause,
    Ended,
    Fault,
    Missing,
    Refused,
    Running,
    Unknown,
    UpstreamState,
)
from models.artifact import DownloadEnd, record_downloads, settle_measured
from models.attempt import Answer, AttemptEnd, answer_attempts, settle_attempts
from models.base import new_id
from models.claims import Cancel, Poll, extend_lease, hand_back
from models.delivery import (
    DeliveryFailure,
    hasten_deliveries,
    record_deliveries,
    redeliver,
    replay_delivery,
    wake_deliveries,
)
from models.interventions import (
    begin_streaming,
    cancel_jobs,
    count_streamed,
    expire_jobs,
    hasten_polls,
    retry_jobs,
)
from models.job import JobState, OnUnknown, Reason, Route
from models.job_queries import get_job, list_attempts
from models.lane import StageName, reopen_lane
from models.transitions import (
    NewJob,
    Submission,
    accept,
    ask_again,
    claim_submissions,
    end,
    enqueue_jobs,
    follow_hints,
    hasten_decisions,
    lose_sight,
    move_jobs,
    send_anew,
)
from tasks import cancel as cancel_stage
from tasks import poll as poll_stage
from tasks import submit as submit_stage
from tasks.cancel import Cancelled
from tasks.completion import complete_task
from tasks.poll import MISSES_ALLOWED, Polled
from tasks.submit import Submitted
from tests.integration.conftest import FLUX

FILES = """
    INSERT INTO artifacts (id, job_id, position, endpoint, field, source_url, expires_at, lease,
        duration_seconds, tries)
    SELECT gen_random_uuid(), id, 0, endpoint, 'output', 'u', now() + interval '1 h',
        gen_random_uuid(), 2.5, 1 FROM jobs
"""
DELIVERIES = """
    INSERT INTO deliveries (id, job_id, kind, endpoint, request, state, tries, pending_at, lease)
    SELECT gen_random_uuid(), id, kind, endpoint, '{"url": "u"}', :state, 1, now(),
        CASE WHEN :leased THEN gen_random_uuid() END
    FROM jobs CROSS JOIN (VALUES ('celery'), ('webhook')) AS kinds(kind)
"""
STATES = {
    "queued": "SELECT 1",
    "submitting": "SELECT 1",
    "unknown": """
        UPDATE jobs SET state = 'unknown', lease = NULL, next_at = now() + interval '1 min'""",
    "in flight": """
        UPDATE jobs SET state = 'in_queue', lease = NULL, upstream_id = 'up-' || id,
            submitted_at = now(), next_at = now() + interval '1 min'""",
    "asked for": """
        UPDATE jobs SET state = 'in_progress', lease = gen_random_uuid(),
            upstream_id = 'up-' || id, submitted_at = now(), next_at = now() + interval '1 min'""",
    "completed": """
        UPDATE jobs SET state = 'completed', lease = NULL, upstream_id = 'up-' || id,
            next_at = NULL, finished_at = now()""",
    "failed": """
        UPDATE jobs SET state = 'failed', lease = NULL, upstream_id = 'up-' || id,
            next_at = NULL, finished_at = now()""",
}
COST = Decimal("0.2500000000")
TAKEN = {"in flight", "asked for", "completed", "failed"}


class Pair:
    """Two jobs alike: the one that is written of, and the other."""

    def __init__(self, database):
        self.database = database

    async def make(self, state, *, deliveries="pending", leased=True):
        jobs = [
            NewJob(id=new_id(), endpoint=FLUX, input={}, estimate_usd="0.5", start_seconds=3600)
            for _ in range(2)
        ]
        async with self.database.begin() as session:
            await enqueue_jobs(session, jobs)
            if state != "queued":
                for _ in jobs:
                    await claim_submissions(
                        session,
                        endpoint=FLUX,
                        limit=1,
                        lease=new_id(),
                        lease_seconds=60,
                        proven=True,
                    )
            await session.execute(text(STATES[state]))
            if state in TAKEN:
                await session.execute(
                    text("UPDATE attempts SET answer = 'accepted', upstream_id = 'up-' || job_id")
                )
            await session.execute(text(FILES))
            await session.execute(text(DELIVERIES), {"state": deliveries, "leased": leased})
        self.job = await self.read(jobs[0].id)
        self.other = await self.read(jobs[1].id)
        return self

    async def read(self, job_id):
        """All that is known of a job: table to its rows."""
        async with self.database.begin() as session:
            return {
                table: [
                    dict(row)
                    for row in (
                        await session.execute(
                            text(f"SELECT * FROM {table} WHERE {key} = :id ORDER BY {order}"),
                            {"id": job_id},
                        )
                    ).mappings()
                ]
                for table, key, order in (
                    ("jobs", "id", "id"),
                    ("attempts", "job_id", "sent_at"),
                    ("artifacts", "job_id", "position"),
                    ("deliveries", "job_id", "kind"),
                )
            }

    async def after(self):
        return await self.read(self.job["jobs"][0]["id"])

    async def other_after(self):
        return await self.read(self.other["jobs"][0]["id"])

    @property
    def id(self):
        return self.job["jobs"][0]["id"]

    @property
    def lease(self):
        return self.job["jobs"][0]["lease"]

    @property
    def attempt(self):
        return self.job["attempts"][0]

    @property
    def file(self):
        return self.job["artifacts"][0]

    @property
    def webhook(self):
        return self.job["deliveries"][1]


@pytest.fixture
def pair(database):
    return Pair(database)


def move(make):
    return lambda session, pair: move_jobs(session, [make(pair.id, pair.lease)])


def stored(pair):
    return DownloadEnd(
        id=pair.file["id"],
        lease=pair.file["lease"],
        sha256="a",
        store_key="k",
        duration_seconds=2.5,
    )


async def settle_both(session, pair):
    """Of two jobs with a cost, one is settled."""
    await session.execute(text("UPDATE jobs SET cost_usd = 0.25"))
    pair.job["jobs"][0]["cost_usd"] = pair.other["jobs"][0]["cost_usd"] = COST
    await settle_attempts(session, job_ids=[pair.id])


async def extend_both(session, pair, stage, table):
    """One of two rows that a lease holds, and one that another one does."""
    [row] = pair.job[table]
    ids = [row["id"], pair.other[table][0]["id"]]
    await extend_lease(session, stage, ids=ids, lease=row["lease"], seconds=600)


# The state of both jobs, and what is then written of one.
WRITES = {
    "accept": (
        "submitting",
        move(lambda job, lease: accept(job, lease, upstream_id="u", due_in=5)),
    ),
    "lose sight": ("submitting", move(lambda *held: lose_sight(*held, error="e", due_in=5))),
    "ask again": (
        "asked for",
        move(lambda *held: ask_again(*held, state=JobState.IN_PROGRESS, due_in=5)),
    ),
    "send anew": ("asked for", move(lambda *held: send_anew(*held, error="404", due_in=5))),
    "end": ("asked for", move(lambda *held: end(*held, state=JobState.COMPLETED))),
    "answer": (
        "submitting",
        lambda session, pair: answer_attempts(
            session,
            [AttemptEnd(job_id=pair.id, lease=pair.attempt["lease"], answer=Answer.BUSY)],
        ),
    ),
    "settle": ("completed", settle_both),
    "follow hints": (
        "unknown",
        lambda session, pair: follow_hints(session, [(pair.id, pair.attempt["lease"], "u")]),
    ),
    "follow a hint in flight": (
        "in flight",
        lambda session, pair: follow_hints(
            session, [(pair.id, pair.attempt["lease"], pair.attempt["upstream_id"])]
        ),
    ),
    "hasten a decision": (
        "unknown",
        lambda session, pair: hasten_decisions(session, [(pair.id, pair.attempt["lease"])]),
    ),
    "cancel queued": ("queued", lambda session, pair: cancel_jobs(session, job_ids=[pair.id])),
    "cancel in flight": (
        "in flight",
        lambda session, pair: cancel_jobs(session, job_ids=[pair.id]),
    ),
    "cancel unknown": ("unknown", lambda session, pair: cancel_jobs(session, job_ids=[pair.id])),
    "cancel claimed": ("asked for", lambda session, pair: cancel_jobs(session, job_ids=[pair.id])),
    "retry": ("failed", lambda session, pair: retry_jobs(session, job_ids=[pair.id])),
    "hasten a poll": ("in flight", lambda session, pair: hasten_polls(session, job_ids=[pair.id])),
    "begin streaming": (
        "completed",
        lambda session, pair: begin_streaming(session, pair.id, pieces=3),
    ),
    "count streamed": (
        "completed",
        lambda session, pair: count_streamed(session, pair.id, pieces=3),
    ),
    "hand back a submission": (
        "submitting",
        lambda session, pair: hand_back(session, StageName.SUBMIT, lease=pair.lease, ids=[pair.id]),
    ),
    "hand back a poll": (
        "asked for",
        lambda session, pair: hand_back(session, StageName.POLL, lease=pair.lease, ids=[pair.id]),
    ),
    "hand back a cancel": (
        "asked for",
        lambda session, pair: hand_back(session, StageName.CANCEL, lease=pair.lease, ids=[pair.id]),
    ),
    "hand back a file": (
        "completed",
        lambda session, pair: hand_back(
            session, StageName.ARCHIVE, lease=pair.file["lease"], ids=[pair.file["id"]]
        ),
    ),
    "hand back a delivery": (
        "completed",
        lambda session, pair: hand_back(
            session, StageName.WEBHOOK, lease=pair.webhook["lease"], ids=[pair.webhook["id"]]
        ),
    ),
    "extend a poll": (
        "asked for",
        lambda session, pair: extend_both(session, pair, StageName.POLL, "jobs"),
    ),
    "extend a file": (
        "completed",
        lambda session, pair: extend_both(session, pair, StageName.ARCHIVE, "artifacts"),
    ),
    "a file is stored": (
        "completed",
        lambda session, pair: record_downloads(session, [stored(pair)]),
    ),
    "a result is priced by its length": (
        "completed",
        lambda session, pair: settle_measured(
            session, artifact_ids=[pair.file["id"]], usd_per_second=Decimal(2)
        ),
    ),
    "a delivery got through": (
        "completed",
        lambda session, pair: record_deliveries(
            session, lease=pair.webhook["lease"], ids=[pair.webhook["id"]], failed={}
        ),
    ),
}
# The columns that it changes.
CHANGES = {
    "accept": {"jobs": "state lease next_at submitted_at upstream_id"},
    "lose sight": {"jobs": "state lease next_at error"},
    "ask again": {"jobs": "lease next_at polls polled_at"},
    "send anew": {
        "jobs": "state lease next_at error polls submitted_at upstream_id virtual_start",
        "attempts": "fate risk_usd",
    },
    "end": {"jobs": "state lease next_at finished_at"},
    "answer": {"attempts": "answer answered_at"},
    "settle": {"attempts": "cost_usd"},
    "follow hints": {"jobs": "state next_at submitted_at upstream_id", "attempts": "upstream_id"},
    "follow a hint in flight": {"jobs": "next_at"},
    "hasten a decision": {"jobs": "next_at"},
    "cancel queued": {"jobs": "state cancel_requested_at finished_at next_at reason"},
    "cancel in flight": {"jobs": "cancel_requested_at next_at"},
    "cancel unknown": {"jobs": "cancel_requested_at"},
    "cancel claimed": {"jobs": "cancel_requested_at"},
    "retry": {
        "jobs": "state virtual_start attempts_before retries next_at finished_at upstream_id "
        "start_by",
        "deliveries": "state tries lease",
    },
    "hasten a poll": {"jobs": "next_at"},
    "begin streaming": {"jobs": "streamed"},
    "count streamed": {"jobs": "streamed"},
    "hand back a submission": {
        "jobs": "state lease next_at attempt",
        "attempts": "answer answered_at",
    },
    "hand back a poll": {"jobs": "lease next_at"},
    "hand back a cancel": {"jobs": "lease next_at cancel_tries"},
    "hand back a file": {"artifacts": "lease next_at tries"},
    "hand back a delivery": {"deliveries": "lease next_at tries"},
    "extend a poll": {"jobs": "next_at"},
    "extend a file": {"artifacts": "next_at"},
    "a file is stored": {"artifacts": "state lease next_at sha256 store_key stored_at"},
    "a result is priced by its length": {"jobs": "cost_usd", "attempts": "cost_usd"},
    "a delivery got through": {"deliveries": "state lease next_at delivered_at"},
}


def differences(before, after):
    """Table to the columns of which some value differs."""
    found = {}
    for table, rows in before.items():
        assert len(rows) == len(after[table])
        if names := {
            name
            for was, now in zip(rows, after[table], strict=True)
            for name in was
            if was[name] != now[name]
        }:
            found[table] = names
    return found


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_changes_what_it_is_of_and_leaves_the_bystander_as_it_was(pair, name):
    state, write = WRITES[name]
    await pair.make(state)

    async with pair.database.begin() as session:
        await write(session, pair)

    changed = {table: set(columns.split()) for table, columns in CHANGES[name].items()}
    assert differences(pair.job, await pair.after()) == changed
    assert differences(pair.other, await pair.other_after()) == {}


@pytest.fixture
def lane(database, runtime):
    """What a stage records of one job: the job, its attempts, and for when it rings which stage."""
    return Recorder(database, runtime)


class Recorder:
    def __init__(self, database, runtime):
        self.database = database
        self.runtime = runtime

    async def claim(self, **options):
        job = NewJob(id=new_id(), endpoint=FLUX, input={}, estimate_usd="0.5", **options)
        async with self.database.begin() as session:
            await enqueue_jobs(session, [job])
            [row] = await claim_submissions(
                session, endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=60, proven=True
            )
        return row

    async def submit(self, *ends):
        return await submit_stage.record(self.runtime, FLUX, [Submitted(*one) for one in ends])

    async def fly(self, **changes):
        """A job in flight that was asked for, as its claim gives it, but for the changes."""
        row = await self.claim()
        async with self.database.begin() as session:
            await move_jobs(session, [accept(row.id, row.lease, upstream_id="u", due_in=0)])
            found = AttemptEnd(
                job_id=row.id, lease=row.lease, answer=Answer.ACCEPTED, upstream_id="u"
            )
            await answer_attempts(session, [found])
            lease = new_id()
            await session.execute(
                text("UPDATE jobs SET lease = :lease WHERE id = :id"),
                {"lease": lease, "id": row.id},
            )
        facts = {
            "attempt": 1,
            "state": JobState.IN_QUEUE,
            "age_seconds": 5.0,
            "unseen_seconds": 5.0,
            "polls": 0,
            "misses": 0,
            "cancel": False,
            "cancel_reason": None,
            "route": Route.RUN,
            "sends": 1,
            "on_unknown": OnUnknown.RESUBMIT,
            **changes,
        }
        return Poll(id=row.id, lease=lease, endpoint=FLUX, upstream_id="u", **facts)

    async def poll(self, row, outcome):
        return await poll_stage.record(self.runtime, FLUX, [Polled(row, outcome)])

    async def find(self, row):
        async with self.database.begin() as session:
            return await get_job(session, row.id), await list_attempts(session, row.id)


BUSY = Busy(BusyCause.RATE_LIMITED, "slow down", 7.0, 429)
AWAY = Busy(BusyCause.UNREACHABLE, "no route")


@pytest.mark.parametrize(
    ("outcome", "state", "reason", "answer", "http_status", "error", "rung"),
    [
        (Accepted("u", 200), JobState.IN_QUEUE, None, Answer.ACCEPTED, 200, None, {"poll"}),
        (BUSY, JobState.QUEUED, None, Answer.BUSY, 429, "slow down", {"submit"}),
        (AWAY, JobState.QUEUED, None, Answer.UNSENT, None, "no route", {"submit"}),
        (
            Refused("no such style", 400),
            *(JobState.FAILED, Reason.UPSTREAM_REFUSED, Answer.REFUSED, 400, "no such style"),
            set(),
        ),
        (
            Refused("the seal is broken", submit_stage.UNSEALED),
            *(JobState.FAILED, Reason.UPSTREAM_REFUSED, Answer.REFUSED, None),
            *("the seal is broken", set()),
        ),
        (Fault("500", 500), JobState.QUEUED, None, Answer.FAULT, 500, "500", {"submit"}),
        (Unknown("no reply"), JobState.UNKNOWN, None, Answer.UNKNOWN, None, "no reply", set()),
    ],
)
async def test_what_a_submit_came_to_is_written_of_the_job_and_of_the_attempt(  # noqa: PLR0917
    lane, outcome, state, reason, answer, http_status, error, rung
):
    row = await lane.claim()

    chain = await lane.submit((row, outcome))

    job, [attempt] = await lane.find(row)
    assert (job.state, job.reason) == (state, reason)
    assert (attempt.answer, attempt.http_status, attempt.error) == (answer, http_status, error)
    assert job.attempt == (0 if isinstance(outcome, Busy) else 1)
    assert set(chain) == rung
    if http_status and error and reason:
        assert job.error == f"{error} (HTTP {http_status})"


async def test_a_lane_told_to_wait_is_rung_for_when_it_opens_and_a_fault_for_its_retry(lane):
    first, second = await lane.claim(), await lane.claim()

    held = await lane.submit((first, BUSY))
    async with lane.database.begin() as session:
        await reopen_lane(session, StageName.SUBMIT, FLUX)
    again = await lane.submit((second, Fault("500", 500)))

    assert held[StageName.SUBMIT] == pytest.approx(7, abs=0.5)
    assert 1 <= again[StageName.SUBMIT] <= 3


@pytest.mark.parametrize(
    ("attempt", "attempts_before", "state"),
    [(9, 0, JobState.QUEUED), (10, 0, JobState.FAILED), (19, 10, JobState.QUEUED)],
)
async def test_faults_end_a_job_after_as_many_attempts_as_it_may_have(
    lane, attempt, attempts_before, state
):
    row = await lane.claim()
    counted = Submission(
        id=row.id,
        lease=row.lease,
        endpoint=FLUX,
        attempt=attempt,
        attempts_before=attempts_before,
        input={},
        on_unknown=OnUnknown.RESUBMIT,
    )

    await lane.submit((counted, Fault("500", 500)))

    job, _ = await lane.find(row)
    assert job.state is state
    assert job.reason is (Reason.UPSTREAM_FAULT if state is JobState.FAILED else None)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Accepted("up-late", 200), JobState.IN_QUEUE),
        (BUSY, JobState.QUEUED),
        (Unknown("no reply"), JobState.UNKNOWN),
    ],
)
async def test_an_answer_that_comes_after_the_lease_is_used_as_far_as_it_says_anything(
    lane, outcome, state
):
    row = await lane.claim(on_unknown=OnUnknown.FAIL)
    async with lane.database.begin() as session:
        await move_jobs(session, [lose_sight(row.id, row.lease, error="died", due_in=60)])

    await lane.submit((row, outcome))

    job, [attempt] = await lane.find(row)
    async with lane.database.begin() as session:
        due = await session.scalar(text("SELECT next_at <= now() FROM jobs"))
    assert job.state is (JobState.IN_QUEUE if state is JobState.IN_QUEUE else JobState.UNKNOWN)
    assert attempt.upstream_id == job.upstream_id == getattr(outcome, "upstream_id", None)
    assert due is (state is not JobState.UNKNOWN)


@pytest.mark.parametrize("sync", [False, True])
async def test_what_came_by_runsync_is_asked_for_at_once(lane, sync):
    row = await lane.claim(route=Route.RUNSYNC if sync else Route.RUN)

    chain = await lane.submit((row, Accepted("u", 200)))

    async with lane.database.begin() as session:
        due = await session.scalar(text("SELECT next_at <= now() FROM jobs"))
    assert due is sync
    assert (chain[StageName.POLL] == 0) is sync


async def test_a_job_cancelled_while_it_was_sent_is_rung_for_at_its_end_or_its_cancel(lane):
    """Its webhook is due when it ends; its cancel, when it was taken."""
    taken, told_to_wait = await lane.claim(), await lane.claim()
    async with lane.database.begin() as session:
        await session.execute(text(DELIVERIES), {"state": "waiting", "leased": False})
        await cancel_jobs(session, job_ids=[taken.id, told_to_wait.id])

    chain = await lane.submit((taken, Accepted("u", 200)), (told_to_wait, AWAY))

    assert (await lane.find(told_to_wait))[0].state is JobState.CANCELLED
    assert chain[StageName.CANCEL] == 0
    assert chain[StageName.WEBHOOK] == chain[StageName.NOTIFY] == 0


ENDS = [
    (UpstreamState.FAILED, JobState.FAILED, Reason.UPSTREAM_FAILED),
    (UpstreamState.TIMED_OUT, JobState.TIMED_OUT, Reason.UPSTREAM_TIMED_OUT),
    (UpstreamState.CANCELLED, JobState.CANCELLED, Reason.UPSTREAM_CANCELLED),
]


@pytest.mark.parametrize(("said", "state", "reason"), ENDS)
async def test_an_end_that_the_upstream_names_is_written_with_its_reason(lane, said, state, reason):
    row = await lane.fly()

    await lane.poll(row, Ended(said, error="why"))

    job, _ = await lane.find(row)
    assert (job.state, job.reason, job.error) == (state, reason, "why")


@pytest.mark.parametrize(
    ("cancel_reason", "state", "reason"),
    [
        (None, JobState.CANCELLED, Reason.CANCELLED),
        (Reason.TTL_PASSED, JobState.TIMED_OUT, Reason.TTL_PASSED),
    ],
)
@pytest.mark.parametrize("outcome", [Ended(UpstreamState.CANCELLED, error="stopped"), Missing()])
async def test_what_we_cancelled_ends_by_our_own_reason(
    lane, outcome, cancel_reason, state, reason
):
    row = await lane.fly(cancel=True, cancel_reason=cancel_reason, misses=1)

    await lane.poll(row, outcome)

    job, _ = await lane.find(row)
    assert (job.state, job.reason, job.error) == (state, reason, None)


HOUR = 3600.0


@pytest.mark.parametrize(
    ("changes", "state", "reason", "fate"),
    [
        ({"misses": MISSES_ALLOWED - 1}, JobState.IN_QUEUE, None, None),
        ({}, JobState.QUEUED, None, "gone"),
        ({"sends": 2}, JobState.QUEUED, None, "gone"),
        ({"sends": 3}, JobState.LOST, Reason.VANISHED, "gone"),
        ({"on_unknown": OnUnknown.FAIL}, JobState.LOST, Reason.VANISHED, "gone"),
        ({"age_seconds": 25 * HOUR}, JobState.TIMED_OUT, Reason.TTL_PASSED, None),
        ({"unseen_seconds": HOUR}, JobState.LOST, Reason.RESULT_EXPIRED, None),
        ({"unseen_seconds": 90.0}, JobState.QUEUED, None, "gone"),
        (
            {"unseen_seconds": 90.0, "route": Route.RUNSYNC},
            *(JobState.LOST, Reason.RESULT_EXPIRED, None),
        ),
    ],
)
async def test_what_a_404_means_is_told_from_what_is_known(lane, changes, state, reason, fate):
    ages = {
        name: lane.runtime.real_seconds(value) if name.endswith("seconds") else value
        for name, value in changes.items()
    }
    row = await lane.fly(**{"misses": MISSES_ALLOWED, **ages})

    chain = await lane.poll(row, Missing())

    job, [attempt] = await lane.find(row)
    assert (job.state, job.reason, attempt.fate) == (state, reason, fate)
    assert attempt.risk_usd == (None if fate is None else Decimal("0.5"))
    assert (StageName.SUBMIT in chain) is (state is JobState.QUEUED)
    assert (StageName.POLL in chain) is (state is JobState.IN_QUEUE)
    assert job.polls == 1
    if state is JobState.IN_QUEUE:
        assert job.misses == MISSES_ALLOWED


@pytest.mark.parametrize(
    ("outcome", "misses", "error"),
    [
        (Running(UpstreamState.IN_PROGRESS), 0, None),
        (Missing(), 3, None),
        (Fault("garbage"), 2, "garbage"),
        (BUSY, 2, None),
    ],
)
async def test_what_has_not_ended_is_asked_for_again(lane, outcome, misses, error):
    row = await lane.fly(misses=2)

    chain = await lane.poll(row, outcome)

    job, _ = await lane.find(row)
    assert (job.misses, job.error) == (misses, error)
    assert job.state is (JobState.IN_PROGRESS if misses == 0 else JobState.IN_QUEUE)
    assert chain[StageName.POLL] > 0
    assert (job.polled_at is not None) is (misses == 0)


@pytest.mark.parametrize("misses", [0, 1, 4])
async def test_after_each_404_twice_as_long_is_waited(lane, monkeypatch, misses):
    monkeypatch.setattr("tasks.poll.random.uniform", lambda low, high: (low + high) / 2)
    row = await lane.fly(misses=misses)

    chain = await lane.poll(row, Missing())

    seconds = poll_stage.AGAIN_SECONDS * 2**misses
    assert chain[StageName.POLL] == pytest.approx(lane.runtime.real_seconds(seconds))


@pytest.mark.parametrize("route", [Route.RUN, Route.RUNSYNC])
async def test_what_came_by_runsync_is_asked_for_often_for_its_result_is_kept_for_a_minute(
    lane, route
):
    row = await lane.fly(route=route, age_seconds=lane.runtime.real_seconds(1000.0))

    chain = await lane.poll(row, Running(UpstreamState.IN_PROGRESS))

    often = chain[StageName.POLL] <= lane.runtime.real_seconds(poll_stage.SYNC_AGAIN_SECONDS)
    assert often is (route is Route.RUNSYNC)


@pytest.mark.parametrize(
    ("output", "state"),
    [
        ({"error": "out of memory"}, JobState.FAILED),
        ({"error": ""}, JobState.COMPLETED),
        ({"error": "one of two", "image_url": "https://files.test/a.png"}, JobState.COMPLETED),
        (["error"], JobState.COMPLETED),
    ],
)
async def test_a_result_of_nothing_but_an_error_is_none(lane, output, state):
    row = await lane.fly()

    await lane.poll(row, Ended(UpstreamState.COMPLETED, output=output, execution_ms=1))

    job, _ = await lane.find(row)
    assert job.state is state
    if state is JobState.FAILED:
        assert (job.reason, job.error) == (Reason.UPSTREAM_FAILED, "out of memory")


@pytest.mark.parametrize(
    ("execution_ms", "delay_ms", "seconds"),
    [(2000, 1000, 3.0), (2000, None, 2.0), (None, None, 5.0)],
)
async def test_how_long_a_job_took_is_learned(lane, monkeypatch, execution_ms, delay_ms, seconds):
    learned: list[float] = []

    def count(took):
        learned.extend(took)
        return Counter[int]()

    monkeypatch.setattr("endpoints.forecast.count_durations", count)
    row = await lane.fly(age_seconds=lane.runtime.real_seconds(5.0))

    await lane.poll(
        row,
        Ended(UpstreamState.COMPLETED, output={}, execution_ms=execution_ms, delay_ms=delay_ms),
    )

    assert learned == [pytest.approx(lane.runtime.real_seconds(seconds))]


async def test_a_job_cancelled_while_it_was_asked_for_is_not_sent_anew_and_its_end_is_told(lane):
    row = await lane.fly(misses=MISSES_ALLOWED)
    other = await lane.fly()
    async with lane.database.begin() as session:
        await session.execute(text(DELIVERIES), {"state": "waiting", "leased": False})
        await cancel_jobs(session, job_ids=[row.id])

    await lane.poll(other, Running(UpstreamState.IN_PROGRESS))
    chain = await lane.poll(row, Missing())

    assert (await lane.find(row))[0].state is JobState.CANCELLED
    assert chain[StageName.WEBHOOK] == chain[StageName.NOTIFY] == 0


async def test_a_result_is_billed_its_files_noted_and_its_producers_told(lane):
    row = await lane.fly()
    async with lane.database.begin() as session:
        await session.execute(text(DELIVERIES), {"state": "waiting", "leased": False})
    output = {"image_url": "https://files.test/a.png", "cost": 0.25}
    said = Ended(
        UpstreamState.COMPLETED, output=output, delay_ms=2, execution_ms=1, worker_id="w-1"
    )

    chain = await lane.poll(row, said)

    job, [attempt] = await lane.find(row)
    assert (job.delay_ms, job.execution_ms, job.worker_id) == (2, 1, "w-1")
    async with lane.database.begin() as session:
        [file] = await session.execute(text("SELECT job_id, source_url FROM artifacts"))
    assert (job.cost_usd, attempt.cost_usd) == (COST, COST)
    assert tuple(file) == (row.id, output["image_url"])
    assert chain[StageName.ARCHIVE] == 0
    # Word of it waits for the file, but not for ever.
    assert chain[StageName.WEBHOOK] == pytest.approx(poll_stage.ARCHIVE_HOLD_SECONDS, abs=1)


@pytest.mark.parametrize(
    ("outcome", "tries", "sent", "rung"),
    [
        (Ended(UpstreamState.CANCELLED), 1, True, "poll"),
        (Running(UpstreamState.IN_PROGRESS), 1, True, "poll"),
        (Missing(), 1, True, "poll"),
        (Fault("500", 500), 1, False, "cancel"),
        (Fault("500", 500), 7, False, "cancel"),
        (Fault("500", 500), 8, True, "poll"),
        (BUSY, 20, False, "cancel"),
    ],
)
async def test_a_cancel_is_sent_again_until_it_is_answered_but_not_for_ever(
    lane, outcome, tries, sent, rung
):
    row = await lane.fly()
    claimed = Cancel(
        id=row.id,
        lease=row.lease,
        endpoint=FLUX,
        state=JobState.IN_QUEUE,
        upstream_id="u",
        tries=tries,
    )

    chain = await cancel_stage.record(lane.runtime, FLUX, [Cancelled(claimed, outcome)])

    job, _ = await lane.find(row)
    assert (job.cancel_sent_at is not None, job.lease) == (sent, None)
    assert job.error == (outcome.error if isinstance(outcome, Fault) else None)
    assert list(chain) == [rung]
    assert (chain[StageName(rung)] == 0) is sent
    async with lane.database.begin() as session:
        due = await session.scalar(text("SELECT next_at <= now() FROM jobs"))
    assert due is (sent or isinstance(outcome, Busy))  # of a busy lane, the lane says when


def failure(retry_in):
    return DeliveryFailure(error="HTTP 500", retry_in=retry_in)


@pytest.mark.parametrize(
    ("retry_in", "state", "due"),
    [(None, "failed", True), (60.0, "pending", False)],
)
async def test_a_delivery_that_failed_is_tried_again_or_given_up(pair, retry_in, state, due):
    await pair.make("completed")

    async with pair.database.begin() as session:
        await session.execute(text("UPDATE deliveries SET deaths = 1"))
        await record_deliveries(
            session,
            lease=pair.webhook["lease"],
            ids=[pair.webhook["id"]],
            failed={pair.webhook["id"]: failure(retry_in)},
            http_statuses={pair.webhook["id"]: 500},
        )

    _, webhook = (await pair.after())["deliveries"]
    async with pair.database.begin() as session:
        now = await session.scalar(text("SELECT now()"))
    assert (webhook["state"], webhook["error"]) == (state, "HTTP 500")
    assert (webhook["http_status"], webhook["deaths"]) == (500, 0)
    assert (webhook["delivered_at"], webhook["lease"]) == (None, None)
    assert (webhook["next_at"] <= now) is due


@pytest.mark.parametrize("lease_lost", ["by another claim", "by its end"])
async def test_a_late_writer_writes_nothing_of_a_file_or_a_delivery(pair, lease_lost):
    await pair.make("completed")
    async with pair.database.begin() as session:
        change = (
            "lease = gen_random_uuid()" if lease_lost == "by another claim" else "state = :state"
        )
        for table in ("artifacts", "deliveries"):
            await session.execute(text(f"UPDATE {table} SET {change}"), {"state": "failed"})
    before = await pair.after()

    async with pair.database.begin() as session:
        assert await record_downloads(session, [stored(pair)]) == set()
        await record_deliveries(
            session, lease=pair.webhook["lease"], ids=[pair.webhook["id"]], failed={}
        )

    assert differences(before, await pair.after()) == {}


@pytest.mark.parametrize(
    ("retry_in", "state", "counts", "tries"),
    [(None, "expired", True, 1), (60.0, "pending", True, 1), (0.0, "pending", False, 0)],
)
async def test_a_download_that_failed_is_tried_again_while_its_address_lives(
    pair, retry_in, state, counts, tries
):
    await pair.make("completed")
    async with pair.database.begin() as session:
        await session.execute(text("UPDATE artifacts SET width = 3, height = 2, deaths = 1"))
        failed = DownloadEnd(
            id=pair.file["id"],
            lease=pair.file["lease"],
            error="HTTP 404",
            counts=counts,
            retry_in=retry_in,
        )
        await record_downloads(session, [failed])

    [file] = (await pair.after())["artifacts"]
    facts = (
        "state",
        "error",
        "tries",
        "deaths",
        "width",
        "height",
        "duration_seconds",
        "stored_at",
    )
    assert tuple(file[name] for name in facts) == (state, "HTTP 404", tries, 0, 3, 2, 2.5, None)


@pytest.mark.parametrize(
    ("lost", "error", "lost_after"),
    [
        (None, None, None),
        ("a", None, None),
        ("b", "other bytes came than the store lost", "b"),
    ],
)
async def test_a_second_copy_is_told_from_other_bytes(pair, lost, error, lost_after):
    await pair.make("completed")
    async with pair.database.begin() as session:
        await session.execute(
            text("UPDATE artifacts SET lost_sha256 = :lost, width = 3, height = 2"), {"lost": lost}
        )
        await record_downloads(session, [stored(pair)])

    [file] = (await pair.after())["artifacts"]
    assert (file["state"], file["error"], file["lost_sha256"]) == ("stored", error, lost_after)
    assert (file["width"], file["height"]) == (None, None)  # it is what it is now
    assert file["stored_at"] is not None


@pytest.mark.parametrize("held", [False, True])
async def test_word_of_an_end_waits_for_files_and_no_longer(pair, held):
    await pair.make("completed", deliveries="waiting", leased=False)
    async with pair.database.begin() as session:
        if not held:
            await session.execute(text("UPDATE artifacts SET state = 'expired'"))
            # Those of the other job are none of its own.
            await session.execute(
                text("UPDATE artifacts SET state = 'pending' WHERE job_id <> :id"), {"id": pair.id}
            )
    before, other = await pair.after(), await pair.other_after()

    async with pair.database.begin() as session:
        waits = await wake_deliveries(session, ended=[pair.id], hold_seconds=30)

    assert waits == dict.fromkeys((StageName.NOTIFY, StageName.WEBHOOK), 30 if held else 0)
    assert differences(before, await pair.after()) == {
        "deliveries": {"state", "pending_at", "next_at"}
    }
    assert differences(other, await pair.other_after()) == {}


@pytest.mark.parametrize("state", ["asked for", "submitting"])
async def test_of_a_job_that_has_not_ended_there_is_no_word(pair, state):
    await pair.make(state, deliveries="waiting", leased=False)

    async with pair.database.begin() as session:
        await session.execute(
            text("""
                UPDATE jobs SET state = 'failed', lease = NULL, next_at = NULL, finished_at = now()
                WHERE id <> :id
            """),
            {"id": pair.id},
        )
        assert await wake_deliveries(session, ended=[pair.id], hold_seconds=30) == {}


@pytest.mark.parametrize(
    ("left", "deliveries", "tries", "hastened"),
    [
        ("stored", "pending", 0, True),
        ("pending", "pending", 0, False),
        ("stored", "pending", 1, False),  # it waits for its receiver, not for files
        ("stored", "delivered", 0, False),  # by somebody who did not wait
    ],
)
async def test_the_last_file_of_a_job_ends_the_wait_for_its_files(
    pair, left, deliveries, tries, hastened
):
    await pair.make("completed", deliveries=deliveries, leased=False)
    async with pair.database.begin() as session:
        await session.execute(
            text("UPDATE deliveries SET tries = :tries, next_at = now() + interval '1 min'"),
            {"tries": tries},
        )
        await session.execute(
            text("UPDATE artifacts SET state = :state, sha256 = :hash, store_key = :hash"),
            {"state": left, "hash": "a" if left == "stored" else None},
        )
    before, other = await pair.after(), await pair.other_after()

    async with pair.database.begin() as session:
        stages = await hasten_deliveries(session, artifact_ids=[pair.file["id"]])

    assert stages == ({StageName.NOTIFY, StageName.WEBHOOK} if hastened else set())
    assert differences(before, await pair.after()) == (
        {"deliveries": {"next_at"}} if hastened else {}
    )
    assert differences(other, await pair.other_after()) == {}


async def test_a_delivery_asked_for_again_is_sent_again_and_no_other(pair):
    await pair.make("completed", deliveries="delivered", leased=False)

    async with pair.database.begin() as session:
        await session.execute(
            text("""
                UPDATE deliveries SET deaths = 2, pending_at = now() - interval '1 d'
                WHERE kind = 'celery' AND job_id = :id
            """),
            {"id": pair.id},
        )
        await redeliver(session, job_id=pair.id)

    task, webhook = (await pair.after())["deliveries"]
    assert (task["state"], task["tries"], task["deaths"]) == ("pending", 0, 0)
    assert task["pending_at"] == task["next_at"]  # now
    assert webhook == pair.webhook
    assert differences(pair.other, await pair.other_after()) == {}


async def test_a_delivery_is_replayed_alone(pair):
    await pair.make("completed", deliveries="failed", leased=False)
    async with pair.database.begin() as session:
        await session.execute(
            text("""
                UPDATE deliveries SET error = 'e', http_status = 500, deaths = 3,
                    next_at = now() + interval '1 h'
            """)
        )
    other = await pair.other_after()

    async with pair.database.begin() as session:
        await replay_delivery(session, pair.webhook["id"])

    task, webhook = (await pair.after())["deliveries"]
    facts = ("state", "tries", "error", "http_status", "deaths", "delivered_at")
    assert tuple(webhook[name] for name in facts) == ("pending", 0, None, None, 0, None)
    assert webhook["next_at"] == webhook["pending_at"]  # now
    assert task["state"] == "failed"
    assert differences(other, await pair.other_after()) == {}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (
            "queued",
            {"state", "reason", "cancel_requested_at", "cancel_reason", "finished_at", "next_at"},
        ),
        ("submitting", {"cancel_requested_at", "cancel_reason"}),
        ("unknown", {"cancel_requested_at", "cancel_reason"}),
        ("asked for", {"cancel_requested_at", "cancel_reason"}),
        ("in flight", {"cancel_requested_at", "cancel_reason", "next_at"}),
        ("completed", set()),
    ],
)
async def test_a_deadline_that_passes_is_acted_on_by_the_stage_that_holds_the_job(
    pair, state, expected
):
    await pair.make(state)
    async with pair.database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET deadline_at = now() WHERE id = :id"), {"id": pair.id}
        )
    before = await pair.after()

    async with pair.database.begin() as session:
        ended = await expire_jobs(session)

    assert ended == ([pair.id] if state == "queued" else [])
    assert differences(before, await pair.after()) == ({"jobs": expected} if expected else {})
    assert differences(pair.other, await pair.other_after()) == {}


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED])
def test_the_celery_task_that_asked_for_a_job_ends_as_the_job_did(state):
    app = Celery(backend="cache+memory://", broker="memory://")
    task_id = str(new_id())
    request = {"id": task_id, "callbacks": None, "chain": None, "root_id": None}
    result = {
        "id": task_id,
        "state": state,
        "reason": "upstream_failed",
        "error": "why",
        "endpoint": FLUX,
    }

    complete_task(app, request, result)

    told = app.AsyncResult(task_id)
    assert told.successful() is (state is JobState.COMPLETED)
    assert "why" in str(told.result)


@pytest.mark.parametrize(
    ("seconds_left", "ttl_seconds"), [(100.0, 100.0), (0.5, 10.0), (-5.0, 10.0)]
)
async def test_the_policy_is_sent_on_the_upstreams_clock_with_what_is_left_of_it(
    lane, monkeypatch, seconds_left, ttl_seconds
):
    sent = {}

    async def submit(_endpoint, _input, **options):
        sent.update(options)
        return Accepted("u", 200)

    monkeypatch.setattr(lane.runtime.upstream, "submit", submit)
    clock = lane.runtime.upstream_seconds(1.0)
    row = Submission(
        id=new_id(),
        lease=new_id(),
        endpoint=FLUX,
        attempt=1,
        input={},
        on_unknown=OnUnknown.FAIL,
        policy={"ttl": 600_000, "executionTimeout": 20_000, "lowPriority": True},
        seconds_left=seconds_left / clock,
    )

    await submit_stage.act(lane.runtime, row)

    assert sent["policy"] == {
        "ttl": pytest.approx(ttl_seconds * 1000),
        "executionTimeout": pytest.approx(20_000 * clock),
        "lowPriority": True,
    }


@pytest.mark.parametrize(
    ("policy", "seconds_left"), [({"ttl": 600_000}, None), ({"lowPriority": True}, 60.0)]
)
async def test_a_policy_gets_no_time_to_live_that_it_had_not(
    lane, monkeypatch, policy, seconds_left
):
    sent = {}

    async def submit(_endpoint, _input, **options):
        sent.update(options)
        return Accepted("u", 200)

    monkeypatch.setattr(lane.runtime.upstream, "submit", submit)
    row = Submission(
        id=new_id(),
        lease=new_id(),
        endpoint=FLUX,
        attempt=1,
        input={},
        on_unknown=OnUnknown.FAIL,
        policy=policy,
        seconds_left=seconds_left,
    )

    await submit_stage.act(lane.runtime, row)

    assert sent["policy"] == policy
