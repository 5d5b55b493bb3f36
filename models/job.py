"""A job: one row for each generation request, and the states that it moves through.

    QUEUED -> SUBMITTING -> IN_QUEUE -> IN_PROGRESS -> COMPLETED | FAILED | CANCELLED | TIMED_OUT
    SUBMITTING -> QUEUED      told to wait, or a fault that is worth another attempt
    SUBMITTING -> UNKNOWN     the reply to `/run` was lost: it may be running, and billed
    UNKNOWN, QUEUED -> IN_QUEUE    the upstream was heard to have worked on it
    UNKNOWN -> QUEUED|FAILED  nothing was heard: the job's own policy decides
    IN_QUEUE, IN_PROGRESS -> QUEUED  accepted, then gone from the upstream: sent again
    IN_QUEUE, IN_PROGRESS -> LOST    the same, once too often, or with its result
    QUEUED -> REJECTED        it may not run (no longer)

Postgres is the truth; a Celery message only says that there may be work. Every write to
`jobs.state` is in `models/transitions.py`, but for the undoing of a claim (`models/claims.py`) and
what people and deadlines do (`models/interventions.py`).
Times are UTC.
"""

import datetime as dt
import enum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import HELD, HELD_YEAR, SUSPECTED, Base, Json, Usd, word_column
from models.fairness import HIGHEST, LOWEST, USUAL


class JobState(enum.StrEnum):
    QUEUED = "queued"  # to be submitted once next_at has passed
    SUBMITTING = "submitting"  # a `/run` is written down and may have been sent
    IN_QUEUE = "in_queue"  # accepted by the upstream, which has not begun
    IN_PROGRESS = "in_progress"
    UNKNOWN = "unknown"  # the reply to `/run` was lost
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"  # accepted, then gone upstream
    REJECTED = "rejected"  # never sent, and never will be


IN_FLIGHT = (JobState.IN_QUEUE, JobState.IN_PROGRESS)
# Of those in flight: which are asked for, and which are to be cancelled first.
KEPT_SHORTLY = "route = 'runsync'"  # the upstream keeps a result for a minute
TO_POLL = (
    "state IN ('in_queue', 'in_progress')"
    " AND (cancel_requested_at IS NULL OR cancel_sent_at IS NOT NULL)"
)
TO_CANCEL = (
    "state IN ('in_queue', 'in_progress')"
    " AND cancel_requested_at IS NOT NULL AND cancel_sent_at IS NULL"
)
TERMINAL = (
    JobState.COMPLETED,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.TIMED_OUT,
    JobState.LOST,
    JobState.REJECTED,
)
OPEN = tuple(state for state in JobState if state not in TERMINAL)
RETRIABLE = (JobState.FAILED, JobState.TIMED_OUT, JobState.LOST, JobState.REJECTED)


class Reason(enum.StrEnum):
    """Why a job ended as it did; a completed job needs none."""

    UPSTREAM_FAILED = "upstream_failed"  # the generation itself failed; not billed
    UPSTREAM_REFUSED = "upstream_refused"  # it will never take this input
    UPSTREAM_FAULT = "upstream_fault"  # faults on every attempt that the job had
    UPSTREAM_TIMED_OUT = "upstream_timed_out"
    UPSTREAM_CANCELLED = "upstream_cancelled"  # cancelled, and not by us
    CANCELLED = "cancelled"  # asked for through Pressroom
    OUTCOME_UNKNOWN = "outcome_unknown"  # the reply to `/run` was lost, and nothing came after
    KILLED_WORKERS = "killed_workers"  # those that worked on it died, time and again
    RESULT_EXPIRED = "result_expired"  # it ended longer ago than the upstream keeps results
    VANISHED = "vanished"  # the upstream no longer knows it, before any result was due to expire
    NOT_STARTED = "not_started"  # nothing had begun to generate it when it was to have begun
    TTL_PASSED = "ttl_passed"  # it took longer than it, or any job, may live
    RAN_TOO_LONG = "ran_too_long"  # it was being generated for longer than it asked for
    OVER_BUDGET = "over_budget"  # a budget was used up, and says that no job waits for more


class Route(enum.StrEnum):
    """By which of the upstream's operations a job is sent."""

    RUN = "run"
    RUNSYNC = "runsync"  # takes twice as large a body, and keeps a result for a minute
    OPENAI = "openai"  # sent by the gateway, while its client waits


class OnUnknown(enum.StrEnum):
    """What to do once nothing more can be learned of a lost reply."""

    RESUBMIT = "resubmit"  # rather pay twice than go without; what may be paid twice is counted
    FAIL = "fail"  # never pay twice


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("(state = 'submitting') <= (lease IS NOT NULL)", name="submitting_leased"),
        CheckConstraint(
            "(lease IS NOT NULL) <= (state IN ('submitting', 'in_queue', 'in_progress'))",
            name="lease_only_while_worked_on",
        ),
        CheckConstraint(
            "(state IN ('in_queue', 'in_progress')) <= (upstream_id IS NOT NULL)",
            name="in_flight_has_upstream_id",
        ),
        CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN "
            "('completed', 'failed', 'cancelled', 'timed_out', 'lost', 'rejected'))",
            name="finished_at_iff_ended",
        ),
        # So that none is sent without its input.
        CheckConstraint("shelved_at IS NULL OR finished_at IS NOT NULL", name="shelved_once_ended"),
        CheckConstraint("(next_at IS NULL) = (finished_at IS NOT NULL)", name="due_until_ended"),
        CheckConstraint(f"priority BETWEEN {LOWEST} AND {HIGHEST}", name="priority_known"),
        Index(
            "jobs_to_submit",  # lane.find_lanes, lane.seconds_until_due, lane.list_lane_states
            "endpoint",
            "next_at",
            "id",
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "jobs_in_line",  # transitions.claim_submissions
            "endpoint",
            text("priority DESC"),
            "virtual_start",
            "id",
            postgresql_where=text("state = 'queued' AND virtual_start IS NOT NULL"),
        ),
        Index(
            "jobs_to_join",  # fairness.join_line
            "endpoint",
            "next_at",
            postgresql_where=text("state = 'queued' AND virtual_start IS NULL"),
        ),
        Index(
            "jobs_held",  # hold.release_jobs
            "campaign_id",
            "id",
            postgresql_where=text(f"state = 'queued' AND {HELD}"),
        ),
        Index(
            "jobs_refused",  # hold.list_holders, hold.release_for_money, hold.release_for_slots
            "held_by",
            text("coalesce(estimate_usd, 0)"),
            "id",
            postgresql_where=text("state = 'queued' AND held_by IS NOT NULL"),
        ),
        Index(
            "jobs_not_held",  # hold.hold_behind, hold.release_for_slots
            "campaign_id",
            "next_at",
            postgresql_where=text(f"state = 'queued' AND campaign_id IS NOT NULL AND NOT {HELD}"),
        ),
        Index(
            "jobs_to_poll",  # claims.claim_polls, lane.find_lanes
            "endpoint",
            "next_at",
            "id",
            postgresql_where=text(TO_POLL),
        ),
        Index(
            "jobs_to_poll_first",  # claims.claim_polls
            "endpoint",
            "next_at",
            "id",
            postgresql_where=text(f"{TO_POLL} AND {KEPT_SHORTLY}"),
        ),
        Index(
            "jobs_to_cancel",  # claims.claim_cancels, the same
            "endpoint",
            "next_at",
            "id",
            postgresql_where=text(TO_CANCEL),
        ),
        Index(
            "jobs_orphaned",  # transitions.give_up_orphans
            "next_at",
            postgresql_where=text("state = 'submitting'"),
        ),
        Index(
            "jobs_suspected",  # transitions.set_aside_jobs
            "next_at",
            postgresql_where=text(SUSPECTED),
        ),
        Index(
            "jobs_unresolved",  # transitions.resolve_unknown
            "next_at",
            postgresql_where=text("state = 'unknown'"),
        ),
        Index(
            "jobs_open_of_endpoint",  # job_queries.list_jobs
            "endpoint",
            "state",
            "id",
            postgresql_where=text("finished_at IS NULL"),
        ),
        Index(
            "jobs_ended_of_endpoint",  # the same
            "endpoint",
            "state",
            "id",
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        Index(
            "jobs_of_key",  # the same, for a key that sees its own alone
            "key_id",
            "state",
            "id",
            postgresql_where=text("key_id IS NOT NULL"),
        ),
        Index(
            "jobs_open_of_key",  # job_queries.count_jobs_of, interventions.find_purgeable
            "endpoint",
            "key_id",
            postgresql_where=text("finished_at IS NULL"),
        ),
        Index(
            "jobs_ended_of_key",  # job_queries.count_jobs_of
            "endpoint",
            "key_id",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        Index(
            "jobs_with_result",  # result_cache.find_results
            "key_id",
            "fingerprint",
            postgresql_where=text("state = 'completed' AND fingerprint IS NOT NULL"),
        ),
        Index(
            "jobs_with_deadline",  # interventions.expire_jobs
            "deadline_at",
            postgresql_where=text("deadline_at IS NOT NULL AND finished_at IS NULL"),
        ),
        Index(
            "jobs_with_start",  # the same
            "start_by",
            postgresql_where=text(
                "start_by IS NOT NULL AND finished_at IS NULL AND state <> 'in_progress'"
            ),
        ),
        Index(
            "jobs_to_shelve",  # shelf.shelve_jobs
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL AND shelved_at IS NULL"),
        ),
        Index(
            "jobs_of_campaign",  # the same, campaign.count_jobs
            "campaign_id",
            "state",
            "id",
            postgresql_where=text("campaign_id IS NOT NULL"),
        ),
        {
            # Rows change state some six times and are then left alone: vacuum by the thousand,
            # not by the fifth of a large table, or dead entries pile up at the head of the claims.
            "postgresql_with": {
                "fillfactor": 80,
                "autovacuum_vacuum_scale_factor": 0.01,
                "autovacuum_vacuum_threshold": 2000,
            }
        },
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    endpoint: Mapped[str]
    input: Mapped[Json]
    state: Mapped[JobState] = mapped_column(
        word_column(JobState), server_default=JobState.QUEUED.value
    )
    reason: Mapped[Reason | None] = mapped_column(word_column(Reason))
    error: Mapped[str | None]  # the last thing that went wrong, in the upstream's words

    attempt: Mapped[int] = mapped_column(server_default="0")  # 1 during the first
    attempts_before: Mapped[int] = mapped_column(server_default="0")  # the last retry asked for
    retries: Mapped[int] = mapped_column(server_default="0")  # asked for, after it had ended
    on_unknown: Mapped[OnUnknown] = mapped_column(
        word_column(OnUnknown), server_default=OnUnknown.RESUBMIT.value
    )
    upstream_id: Mapped[str | None]
    lease: Mapped[UUID | None]  # a new one for each claim: what its writes are guarded by
    deaths: Mapped[int] = mapped_column(server_default="0")  # of workers that held it, in a row
    # When it is due for its stage; while leased, when the lease runs out.
    next_at: Mapped[dt.datetime | None] = mapped_column(server_default=func.now())
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=str(USUAL))
    virtual_start: Mapped[float | None]  # its place in line; None: it has not joined. fairness.py
    held_by: Mapped[UUID | None]  # the budget, or the campaign, that let it not pass: hold.py
    cancel_requested_at: Mapped[dt.datetime | None]
    cancel_reason: Mapped[Reason | None] = mapped_column(
        word_column(Reason, name="cancel_reason_known")
    )  # None, once it was requested: somebody asked
    cancel_sent_at: Mapped[dt.datetime | None]  # when the upstream answered to it
    cancel_tries: Mapped[int] = mapped_column(server_default="0")

    # What came with the request beside its input.
    key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"))  # None: no gateway's
    route: Mapped[Route] = mapped_column(word_column(Route), server_default=Route.RUN.value)
    policy: Mapped[Json | None]  # as the upstream takes it
    sealed: Mapped[bytes | None]  # its s3Config, encrypted: workers/secret.py
    deadline_at: Mapped[dt.datetime | None]  # when it is given up
    start_seconds: Mapped[float | None]  # within which it must begin to be generated
    start_by: Mapped[dt.datetime | None]  # the same as a time
    # Of endpoint and input, if its seed makes the result the same each time.
    fingerprint: Mapped[str | None]
    size_class: Mapped[str | None]  # what of its input says how long it takes: models/size_stats.py
    cached_from: Mapped[UUID | None]  # the job whose result this is
    trace_context: Mapped[bytes | None]  # its place in a trace: workers/trace_context.py

    polls: Mapped[int] = mapped_column(server_default="0")
    misses: Mapped[int] = mapped_column(server_default="0")  # 404s in a row
    polled_at: Mapped[dt.datetime | None]

    estimate_usd: Mapped[Usd | None]
    cost_usd: Mapped[Usd | None]
    output: Mapped[Any | None]
    delay_ms: Mapped[int | None]
    execution_ms: Mapped[int | None]
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    streamed: Mapped[int] = mapped_column(server_default="0")  # pieces of the output handed out
    worker_id: Mapped[str | None]  # the upstream's

    campaign_id: Mapped[UUID | None] = mapped_column(ForeignKey("campaigns.id"))
    position: Mapped[int | None]  # the line of the campaign's file, or the item's place
    custom_id: Mapped[str | None]  # what the campaign's specification calls the item

    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    submitted_at: Mapped[dt.datetime | None]  # when the attempt that was accepted was sent
    finished_at: Mapped[dt.datetime | None]
    # Since when what is large of it stands in shelf.py's table, and here nothing does.
    shelved_at: Mapped[dt.datetime | None]

    @property
    def held(self) -> bool:
        """It waits until its campaign is resumed, or what `held_by` names has room."""
        return self.next_at is not None and self.next_at.year >= HELD_YEAR
