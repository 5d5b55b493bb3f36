"""Settings that operators change while the system runs; workers read them every few seconds.

What they mean, and their bounds, is `workers/operator_settings.py`'s.
"""

import datetime as dt
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Setting(Base):
    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any]
    updated_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())


async def get_settings(session: AsyncSession) -> dict[str, Any]:
    """Name to value, of those that were ever set."""
    rows = await session.execute(select(Setting.name, Setting.value))
    return {row.name: row.value for row in rows}


async def lock_settings(session: AsyncSession) -> None:
    """Let no other change a setting that is read first, until this transaction ends."""
    await session.execute(text("LOCK TABLE settings IN SHARE ROW EXCLUSIVE MODE"))


async def put_setting(session: AsyncSession, *, name: str, value: object) -> None:
    statement = insert(Setting).values(name=name, value=value)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[Setting.name],
            set_={"value": statement.excluded.value, "updated_at": func.now()},
        )
    )


async def delete_setting(session: AsyncSession, *, name: str) -> None:
    """Back to the default."""
    await session.execute(delete(Setting).where(Setting.name == name))
