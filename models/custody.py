"""Custody: how long results have gone unread and files uncopied, and what the store should hold.

The upstream keeps a result for half an hour and a file for a week. A result counts as unread for as
long as the upstream has not spoken of its job: it cannot have been done for longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.job import TO_CANCEL, TO_POLL


@dataclass(frozen=True, slots=True, kw_only=True)
class Custody:
    """What is not in our keeping yet. Seconds are real ones; None: there is nothing of the kind."""

    in_flight: int  # jobs
    unread_seconds: float | None  # since the upstream last spoke of one; the longest
    to_copy: int  # files that are still to be stored
    uncopied_seconds: float | None  # since the oldest was named; the lost ones aside
    url_seconds: float | None  # until the first of their URLs dies
    lost: int  # of those to be stored: which the store had, and lost
    given_up: int  # files whose URL died, in the last day
    set_aside: int  # files that workers died of


async def measure_custody(session: AsyncSession) -> Custody:
    """Look at every job in flight and every file that is to be stored, by their partial indexes."""
    # No single condition on the state: neither partial index would be seen to hold it.
    row = (
        await session.execute(
            text(f"""
                SELECT flight.*, files.*, ended.* FROM (
                    SELECT coalesce(sum(jobs), 0) AS in_flight,
                        extract(epoch FROM now() - min(asked_at)) AS unread
                    FROM (
                        SELECT count(*) AS jobs, min(coalesce(polled_at, submitted_at)) AS asked_at
                        FROM jobs WHERE {TO_POLL}
                        UNION ALL
                        SELECT count(*), min(coalesce(polled_at, submitted_at))
                        FROM jobs WHERE {TO_CANCEL}
                    ) AS part
                ) AS flight, (
                    SELECT count(*) AS to_copy,
                        extract(epoch FROM now() - min(created_at)
                            FILTER (WHERE lost_sha256 IS NULL)) AS uncopied,
                        extract(epoch FROM min(expires_at) - now()) AS url,
                        count(*) FILTER (WHERE lost_sha256 IS NOT NULL) AS lost
                    FROM artifacts WHERE state = 'pending'
                ) AS files, (
                    SELECT count(*) FILTER (WHERE state = 'expired') AS given_up,
                        count(*) FILTER (WHERE state = 'failed') AS set_aside
                    FROM artifacts
                    WHERE state IN ('expired', 'failed')
                      AND (state = 'failed' OR next_at > now() - interval '1 day')
                ) AS ended
            """)  # noqa: S608 -- constants
        )
    ).one()
    return Custody(
        in_flight=int(row.in_flight),
        unread_seconds=None if row.unread is None else float(row.unread),
        to_copy=row.to_copy,
        uncopied_seconds=None if row.uncopied is None else float(row.uncopied),
        url_seconds=None if row.url is None else float(row.url),
        lost=row.lost,
        given_up=row.given_up,
        set_aside=row.set_aside,
    )


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that the store should hold, once, and how many files have them."""

    sha256: str
    store_key: str
    thumbnail_key: str | None
    files: int


async def count_stored(session: AsyncSession, *, campaign_id: UUID | None = None) -> int:
    """Files that are in the store, as the rows say."""
    count = await session.scalar(
        text("""
            SELECT count(*) FROM artifacts
            WHERE state = 'stored' AND (CAST(:campaign AS uuid) IS NULL
                OR job_id IN (SELECT id FROM jobs WHERE campaign_id = :campaign))
        """),
        {"campaign": campaign_id},
    )
    return int(count or 0)


async def list_contents(
    session: AsyncSession,
    *,
    after: Content | None,
    limit: int,
    campaign_id: UUID | None = None,
    sha256: str | None = None,
) -> Sequence[Content]:
    """A page of what the store should hold, in the order of its hashes; or all of one hash."""
    of_campaign = "AND job_id IN (SELECT id FROM jobs WHERE campaign_id = :campaign)"
    rows = await session.execute(
        text(f"""
            SELECT sha256, store_key, max(thumbnail_key) AS thumbnail_key, count(*) AS files
            FROM artifacts
            WHERE state = 'stored' AND sha256 IS NOT NULL AND sha256 >= :from_sha
              AND (sha256, store_key) > (:from_sha, :from_key)
              {"AND sha256 = :sha256" if sha256 else ""}
              {of_campaign if campaign_id else ""}
            GROUP BY sha256, store_key
            ORDER BY sha256, store_key
            LIMIT :limit
        """),  # noqa: S608 -- constants
        {
            "from_sha": after.sha256 if after else "",
            "from_key": after.store_key if after else "",
            "limit": limit,
            **({"campaign": campaign_id} if campaign_id else {}),
            **({"sha256": sha256} if sha256 else {}),
        },
    )
    return [Content(row.sha256, row.store_key, row.thumbnail_key, row.files) for row in rows]


async def list_files_of(
    session: AsyncSession, content: Content, *, limit: int
) -> Sequence[tuple[UUID, UUID]]:
    """(file, job) of those that have these bytes."""
    rows = await session.execute(
        text("""
            SELECT id, job_id FROM artifacts
            WHERE sha256 = :sha256 AND store_key = :store_key AND state = 'stored'
            ORDER BY id LIMIT :limit
        """),
        {"sha256": content.sha256, "store_key": content.store_key, "limit": limit},
    )
    return [(row.id, row.job_id) for row in rows]


@dataclass(frozen=True, slots=True)
class Refetched:
    """A file that is to be downloaded again."""

    id: UUID
    endpoint: str


# A file goes back to be stored; `lost_sha256` remembers what it was.
_REFETCH = """
    UPDATE artifacts SET state = 'pending', lease = NULL, next_at = now(), tries = 0, deaths = 0,
        lost_sha256 = coalesce(sha256, lost_sha256), sha256 = NULL, store_key = NULL,
        thumbnail_key = NULL, stored_at = NULL, error = :why
"""
_URL_LIVES = "(expires_at > now() OR source_url LIKE 'data:%')"


async def refetch_content(session: AsyncSession, content: Content, *, why: str) -> Refetched | None:
    """Have bytes that the store lost downloaded again; None if no URL of theirs lives.

    By one of the files that have them: stored again, they are there for all. Should other bytes
    come, they are that file's alone, and the next file may be tried.
    """
    row = (
        await session.execute(
            text(f"""
                {_REFETCH}
                WHERE id = (
                    SELECT id FROM artifacts
                    WHERE sha256 = :sha256 AND store_key = :store_key AND state = 'stored'
                      AND {_URL_LIVES}
                    ORDER BY expires_at DESC LIMIT 1 FOR UPDATE)
                  AND state = 'stored' AND NOT EXISTS (
                    SELECT FROM artifacts AS other
                    WHERE other.state = 'pending' AND other.lost_sha256 = :sha256)
                RETURNING id, endpoint
            """),  # noqa: S608 -- constants
            {"sha256": content.sha256, "store_key": content.store_key, "why": why},
        )
    ).one_or_none()
    return None if row is None else Refetched(row.id, row.endpoint)


async def is_refetched(session: AsyncSession, sha256: str) -> bool:
    """Whether bytes that were lost are about to be downloaded again."""
    return bool(
        await session.scalar(
            text("""
                SELECT EXISTS (SELECT FROM artifacts
                               WHERE state = 'pending' AND lost_sha256 = :sha256)
            """),
            {"sha256": sha256},
        )
    )


async def refetch_artifact(
    session: AsyncSession, artifact_id: UUID, *, why: str
) -> Refetched | None:
    """Try a file again that was given up or set aside, with all its tries; None if it is neither.

    Its URL may be said to be dead: a try costs nothing.
    """
    row = (
        await session.execute(
            text(f"""
                {_REFETCH} WHERE id = :id AND state IN ('failed', 'expired')
                RETURNING id, endpoint
            """),
            {"id": artifact_id, "why": why},
        )
    ).one_or_none()
    return None if row is None else Refetched(row.id, row.endpoint)


async def refetch_set_aside(
    session: AsyncSession, *, why: str, campaign_id: UUID | None = None
) -> Sequence[Refetched]:
    """Try every file again that was set aside and whose URL lives; or those of a campaign."""
    rows = await session.execute(
        text(f"""
            {_REFETCH} WHERE state = 'failed' AND {_URL_LIVES}
              AND (CAST(:campaign AS uuid) IS NULL
                   OR job_id IN (SELECT id FROM jobs WHERE campaign_id = :campaign))
            RETURNING id, endpoint
        """),  # noqa: S608 -- constants
        {"why": why, "campaign": campaign_id},
    )
    return [Refetched(row.id, row.endpoint) for row in rows]
