"""Since when a part has been at work without a gap, by the database's clock."""

import datetime as dt

from sqlalchemy import func, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base

LISTENING = "listening"  # the gateway takes the upstream's webhooks
# A longer silence is a gap. The upstream sends a webhook again after ten seconds if nobody took it.
GAP_SECONDS = 10.0


class Pulse(Base):
    __tablename__ = "pulses"

    name: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    at: Mapped[dt.datetime] = mapped_column(server_default=func.now())


async def beat(session: AsyncSession, name: str) -> None:
    """The part is at work now."""
    await session.execute(
        text("""
            INSERT INTO pulses (name) VALUES (:name)
            ON CONFLICT (name) DO UPDATE SET at = now(), since = CASE
                WHEN pulses.at < now() - make_interval(secs => :gap) THEN now()
                ELSE pulses.since END
        """),
        {"name": name, "gap": GAP_SECONDS},
    )
