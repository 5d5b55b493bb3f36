"""Figures of campaigns that are complete, kept for a while.

A hundred thousand jobs are gone over for them, pages ask every few seconds, and hardly anything of
them changes: a file expires, a doubt is settled.
"""

import datetime as dt
import time
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models.campaign import Campaign
from models.campaign_figures import Figures, read_figures

KEPT_SECONDS = 60.0
KEPT_MOST = 1_000  # campaigns


class SettledFigures:
    """Of one process. A campaign that is retried has not completed, and then at another time."""

    def __init__(self) -> None:
        self._kept: dict[tuple[UUID, dt.datetime], tuple[float, Figures]] = {}

    async def read(self, session: AsyncSession, campaign: Campaign) -> Figures:
        """As they are, or, of one that is complete, were lately.

        Raises:
            NotFound: the campaign is gone.
        """
        if campaign.completed_at is None:
            return await read_figures(session, campaign.id)
        key = (campaign.id, campaign.completed_at)
        read_at, figures = self._kept.get(key, (0.0, None))
        now = time.monotonic()
        if figures is None or now - read_at > KEPT_SECONDS:
            if len(self._kept) >= KEPT_MOST:
                self._kept.clear()
            figures = await read_figures(session, campaign.id)
            self._kept[key] = (now, figures)
        return figures
