"""One accepted job, one end: the transitions under random claims, answers, deaths and hints.

And under what people and deadlines do: cancels, retries, jobs given up, jobs sent by the gateway;
and whatever holds a lane up.
"""

import asyncio
import random
from decimal import Decimal
from typing import Any

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
from models.base import SUSPECT_DEATHS, new_id
from models.claims import Cancel, Poll, claim_cancels, claim_polls, hand_back
from models.database import Database, empty_tables
from models.endpoint_stats import note_hints
from models.interventions import cancel_jobs, expire_jobs, retry_jobs
from models.job import TERMINAL, JobState, OnUnknown, Reason, Route
from models.lane import (
    BREAK_AFTER,
    CLOSE_SECONDS_MOST,
    DUE_ROWS,
    StageName,
    close_lane,
    note_lane_fails,
    note_lane_works,
    reopen_lane,
    set_paused,
)
from models.pulse import LISTENING, beat
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
    hasten_decisions,
    lose_sight,
    move_jobs,
    note_cancel,
    resolve_unknown,
    retry_submit,
    send_anew,
    set_aside_jobs,
    snooze_submit,
)

ENDPOINT = "machine"
ANSWERS = ("accept", "busy", "fault", "refuse", "lose")
POLLS = ("running", "done", "failed", "missing", "stopped")
AGAIN = (JobState.FAILED, JobState.TIMED_OUT, JobState.LOST, JobState.REJECTED)
LIVES = (None, None, 3600.0, 3600.0, 0.0)  # seconds: for ever, long, and past it at once
MAX_SENDS = 3  # with an outcome that is unknown, and of one that vanished
MAX_ATTEMPTS = 8
CLAIMS = {
    StageName.SUBMIT: claim_submissions,
    StageName.POLL: claim_polls,
    StageName.CANCEL: claim_cancels,
}
HELD = (None, None, None, None, "paused", "closed", "fails", "fails", "works", "resumed")
ROUNDS = 40  # within which all that is left comes to its end, if everything works

# What must never be, whatever has happened; `later` is another attempt of the same round.
NEVER = {
    "a job in flight is asked for by an id that is none of its attempts'": """
        FROM jobs WHERE state IN ('in_queue', 'in_progress') AND NOT EXISTS (
            SELECT FROM attempts WHERE job_id = jobs.id
              AND attempts.upstream_id = jobs.upstream_id AND number > attempts_before)""",
    "a job that is never to be paid twice was accepted twice": """
        FROM jobs WHERE on_unknown = 'fail' AND 1 < (
            SELECT count(*) FROM attempts WHERE job_id = jobs.id
              AND answer = 'accepted' AND number > attempts_before)""",
    "an attempt that may have been taken was followed by another, and is counted nowhere": """
        FROM attempts JOIN jobs ON jobs.id = job_id
        WHERE coalesce(answer, 'unknown') = 'unknown' AND fate IS NULL
          AND attempts.upstream_id IS NULL AND EXISTS (
            SELECT FROM attempts AS later WHERE later.job_id = jobs.id
              AND later.sent_at > attempts.sent_at
              AND (later.number > attempts_before) = (attempts.number > attempts_before))""",
    "more attempts with an unknown outcome than are allowed": f"""
        FROM jobs WHERE {MAX_SENDS} < (
            SELECT count(*) FROM attempts WHERE job_id = jobs.id AND number > attempts_before
              AND coalesce(answer, 'unknown') = 'unknown' AND attempts.upstream_id IS NULL
              AND fate IS DISTINCT FROM 'absent')""",
    "a job that vanished was sent more often than is allowed": f"""
        FROM jobs WHERE {MAX_SENDS} < (
            SELECT count(*) FROM attempts WHERE job_id = jobs.id AND number > attempts_before
              AND fate = 'gone')""",
    "money at risk without doubt, or not what the job was to cost": """
        FROM attempts JOIN jobs ON jobs.id = job_id
        WHERE risk_usd IS DISTINCT FROM
            CASE WHEN fate IN ('doubtful', 'gone') THEN estimate_usd END""",
    "what the gateway sent itself is sent by someone else": """
        FROM jobs WHERE route = 'openai' AND (retries > 0 OR state = 'queued'
            OR 1 <> (SELECT count(*) FROM attempts WHERE job_id = jobs.id))""",
    "what is to be cancelled waits in a queue of ours": """
        FROM jobs WHERE state = 'queued' AND cancel_requested_at IS NOT NULL""",
    "a job is rejected although it was sent": """
        FROM jobs WHERE state = 'rejected' AND (reason <> 'not_started' OR EXISTS (
            SELECT FROM attempts WHERE job_id = jobs.id AND number > attempts_before
              AND coalesce(answer, 'unknown') NOT IN ('busy', 'unsent')))""",
    "a job is set aside for too few deaths, or works on after too many": f"""
        FROM jobs WHERE reason = 'killed_workers' AND deaths < {SUSPECT_DEATHS}
            OR deaths >= {SUSPECT_DEATHS} AND state IN ('queued', 'submitting')""",
    "something waits without a time": """
        FROM jobs WHERE finished_at IS NULL AND next_at IS NULL""",
}


def recent(pick, rows):
    """Mostly one of the last claims, so that jobs come to their ends; now and then an old one."""
    return pick.choice(rows[-2:] if pick.random() < 0.7 else rows)


async def read_lane(session, stage):
    """What holds it up; `shut`: nothing may be taken from it."""
    found = await session.execute(
        text("""
            SELECT paused OR closed AS shut, * FROM (
                SELECT coalesce(bool_or(paused), false) AS paused,
                    coalesce(bool_or(closed_until > now()), false) AS closed,
                    coalesce(bool_or(probing), false) AS probing,
                    coalesce(max(closures), 0) AS closures, coalesce(max(faults), 0) AS faults
                FROM lanes WHERE stage = :stage AND endpoint = :endpoint) AS lane
        """),
        {"stage": stage, "endpoint": ENDPOINT},
    )
    return found.one()


async def read_fates(session):
    rows = await session.execute(text("SELECT job_id, lease, answer, fate FROM attempts"))
    return {(row.job_id, row.lease): (row.answer, row.fate) for row in rows}


async def find_ids(session, condition):
    return set(await session.scalars(text(f"SELECT id FROM jobs WHERE {condition}")))


async def check_no_other_runs(session, rows):
    """What is sent now has no earlier attempt that is known to run, since it was asked for.

    And, of a job that is never to be paid twice, none that may.
    """
    for row in rows:
        others = await session.execute(
            text("""
                SELECT upstream_id, answer, fate FROM attempts
                WHERE job_id = :id AND lease <> :lease AND number > :before
            """),
            {"id": row.id, "lease": row.lease, "before": row.attempts_before},
        )
        for upstream_id, answer, fate in others:
            assert upstream_id is None or fate == "gone"
            if row.on_unknown is OnUnknown.FAIL:
                assert answer in {Answer.BUSY, Answer.UNSENT, Answer.FAULT}


def is_taken(row, *, proven):
    """Not if it is about to be set aside; its last chance it has with a worker that is proven."""
    deaths = row.deaths + row.held
    return deaths < SUSPECT_DEATHS - 1 or (proven and not (row.held and deaths >= SUSPECT_DEATHS))


class JobMachine(RuleBasedStateMachine):
    """Workers that claim, answer late or never, or die; a sweep; hints; people who cancel."""

    database: Database
    loop: asyncio.AbstractEventLoop

    def __init__(self):
        super().__init__()
        self.submissions: list[Submission] = []  # every claim ever made: late writers use old ones
        self.polls: list[Poll] = []
        self.cancels: list[Cancel] = []
        self.claimed: dict[StageName, list[Any]] = {
            StageName.SUBMIT: self.submissions,
            StageName.POLL: self.polls,
            StageName.CANCEL: self.cancels,
        }
        self.answered = set()  # of which job some attempt was
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
        start_seconds=strategies.sampled_from(LIVES),
        estimate=strategies.sampled_from([None, "0.5"]),
        route=strategies.sampled_from([Route.RUN, Route.RUNSYNC]),
    )
    def enqueue(
        self,
        count,
        policy,
        *,
        live_seconds=None,
        start_seconds=None,
        estimate="0.5",
        route=Route.RUN,
    ):
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
                start_seconds=start_seconds,
                estimate_usd=estimate,
            )
            for _ in range(count)
        ]
        added = self.run(lambda session: enqueue_jobs(session, jobs))
        again = self.run(lambda session: enqueue_jobs(session, jobs))
        assert (len(added), len(again)) == (count, 0)

    @rule(limit=strategies.integers(1, 3), dies=strategies.booleans(), proven=strategies.booleans())
    def claim(self, limit, *, dies=False, proven=True):
        self.claim_from(StageName.SUBMIT, limit, dies=dies, proven=proven)

    def claim_from(self, stage, limit, *, dies=False, proven=True):
        """Claim as a worker does, that lives or dies at once, and look at what it was given."""

        async def body(session):
            lane = await read_lane(session, stage)
            before = await session.execute(
                text(f"""
                    SELECT id, lease IS NOT NULL AS held, deaths FROM {DUE_ROWS[stage]}
                      AND next_at <= now() FOR UPDATE
                """)
            )
            due = {row.id: row for row in before}
            rows = await CLAIMS[stage](
                session,
                endpoint=ENDPOINT,
                limit=limit,
                lease=new_id(),
                lease_seconds=-1 if dies else 60,
                proven=proven,
            )
            deaths = await session.execute(
                text("SELECT id, deaths, cancel_requested_at, cancel_sent_at FROM jobs")
            )
            await check_no_other_runs(session, rows if stage is StageName.SUBMIT else [])
            return lane, due, rows, {row.id: row for row in deaths}

        lane, due, rows, after = self.run(body)
        assert len(rows) <= (0 if lane.shut else 1 if lane.closures else limit)
        assert {row.id for row in rows} <= set(due)
        if any(due[row.id].held or due[row.id].deaths for row in rows):
            assert len(rows) == 1  # if its worker dies as well, it is known of which
        for row in rows:
            was, now = due[row.id], after[row.id]
            assert is_taken(was, proven=proven)
            assert now.deaths == was.deaths + was.held
            told = now.cancel_requested_at is None or now.cancel_sent_at is not None
            assert told is (stage is not StageName.CANCEL)
        takes = [one for one in due.values() if is_taken(one, proven=proven)]
        assert rows or lane.shut or not takes  # who may work, does
        self.attempts += len(rows) if stage is StageName.SUBMIT else 0
        self.claimed[stage] += rows
        return rows

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
        self.end_submit(recent(pick, self.submissions), answer)

    def end_submit(self, row, answer):
        self.answered.add(row.id)
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

        found = AttemptEnd(
            job_id=row.id,
            lease=row.lease,
            answer=words[answer],
            upstream_id=upstream_id if answer == "accept" else None,
        )

        async def body(session):
            moved = await self.move(session, move)
            await answer_attempts(session, [found])
            if not moved:  # too late: what it says is of use all the same
                if answer == "accept":
                    await follow_hints(session, [(row.id, row.lease, upstream_id)])
                await hasten_decisions(session, [(row.id, row.lease)])

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

    @rule(limit=strategies.integers(1, 3), dies=strategies.booleans(), proven=strategies.booleans())
    def claim_poll(self, limit, *, dies=False, proven=True):
        self.claim_from(StageName.POLL, limit, dies=dies, proven=proven)

    @precondition(lambda self: self.polls)
    @rule(pick=strategies.randoms(use_true_random=False), answer=strategies.sampled_from(POLLS))
    def record_poll(self, pick: random.Random, answer):
        self.end_poll(recent(pick, self.polls), answer, cost=pick.choice([None, "0.01"]))

    def end_poll(self, row, answer, *, cost=None):
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
                cost_usd=cost,
            ),
            "stopped": lambda: end(
                row.id,
                row.lease,
                state=JobState.TIMED_OUT if row.cancel_reason else JobState.CANCELLED,
                reason=row.cancel_reason or Reason.CANCELLED,
            ),
            "missing": lambda: (
                send_anew(row.id, row.lease, error="404", due_in=0)
                if row.on_unknown is OnUnknown.RESUBMIT and row.sends < MAX_SENDS
                else end(row.id, row.lease, state=JobState.LOST, reason=Reason.VANISHED, gone=True)
            ),
        }[answer]()

        async def body(session):
            moved = await self.move(session, move)
            await settle_attempts(session, job_ids=list(moved))

        self.run(body)

    @rule(limit=strategies.integers(1, 3), dies=strategies.booleans(), proven=strategies.booleans())
    def claim_cancel(self, limit, *, dies=False, proven=True):
        self.claim_from(StageName.CANCEL, limit, dies=dies, proven=proven)

    @precondition(lambda self: self.cancels)
    @rule(pick=strategies.randoms(use_true_random=False), sent=strategies.booleans())
    def record_cancel(self, pick: random.Random, sent):
        self.end_cancel(recent(pick, self.cancels), sent=sent)

    def end_cancel(self, row, *, sent):
        move = note_cancel(
            row.id, row.lease, state=row.state, due_in=0, sent=sent, error=None if sent else "500"
        )
        self.run(lambda session: self.move(session, move))

    @rule(pick=strategies.randoms(use_true_random=False))
    def work(self, pick: random.Random):
        """A worker that lives takes what there is of each stage, and answers all of it in time."""
        for row in self.claim_from(StageName.SUBMIT, 3):
            self.end_submit(row, pick.choice(["accept", "accept", *ANSWERS]))
        for row in self.claim_from(StageName.CANCEL, 3):
            self.end_cancel(row, sent=True)
        for row in self.claim_from(StageName.POLL, 3):
            self.end_poll(row, pick.choice(["running", *POLLS]))

    @rule(pick=strategies.randoms(use_true_random=False), stage=strategies.sampled_from([*CLAIMS]))
    def stop_gracefully(self, pick: random.Random, stage):
        """A worker hands back what it claimed and has not begun to work on."""
        claims = [
            row
            for row in self.claimed[stage]
            if stage is not StageName.SUBMIT or row.route is not Route.OPENAI
        ]
        if not claims:
            return
        lease = recent(pick, claims).lease
        if any(one.lease == lease and one.id in self.answered for one in self.submissions):
            return  # it has begun

        async def body(session):
            held = list(
                await session.scalars(
                    text("SELECT id FROM jobs WHERE lease = :lease"), {"lease": lease}
                )
            )
            assert await hand_back(session, stage, lease=lease, ids=held) == len(held)

        self.run(body)
        for rows in self.claimed.values():
            rows[:] = [row for row in rows if row.lease != lease]  # it sends nothing now

    @rule(stage=strategies.sampled_from([*CLAIMS]), what=strategies.sampled_from(HELD))
    def hold_up(self, stage, what):
        """An operator, an answer, or none, says something of a lane."""

        async def body(session):
            before = await read_lane(session, stage)
            if what in {"paused", "resumed"}:
                await set_paused(session, stage, ENDPOINT, paused=what == "paused")
            elif what == "closed":
                seconds = await close_lane(session, stage, ENDPOINT, reason="429")
                assert 0 < seconds <= CLOSE_SECONDS_MOST
            elif what == "fails":
                held = await note_lane_fails(session, stage, ENDPOINT, calls=3, reason="500")
                breaks = before.faults + 3 >= BREAK_AFTER or before.closures > 0
                assert (held is not None) == breaks
            elif what == "works":
                opened = await note_lane_works(session, stage, ENDPOINT)
                assert opened == (before.closures > 0 and (not before.closed or before.probing))
            return before, await read_lane(session, stage)

        before, after = self.run(body)
        if what == "works" and (not before.closed or before.probing):
            assert (after.closures, after.faults, after.closed) == (0, 0, False)
        if what == "closed":
            # Answers of one batch close it once; the probe's closes it again, for longer.
            once = before.closed and not before.probing
            assert after.closures == before.closures + (not once)
            assert (after.closed, after.probing) == (True, False)

    @rule(what=strategies.sampled_from(["beats", "was silent", "has listened for long"]))
    def gateway(self, what):
        async def body(session):
            await beat(session, LISTENING)
            if what == "was silent":
                await session.execute(text("UPDATE pulses SET at = now() - interval '1 min'"))
            elif what == "has listened for long":
                await session.execute(text("UPDATE pulses SET since = now() - interval '1 h'"))

        self.run(body)

    @rule()
    def leases_run_out(self):
        async def body(session):
            await session.execute(
                text("UPDATE jobs SET next_at = now() - interval '1 s' WHERE next_at IS NOT NULL")
            )
            await session.execute(
                text("UPDATE lanes SET closed_until = now() WHERE closed_until IS NOT NULL")
            )

        self.run(body)

    @rule()
    def sweep(self):
        async def body(session):
            before = await read_fates(session)
            await give_up_orphans(session, endpoint=ENDPOINT, wait_seconds=60)
            await resolve_unknown(
                session,
                endpoint=ENDPOINT,
                longest_seconds=0,
                max_sends=MAX_SENDS,
                max_attempts=MAX_ATTEMPTS,
            )
            begun = await find_ids(session, "state = 'in_progress'")
            given_up = await find_ids(session, "cancel_reason IS NOT NULL")
            await expire_jobs(session)
            not_started = await find_ids(session, "cancel_reason = 'not_started'")
            assert not (not_started - given_up) & begun
            await set_aside_jobs(session)
            return before, await read_fates(session)

        before, after = self.run(body)
        for attempt, (answer, fate) in after.items():
            if fate is not None and before[attempt][1] is None:
                assert answer in {None, Answer.UNKNOWN}  # of what was answered nothing is guessed

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
            await note_hints(session, [(row.id, row.lease)])

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
    def what_must_never_be_is_not(self):
        found = " UNION ALL ".join(
            f"SELECT '{name.replace(chr(39), '')}', count(*) {rows}" for name, rows in NEVER.items()
        )

        async def body(session):
            return {name: count for name, count in await session.execute(text(found)) if count}

        assert self.run(body) == {}

    def teardown(self):
        """Nothing waits for ever: once all is well, everything that was accepted ends."""

        async def open_lanes(session):
            for stage in CLAIMS:
                await set_paused(session, stage, ENDPOINT, paused=False)
                await reopen_lane(session, stage, ENDPOINT)

        async def count(session):
            return await session.scalar(text("SELECT count(*) FROM jobs WHERE finished_at IS NULL"))

        self.run(open_lanes)
        for _ in range(ROUNDS):
            if self.run(count) == 0:
                break
            self.leases_run_out()
            self.sweep()
            for row in self.claim_from(StageName.SUBMIT, 50):
                self.end_submit(row, "accept")
            for row in self.claim_from(StageName.CANCEL, 50):
                self.end_cancel(row, sent=True)
            for row in self.claim_from(StageName.POLL, 50):
                self.end_poll(row, "done")
        assert self.run(count) == 0
        self.the_ledger_is_whole()
        self.what_must_never_be_is_not()


@pytest.mark.usefixtures("services")
def test_one_accepted_job_has_one_end_whatever_happens(services):
    loop = asyncio.new_event_loop()
    JobMachine.loop = loop
    JobMachine.database = Database(services.database_dsn, name="machine")
    try:
        run_state_machine_as_test(
            JobMachine,
            settings=settings(
                max_examples=80,
                stateful_step_count=60,
                phases=[Phase.generate, Phase.shrink],
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        loop.run_until_complete(JobMachine.database.close())
        loop.close()
