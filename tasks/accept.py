"""Accept requests that may have come before: one transaction decides, and enqueues what is new.

    same Idempotency-Key within a day       the job of the first one
    same request, with a fixed seed, of     that job
      which one is still in flight
    same endpoint, input and fixed seed,    a job of its own, completed at once with that
      a result of which is stored             result, at no cost, where this was asked for
    else                                    a new job, queued

Nothing is rung for here: who accepts answers first.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models.delivery import DeliveryKind, NewDelivery, add_deliveries, wake_deliveries
from models.handle import HandleKind, HeldBy, NewHandle, take_handles
from models.job import JobState
from models.lane import StageName
from models.result_cache import Wanted, find_results, give_results
from models.transitions import NewJob, enqueue_jobs
from tasks.job_trace import UNTRACED, JobTrace

_NAME = HandleKind.IDEMPOTENCY_KEY
_SEED = HandleKind.SEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A checked request of a key's.

    Attributes:
        request_hash: of the whole of it.
        idempotency_key: the name that the client gave it.
        webhook: where word of its end is to go.
        cache: a stored result will do.
        trace: ends when it is answered.
    """

    job: NewJob
    key_id: UUID
    request_hash: str
    idempotency_key: str | None = None
    webhook: str | None = None
    cache: bool = False
    trace: JobTrace = UNTRACED

    @property
    def handles(self) -> list[NewHandle]:
        names = []
        if self.idempotency_key is not None:
            names.append((HandleKind.IDEMPOTENCY_KEY, self.idempotency_key))
        if self.job.fingerprint is not None:
            names.append((HandleKind.SEEDED, self.request_hash))
        return [
            NewHandle(
                key_id=self.key_id,
                kind=kind,
                name=name,
                job_id=self.job.id,
                request_hash=self.request_hash,
            )
            for kind, name in names
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What became of a request.

    Attributes:
        existing: it had come before; `job_id` is of the first.
        conflict: its Idempotency-Key belongs to another request; nothing was enqueued.
        cached: it has the stored result of another.
    """

    job_id: UUID
    state: JobState
    existing: bool = False
    conflict: bool = False
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What became of some requests, in their order, and what is to be rung."""

    accepted: list[Accepted]
    bells: dict[StageName, set[str]]


async def accept(session: AsyncSession, incoming: Sequence[Incoming]) -> Acceptance:
    """Decide and enqueue; the caller commits, answers and rings."""
    owners = await _find_owners(session, incoming)
    answers: dict[UUID, Accepted] = {}
    new: list[Incoming] = []
    for one in incoming:
        held = owners.get(one.job.id)
        if held is None:
            new.append(one)
            answers[one.job.id] = Accepted(job_id=one.job.id, state=JobState.QUEUED)
        else:
            job = owners.get(held.job_id, held)  # the first of two in a batch may have joined one
            answers[one.job.id] = Accepted(
                job_id=job.job_id,
                state=job.state,
                existing=True,
                conflict=held.request_hash != one.request_hash,
            )
    cached = await _enqueue(session, new)
    for job_id in cached:
        answers[job_id] = Accepted(job_id=job_id, state=JobState.COMPLETED, cached=True)
    bells: dict[StageName, set[str]] = {
        StageName.SUBMIT: {one.job.endpoint for one in new if one.job.id not in cached}
    }
    if cached:
        told = await wake_deliveries(session, ended=cached, hold_seconds=0)
        endpoints = {one.job.endpoint for one in new if one.job.id in cached}
        bells |= dict.fromkeys(told, endpoints)
    return Acceptance([answers[one.job.id] for one in incoming], bells)


async def _find_owners(session: AsyncSession, incoming: Sequence[Incoming]) -> dict[UUID, HeldBy]:
    """Of each request that had come before, by its new job's id: the job that it is."""
    named = [handle for one in incoming for handle in one.handles if handle.kind is _NAME]
    owners = await _take_first(session, named)
    seeded = [
        handle
        for one in incoming
        for handle in one.handles
        if handle.kind is _SEED and one.job.id not in owners  # the client's own name counts first
    ]
    joined = await _take_first(session, seeded)
    # A name whose request joined a job is that job's, for as long as any other.
    passed_on = [
        dataclasses.replace(handle, job_id=joined[handle.job_id].job_id)
        for handle in named
        if handle.job_id in joined
    ]
    await take_handles(session, passed_on)
    return owners | joined


async def _take_first(session: AsyncSession, handles: Sequence[NewHandle]) -> dict[UUID, HeldBy]:
    """Give each name to the first that wants it; returns who has it, by the job of each other."""
    first: dict[tuple[UUID, HandleKind, str], NewHandle] = {}
    for handle in handles:
        first.setdefault(handle.full_name, handle)
    held = await take_handles(session, list(first.values()))
    owners = {first[name].job_id: owner for name, owner in held.items()}
    for handle in handles:
        winner = first[handle.full_name]
        if handle is not winner:  # twice in one batch
            mine = HeldBy(winner.job_id, JobState.QUEUED, winner.request_hash)
            owners[handle.job_id] = held.get(handle.full_name, mine)
    return owners


async def _enqueue(session: AsyncSession, new: Sequence[Incoming]) -> set[UUID]:
    """Insert new jobs; returns the ids of those that were completed from the cache."""
    if not new:
        return set()
    await enqueue_jobs(session, [one.job for one in new])
    await add_deliveries(
        session,
        [
            NewDelivery(
                job_id=one.job.id,
                endpoint=one.job.endpoint,
                kind=DeliveryKind.WEBHOOK,
                request={"url": one.webhook},
            )
            for one in new
            if one.webhook is not None
        ],
    )
    results = await find_results(
        session,
        [
            Wanted(job_id=one.job.id, key_id=one.key_id, fingerprint=one.job.fingerprint)
            for one in new
            if one.cache and one.job.fingerprint is not None
        ],
    )
    await give_results(session, results)
    return set(results)
