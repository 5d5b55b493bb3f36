"""An artifact: one file of a job's result, and its way into our store.

    PENDING -> STORED     downloaded, hashed and kept
    PENDING -> EXPIRED    its upstream URL died before any download succeeded
    PENDING -> FAILED     workers died of it, time and again (`models/poison.py`)
    STORED, FAILED, EXPIRED -> PENDING    fetched again (`models/custody.py`)

Stored files are addressed by the SHA-256 of their bytes, so the same bytes are kept once. The rows
are the truth; a file in the store that no row names is left over from a crash and harmless.
"""

import dataclasses
import datetime as dt
import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import orjson
from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import SUSPECTED, Base, new_id, word_column
from models.errors import NotFound


class ArtifactState(enum.StrEnum):
    PENDING = "pending"
    STORED = "stored"
    FAILED = "failed"  # workers died of it: set aside
    EXPIRED = "expired"


class Artifact(Base):
    __tablename__ = "artifacts"
    __table_args__ = (
        CheckConstraint(
            "(state = 'stored') = (sha256 IS NOT NULL AND store_key IS NOT NULL)",
            name="stored_iff_hashed",
        ),
        Index("artifacts_of_job", "job_id", "position", unique=True),
        Index(
            "artifacts_to_store",  # claims.claim_artifacts, lane.find_lanes
            "endpoint",
            "next_at",
            "id",
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "artifacts_suspected",  # poison.set_aside_rows
            "next_at",
            postgresql_where=text(SUSPECTED),
        ),
        Index(
            "artifacts_given_up",  # custody.measure_custody
            "next_at",
            postgresql_where=text("state IN ('expired', 'failed')"),
        ),
        Index("artifacts_by_content", "sha256", postgresql_where=text("sha256 IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))
    position: Mapped[int]  # from 0, in the order of the result
    endpoint: Mapped[str]
    field: Mapped[str]  # where in the output it was named
    source_url: Mapped[str]
    expires_at: Mapped[dt.datetime]  # when the source URL dies

    state: Mapped[ArtifactState] = mapped_column(
        word_column(ArtifactState), server_default=ArtifactState.PENDING.value
    )
    lease: Mapped[UUID | None]
    next_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    deaths: Mapped[int] = mapped_column(server_default="0")  # of workers that held it, in a row
    tries: Mapped[int] = mapped_column(server_default="0")
    # Why the last try failed; of a stored file: what is odd about it.
    error: Mapped[str | None]

    sha256: Mapped[str | None]  # hex
    # Of a file that the store lost: what it was, until the same bytes are stored again.
    lost_sha256: Mapped[str | None]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    media_type: Mapped[str | None]
    width: Mapped[int | None]  # pixels
    height: Mapped[int | None]
    duration_seconds: Mapped[float | None]
    store_key: Mapped[str | None]
    thumbnail_key: Mapped[str | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    stored_at: Mapped[dt.datetime | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewArtifact:
    """A file that a result names."""

    job_id: UUID
    position: int
    endpoint: str
    field: str
    source_url: str
    lives_seconds: float  # until its URL dies


async def add_artifacts(session: AsyncSession, artifacts: Sequence[NewArtifact]) -> None:
    """Insert artifacts as pending, in the transaction that completes their jobs."""
    if not artifacts:
        return
    rows = [{**dataclasses.asdict(artifact), "id": new_id()} for artifact in artifacts]
    await session.execute(
        text("""
            INSERT INTO artifacts (id, job_id, position, endpoint, field, source_url, expires_at)
            SELECT id, job_id, position, endpoint, field, source_url,
                now() + make_interval(secs => lives_seconds)
            FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS artifact(
                id uuid, job_id uuid, position int, endpoint text, field text, source_url text,
                lives_seconds float)
        """),
        {"rows": orjson.dumps(rows).decode()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadEnd:
    """What came of one download: `sha256` if it was stored, else `error` and `retry_in`.

    A file may be stored with an `error`: as it came, it cannot be decoded.
    """

    id: UUID
    lease: UUID
    error: str | None = None
    counts: bool = True  # as a try; False: it was no fault of the file's
    retry_in: float | None = None  # seconds; None: its URL is dead, there is no use in it
    sha256: str | None = None
    size_bytes: int | None = None
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    store_key: str | None = None
    thumbnail_key: str | None = None


async def record_downloads(session: AsyncSession, ends: Sequence[DownloadEnd]) -> set[UUID]:
    """Write what came of claimed downloads; returns the ids that still held their lease."""
    written = await session.scalars(
        text("""
            UPDATE artifacts SET
                state = CASE WHEN ended.sha256 IS NOT NULL THEN 'stored'
                    WHEN ended.retry_in IS NULL THEN 'expired' ELSE 'pending' END,
                lease = NULL,
                next_at = now() + make_interval(secs => coalesce(ended.retry_in, 0)),
                tries = tries - CASE WHEN ended.counts THEN 0 ELSE 1 END,
                deaths = 0,
                error = CASE WHEN ended.sha256 <> lost_sha256
                    THEN concat_ws('; ', 'other bytes came than the store lost', ended.error)
                    ELSE ended.error END,
                sha256 = ended.sha256,
                lost_sha256 = CASE WHEN ended.sha256 = lost_sha256 THEN NULL
                    ELSE lost_sha256 END,
                size_bytes = coalesce(ended.size_bytes, artifacts.size_bytes),
                media_type = coalesce(ended.media_type, artifacts.media_type),
                width = CASE WHEN ended.sha256 IS NULL THEN artifacts.width
                    ELSE ended.width END,
                height = CASE WHEN ended.sha256 IS NULL THEN artifacts.height
                    ELSE ended.height END,
                duration_seconds = CASE WHEN ended.sha256 IS NULL THEN artifacts.duration_seconds
                    ELSE ended.duration_seconds END,
                store_key = ended.store_key,
                thumbnail_key = ended.thumbnail_key,
                stored_at = CASE WHEN ended.sha256 IS NOT NULL THEN now() END
            FROM jsonb_to_recordset(CAST(:ends AS jsonb)) AS ended(
                id uuid, lease uuid, error text, counts bool, retry_in float, sha256 text,
                size_bytes bigint, media_type text, width int, height int, duration_seconds float,
                store_key text, thumbnail_key text)
            WHERE artifacts.id = ended.id AND artifacts.lease = ended.lease
              AND artifacts.state = 'pending'
            RETURNING artifacts.id
        """),
        {"ends": orjson.dumps(list(ends)).decode()},
    )
    return set(written)


async def settle_measured(
    session: AsyncSession, *, artifact_ids: Collection[UUID], usd_per_second: Decimal
) -> None:
    """Price jobs whose reply names no cost by how long their stored files play."""
    await session.execute(
        text("""
            WITH priced AS (
                UPDATE jobs SET cost_usd = (
                    SELECT round(CAST(sum(duration_seconds) * :rate AS numeric), 10)
                    FROM artifacts WHERE job_id = jobs.id)
                WHERE cost_usd IS NULL AND state = 'completed'
                  AND id IN (SELECT job_id FROM artifacts WHERE id = ANY(:ids))
                  AND NOT EXISTS (SELECT FROM artifacts WHERE job_id = jobs.id
                                  AND duration_seconds IS NULL)
                RETURNING id, upstream_id, cost_usd
            )
            UPDATE attempts SET cost_usd = priced.cost_usd
            FROM priced
            WHERE attempts.job_id = priced.id AND attempts.upstream_id = priced.upstream_id
              AND attempts.cost_usd IS NULL
        """),
        {"ids": list(artifact_ids), "rate": usd_per_second},
    )


async def list_artifacts(
    session: AsyncSession,
    *,
    job_ids: Sequence[UUID] | None = None,
    campaign_id: UUID | None = None,
    state: ArtifactState | None = None,
    owner: UUID | None = None,
    before: UUID | None = None,
    newest_first: bool = False,
    limit: int | None = None,
) -> Sequence[Artifact]:
    """Newest first; of the given jobs or campaign in the order of jobs and files.

    Args:
        owner: the key whose jobs'; None: everybody's.
        before: the last one that was seen, of a list that is newest first.
        newest_first: also of given jobs or a campaign.
    """
    statement = select(Artifact)
    if owner is not None:
        statement = statement.where(
            text("job_id IN (SELECT id FROM jobs WHERE key_id = :owner)").bindparams(owner=owner)
        )
    if before is not None:
        statement = statement.where(Artifact.id < before)
    if job_ids is not None:
        statement = statement.where(Artifact.job_id.in_(job_ids))
    if campaign_id is not None:
        statement = statement.where(
            text("job_id IN (SELECT id FROM jobs WHERE campaign_id = :campaign)").bindparams(
                campaign=campaign_id
            )
        )
    if state is not None:
        statement = statement.where(Artifact.state == state)
    if newest_first or (job_ids is None and campaign_id is None):
        statement = statement.order_by(Artifact.id.desc())
    else:
        statement = statement.order_by(Artifact.job_id, Artifact.position)
    return (await session.scalars(statement.limit(limit))).all()


async def get_artifact(session: AsyncSession, artifact_id: UUID) -> Artifact:
    """
    Raises:
        NotFound: there is none with this id.
    """
    artifact = await session.get(Artifact, artifact_id)
    if artifact is None:
        raise NotFound("artifact", str(artifact_id))
    return artifact


async def sum_bytes(session: AsyncSession, campaign_id: UUID, *, endpoint: str | None) -> int:
    """Of the stored files of a campaign, on one endpoint or (None) on all."""
    statement = text("""
        SELECT coalesce(sum(size_bytes), 0) FROM jobs JOIN artifacts ON artifacts.job_id = jobs.id
        WHERE campaign_id = :id AND artifacts.state = 'stored'
          AND (CAST(:endpoint AS text) IS NULL OR jobs.endpoint = :endpoint)
    """)
    return int(await session.scalar(statement, {"id": campaign_id, "endpoint": endpoint}) or 0)
