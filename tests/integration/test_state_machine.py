"""One accepted job, one end: the transitions under random claims, answers, deaths and hints.

And under what people and deadlines do: cancels, retries, jobs given up, jobs sent by the gateway.
"""

import asyncio
import random
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from models.attempt import Answer, AttemptEnd, answer_attempts, settle_attempts
from models.base import new_id
from models.claims import claim_polls
from models.database import Database, empty_tables
from models.endpoint_stats import note_hints
from models.interventions import cancel_jobs, expire_jobs, retry_jobs
from models.job import TERMINAL, JobState, OnUnknown, Reason, Route
from models.transitions import (
    NewJob,
    Submission,
    accept,
    ask_again,
    begin_direct_job,
    claim_submissions,
    end,
    enqueue_jobs,
    follow_hints,
    give_up_orphans,
    lose_sight,
    move_jobs,
    resolve_unknown,
    retry_submit,
    snooze_submit,
)

ENDPOINT = "machine"
ANSWERS = ("accept", "busy", "fault", "refuse", "lose")
POLLS = ("running", "done", "failed", "missing", "stopped")
AGAIN = (JobState.FAILED, JobState.TIMED_OUT, JobState.LOST)
LIVES = (None, 0.0, 3600.0)  # seconds: for ever, past its deadline at once, and long


def recent(pick, rows):
    """Mostly one of the last claims, so that jobs come to their ends; now and then an old one."""
    return pick.choice(rows[-2:] if pick.random() < 0.7 else rows)


class JobMachine(RuleBasedStateMachine):
    """Workers that claim, answer late or never; a sweep; hints; people who cancel."""

    database: Database
    loop: asyncio.AbstractEventLoop

    def __init__(self):
        super().__init__()
        self.submissions = []  # every claim ever made: late writers use old ones
        self.polls = []
        self.ends = {}  # job to its first end, since it was last retried
        self.attempts = 0
        self.dropped = Decimal()  # what runs before a retry cost

    def run(self, body):
        async def in_transaction():
            async with self.database.begin() as session:
                return await body(session)

        return self.loop.run_until_complete(in_transaction())

    async def move(self, session, move):
        """A move is written if its claim still holds the job, and only then."""
        held = await session.scalar(
            text("SELECT lease FROM jobs WHERE id = :id"), {"id": move.job_id}
        )
        moved = await move_jobs(session, [move])
        assert moved == ({move.job_id} if held == move.lease else set())
        return moved

    @initialize()
    def begin(self):
        async def body(session):
            await empty_tables(session)

        self.run(body)
        for policy in OnUnknown:  # whatever rules a run is made of, it has jobs
            self.enqueue(2, policy)
        self.claim(3)

    @rule(
        count=strategies.integers(1, 4),
        policy=strategies.sampled_from(OnUnknown),
        live_seconds=strategies.sampled_from(LIVES),
        route=strategies.sampled_from([Route.RUN, Route.RUNSYNC]),
    )
    def enqueue(self, count, policy, live_seconds=None, route=Route.RUN):
        limits = {"executionTimeout": 1}  # ms
        if live_seconds is not None:
            limits["ttl"] = round(live_seconds * 1000)
        jobs = [
            NewJob(
                id=new_id(),
                endpoint=ENDPOINT,
                input={"prompt": "x"},
                on_unknown=policy,
                route=route,
                policy=limits,
                live_seconds=live_seconds,
            )
            for _ in range(count)
        ]
        added = self.run(lambda session: enqueue_jobs(session, jobs))
        again = self.run(lambda session: enqueue_jobs(session, jobs))
        assert (len(added), len(again)) == (count, 0)

    @rule(limit=strategies.integers(1, 3))
    def claim(self, limit):
        rows = self.run(
            lambda session: claim_submissions(
                session, endpoint=ENDPOINT, limit=limit, lease=new_id(), lease_seconds=60
            )
        )
        self.submissions += rows
        self.attempts += len(rows)

    @rule(policy=strategies.sampled_from(OnUnknown))
    def begin_direct(self, policy):
        """The gateway sends one itself; what comes of it is recorded as of any other."""
        job = NewJob(
            id=new_id(), endpoint=ENDPOINT, input={}, on_unknown=policy, route=Route.OPENAI
        )
        lease = new_id()
        self.run(lambda session: begin_direct_job(session, job, lease=lease, lease_seconds=60))
        self.attempts += 1
        self.submissions.append(
            Submission(
                id=job.id,
                lease=lease,
                endpoint=ENDPOINT,
                attempt=1,
                input={},
                on_unknown=policy,
                route=Route.OPENAI,
            )
        )

    @precondition(lambda self: self.submissions)
    @rule(pick=strategies.randoms(use_true_random=False), answer=strategies.sampled_from(ANSWERS))
    def record_submit(self, pick: random.Random, answer):
        """A worker writes what came of a claim: in time, late, or once more."""
        row = recent(pick, self.submissions)
        if row.route is Route.OPENAI:
            self.record_direct(row, answer)
            return
        upstream_id = f"up-{row.lease}-{row.id}"
        move = {
            "accept": lambda: accept(row.id, row.lease, upstream_id=upstream_id, due_in=0),
            "busy": lambda: snooze_submit(row.id, row.lease, error="429"),
            "fault": lambda: retry_submit(row.id, row.lease, error="500", due_in=0),
            "refuse": lambda: end(
                row.id, row.lease, state=JobState.FAILED, reason=Reason.UPSTREAM_REFUSED
            ),
            "lose": lambda: lose_sight(row.id, row.lease, error="no reply", due_in=60),
        }[answer]()
        words = {
            "accept": Answer.ACCEPTED,
            "busy": Answer.BUSY,
            "fault": Answer.FAULT,
            "refuse": Answer.REFUSED,
            "lose": Answer.UNKNOWN,
        }

        async def body(session):
            await self.move(session, move)
            await answer_attempts(
                session,
                [
                    AttemptEnd(
                        job_id=row.id,
                        lease=row.lease,
                        answer=words[answer],
                        upstream_id=upstream_id if answer == "accept" else None,
                    )
                ],
            )

        self.run(body)

    def record_direct(self, row, answer):
        """It is never sent again: it completes, is lost sight of, or fails."""
        move = {
            "accept": lambda: end(
                row.id, row.lease, state=JobState.COMPLETED, upstream_id="c", cost_usd="0.001"
            ),
            "lose": lambda: lose_sight(row.id, row.lease, error="no reply", due_in=1),
        }.get(answer, lambda: end(row.id, row.lease, state=JobState.FAILED))()
        word = {"accept": Answer.ACCEPTED, "lose": Answer.UNKNOWN}.get(answer, Answer.FAULT)

        async def body(session):
            moved = await self.move(session, move)
            found = AttemptEnd(
                job_id=row.id, lease=row.lease, answer=word, upstream_id=move.upstream_id
            )
            if moved:
                await answer_attempts(session, [found])
            await settle_attempts(session, job_ids=list(moved))

        self.run(body)

    @rule(limit=strategies.integers(1, 3))
    def claim_poll(self, limit):
        self.polls += self.run(
            lambda session: claim_polls(
                session, endpoint=ENDPOINT, limit=limit, lease=new_id(), lease_seconds=60
            )
        )

    @precondition(lambda self: self.polls)
    @rule(pick=strategies.randoms(use_true_random=False), answer=strategies.sampled_from(POLLS))
    def record_poll(self, pick: random.Random, answer):
        row = recent(pick, self.polls)
        move = {
            "running": lambda: ask_again(row.id, row.lease, state=JobState.IN_PROGRESS, due_in=0),
            "done": lambda: end(
                row.id, row.lease, state=JobState.COMPLETED, cost_usd="0.0025", polled=True
            ),
            "failed": lambda: end(
                row.id,
                row.lease,
                state=JobState.FAILED,
                reason=Reason.UPSTREAM_FAILED,
                cost_usd=pick.choice([None, "0.01"]),
            ),
            "stopped": lambda: end(
                row.id,
                row.lease,
                state=JobState.TIMED_OUT if row.cancel_reason else JobState.CANCELLED,
                reason=row.cancel_reason or Reason.CANCELLED,
            ),
            "missing": lambda: end(row.id, row.lease, state=JobState.LOST, reason=Reason.VANISHED),
        }[answer]()

        async def body(session):
            moved = await self.move(session, move)
            await settle_attempts(session, job_ids=list(moved))

        self.run(body)

    @rule()
    def leases_run_out(self):
        self.run(
            lambda session: session.execute(
                text("UPDATE jobs SET next_at = now() - interval '1 s' WHERE next_at IS NOT NULL")
            )
        )

    @rule()
    def sweep(self):
        async def body(session):
            await give_up_orphans(session, wait_seconds=60)
            await resolve_unknown(session, max_attempts=4)
            await expire_jobs(session)

        self.run(body)

    @precondition(lambda self: self.submissions)
    @rule(pick=strategies.randoms(use_true_random=False))
    def retry(self, pick: random.Random):
        """Somebody wants a job again, whatever has become of it."""
        ended = [job_id for job_id, (state, _) in self.ends.items() if state in AGAIN]
        job_id = recent(pick, self.submissions).id
        if ended and pick.random() < 0.8:
            job_id = recent(pick, ended)

        async def body(session):
            before = await session.execute(
                text("SELECT state, route, coalesce(cost_usd, 0) FROM jobs WHERE id = :id"),
                {"id": job_id},
            )
            return before.one(), await retry_jobs(session, job_ids=[job_id])

        (state, route, cost), retried = self.run(body)
        assert bool(retried) == (state in AGAIN and route != Route.OPENAI)
        if retried:
            self.dropped += cost
            self.ends.pop(job_id)

    @precondition(lambda self: self.submissions)
    @rule(pick=strategies.randoms(use_true_random=False))
    def hint(self, pick: random.Random):
        """A webhook of any attempt ever made: right, stale, or for the second time."""
        row = recent(pick, self.submissions)

        async def body(session):
            await follow_hints(session, [(row.id, row.lease, f"up-{row.lease}-{row.id}")])
            await note_hints(session, job_ids=[row.id])

        self.run(body)

    @precondition(lambda self: self.submissions)
    @rule(pick=strategies.randoms(use_true_random=False))
    def cancel(self, pick: random.Random):
        row = recent(pick, self.submissions)
        self.run(lambda session: cancel_jobs(session, job_ids=[row.id]))

    @invariant()
    def one_end(self):
        """What has ended stays as it ended; what has not is due at some time."""

        async def body(session):
            return list(await session.execute(text("SELECT id, state, finished_at FROM jobs")))

        for job_id, state, finished_at in self.run(body):
            if state in TERMINAL:
                assert self.ends.setdefault(job_id, (state, finished_at)) == (state, finished_at)
            else:
                assert job_id not in self.ends

    @invariant()
    def the_ledger_is_whole(self):
        """A row for each claim, and the bill that the jobs say."""

        async def body(session):
            row = await session.execute(
                text("""
                    SELECT (SELECT count(*) FROM attempts),
                        (SELECT coalesce(sum(cost_usd), 0) FROM attempts),
                        (SELECT coalesce(sum(cost_usd), 0) FROM jobs)
                """)
            )
            return row.one()

        attempts, ledger, jobs = self.run(body)
        assert attempts == self.attempts
        assert ledger == jobs + self.dropped

    @invariant()
    def a_job_in_flight_is_asked_for_by_the_id_of_its_own_attempt(self):
        """Neither a late writer nor a stale hint makes it follow another run."""

        async def body(session):
            return await session.scalar(
                text("""
                    SELECT count(*) FROM jobs
                    WHERE state IN ('in_queue', 'in_progress') AND NOT EXISTS (
                        SELECT FROM attempts WHERE job_id = jobs.id
                          AND attempts.upstream_id = jobs.upstream_id
                          AND number > attempts_before)
                """)
            )

        assert self.run(body) == 0

    @invariant()
    def nothing_is_sent_again_while_it_may_run(self):
        """Two attempts of a job may both have been taken only if its policy resubmits unknowns.

        Or if somebody asked for it again after it had ended.
        """

        async def body(session):
            return await session.scalar(
                text("""
                    SELECT count(*) FROM jobs
                    WHERE on_unknown = 'fail' AND 1 < (
                        SELECT count(*) FROM attempts WHERE job_id = jobs.id
                          AND answer = 'accepted' AND number > attempts_before)
                """)
            )

        assert self.run(body) == 0

    @invariant()
    def what_the_gateway_sent_itself_is_sent_once(self):
        async def body(session):
            return await session.scalar(
                text("""
                    SELECT count(*) FROM jobs WHERE route = 'openai' AND (retries > 0
                        OR state = 'queued'
                        OR 1 <> (SELECT count(*) FROM attempts WHERE job_id = jobs.id))
                """)
            )

        assert self.run(body) == 0

    @invariant()
    def what_is_to_be_cancelled_waits_in_no_queue_of_ours(self):
        async def body(session):
            return await session.scalar(
                text("""
                    SELECT count(*) FROM jobs
                    WHERE state = 'queued' AND cancel_requested_at IS NOT NULL
                """)
            )

        assert self.run(body) == 0


@pytest.mark.usefixtures("services")
def test_one_accepted_job_has_one_end_whatever_happens(services):
    loop = asyncio.new_event_loop()
    JobMachine.loop = loop
    JobMachine.database = Database(services.database_dsn, name="machine")
    try:
        run_state_machine_as_test(
            JobMachine,
            settings=settings(
                max_examples=40,
                stateful_step_count=50,
                phases=[Phase.generate, Phase.shrink],
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        loop.run_until_complete(JobMachine.database.close())
        loop.close()
