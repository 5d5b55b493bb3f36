"""An API key: who may call the gateway, and for what.

Only the SHA-256 of a key is kept. A key is 256 random bits, so a fast hash serves: there is nothing
to guess. A rotated key lives on beside the new one until `previous_until`.
"""

import datetime as dt
import enum
import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ARRAY, Index, Text, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, new_id
from models.errors import NotFound

PREFIX = "prk_"
SHOWN_CHARACTERS = 8  # enough to tell keys apart, far from enough to use one


class Scope(enum.StrEnum):
    RUN = "run"  # hand in, cancel and retry one's own jobs, and read them
    READ = "read"  # read one's own jobs
    OPERATE = "operate"  # everything, of everybody: jobs, lanes, keys


class ApiKey(Base):
    __tablename__ = "api_keys"
    __table_args__ = (
        Index("api_keys_by_hash", "hash", unique=True),  # find_caller
        Index(
            "api_keys_by_previous_hash",  # the same
            "previous_hash",
            unique=True,
            postgresql_where=text("previous_hash IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    hash: Mapped[bytes]
    shown: Mapped[str]  # how it begins
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    requests_per_second: Mapped[int | None]  # None: as operators set it for all
    result_cache: Mapped[bool | None]  # the same
    weight: Mapped[float] = mapped_column(server_default="1")  # its share of the line: fairness.py
    webhook_version: Mapped[int] = mapped_column(server_default="1")  # of the derived secret
    previous_hash: Mapped[bytes | None]
    previous_until: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    revoked_at: Mapped[dt.datetime | None]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is."""

    key_id: UUID
    name: str
    scopes: frozenset[Scope]
    requests_per_second: int | None
    result_cache: bool | None

    @property
    def operates(self) -> bool:
        return Scope.OPERATE in self.scopes

    @property
    def owner(self) -> UUID | None:
        """Whose jobs it sees: its own, or (None) everybody's."""
        return None if self.operates else self.key_id


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key, and the one sight of its secret."""

    row: ApiKey
    secret: str


def hash_key(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


async def issue_key(
    session: AsyncSession,
    *,
    name: str,
    scopes: Collection[Scope],
    requests_per_second: int | None = None,
    result_cache: bool | None = None,
    weight: float = 1.0,
) -> IssuedKey:
    """Make a key. Its secret is in what is returned, and nowhere else.

    Args:
        weight: its share where several keys have jobs in line: `models/fairness.py`.
    """
    secret = _new_secret()
    row = ApiKey(
        id=new_id(),
        name=name,
        hash=hash_key(secret),
        shown=secret[:SHOWN_CHARACTERS],
        scopes=sorted(set(scopes)),
        requests_per_second=requests_per_second,
        result_cache=result_cache,
        weight=weight,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return IssuedKey(row, secret)


async def find_caller(session: AsyncSession, key_hash: bytes) -> Caller | None:
    """Whose key has this hash (`hash_key`); None if it is none, or no longer."""
    row = (
        await session.scalars(
            select(ApiKey).where(
                ApiKey.revoked_at.is_(None),
                (ApiKey.hash == key_hash)
                | ((ApiKey.previous_hash == key_hash) & (ApiKey.previous_until > func.now())),
            )
        )
    ).first()
    if row is None:
        return None
    return Caller(
        key_id=row.id,
        name=row.name,
        scopes=frozenset(map(Scope, row.scopes)),
        requests_per_second=row.requests_per_second,
        result_cache=row.result_cache,
    )


async def list_keys(session: AsyncSession) -> Sequence[ApiKey]:
    """Newest first, revoked ones among them."""
    return (await session.scalars(select(ApiKey).order_by(ApiKey.id.desc()))).all()


async def name_keys(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, str]:
    """Of those that there are."""
    if not ids:
        return {}
    rows = await session.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(ids)))
    return {row.id: row.name for row in rows}


async def get_key(session: AsyncSession, key_id: UUID) -> ApiKey:
    """
    Raises:
        NotFound: there is none with this id.
    """
    row = await session.get(ApiKey, key_id)
    if row is None:
        raise NotFound("key", str(key_id))
    return row


async def get_keys(session: AsyncSession, key_ids: Collection[UUID]) -> dict[UUID, ApiKey]:
    rows = await session.scalars(select(ApiKey).where(ApiKey.id.in_(key_ids)))
    return {row.id: row for row in rows}


async def revoke_key(session: AsyncSession, key_id: UUID) -> ApiKey:
    """It opens nothing from now on. Its jobs go on. Safe to repeat.

    Raises:
        NotFound: there is none with this id.
    """
    row = await session.scalar(
        text("""
            UPDATE api_keys SET revoked_at = coalesce(revoked_at, now())
            WHERE id = :id RETURNING id
        """),
        {"id": key_id},
    )
    if row is None:
        raise NotFound("key", str(key_id))
    return await get_key(session, key_id)


async def weigh_key(session: AsyncSession, key_id: UUID, *, weight: float) -> ApiKey:
    """Give the key another share, for the jobs that it hands in from now on.

    Raises:
        NotFound: there is none with this id.
    """
    row = await get_key(session, key_id)
    row.weight = weight
    return row


async def rotate_key(
    session: AsyncSession, key_id: UUID, *, grace_seconds: float, webhook_secret: bool
) -> IssuedKey:
    """Give the key a new secret; the one before stays good for `grace_seconds`.

    Args:
        webhook_secret: whether what signs its webhooks is renewed too, at once.

    Raises:
        NotFound: there is none with this id, or it was revoked.
    """
    secret = _new_secret()
    rotated = await session.scalar(
        text("""
            UPDATE api_keys SET
                previous_hash = hash,
                previous_until = now() + make_interval(secs => :grace),
                hash = :hash,
                shown = :shown,
                webhook_version = webhook_version + CAST(:webhook AS int)
            WHERE id = :id AND revoked_at IS NULL RETURNING id
        """),
        {
            "id": key_id,
            "hash": hash_key(secret),
            "shown": secret[:SHOWN_CHARACTERS],
            "grace": grace_seconds,
            "webhook": webhook_secret,
        },
    )
    if rotated is None:
        raise NotFound("key", str(key_id))
    return IssuedKey(await get_key(session, key_id), secret)


async def has_keys(session: AsyncSession) -> bool:
    return bool(await session.scalar(text("SELECT EXISTS (SELECT FROM api_keys)")))


def _new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)
