"""Which jobs a list shows: what its address says, what its fields hold, what the API is asked."""

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode
from uuid import UUID

from gateway.web.addresses import WEB
from models.job import JobState, Reason

STATES = tuple(state.value for state in JobState)
REASONS = tuple(reason.value for reason in Reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsQuery:
    """
    Args:
        after, before: when they were handed in, in UTC, as fields of a form have it.
        cursor: the last job of the page before; None: the newest.
    """

    states: tuple[str, ...] = ()
    endpoint: str | None = None
    reasons: tuple[str, ...] = ()
    campaign: str | None = None
    after: str | None = None
    before: str | None = None
    cursor: str | None = None

    @classmethod
    def read(
        cls,
        *,
        state: list[str] | None,
        endpoint: str | None,
        reason: list[str] | None,
        campaign: str | None,
        created_after: str | None,
        created_before: str | None,
        cursor: str | None,
    ) -> Self:
        """Of an address that somebody may have typed: what cannot be is left out."""
        return cls(
            states=tuple(one for one in state or () if one in STATES),
            endpoint=endpoint or None,
            reasons=tuple(one for one in reason or () if one in REASONS),
            campaign=_if_id(campaign),
            after=_if_time(created_after),
            before=_if_time(created_before),
            cursor=_if_id(cursor),
        )

    def with_fields(self, **fields: Any) -> Self:
        """With other fields, and so from the newest on."""
        return replace(self, cursor=None, **fields)

    def at(self, cursor: str | None) -> Self:
        return replace(self, cursor=cursor)

    @property
    def filter(self) -> dict[str, Any]:
        """As acts on many take it."""
        given = {
            "state": list(self.states) or None,
            "endpoint": self.endpoint,
            "reason": list(self.reasons) or None,
            "campaign": self.campaign,
            "created_after": self.after,
            "created_before": self.before,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def parameters(self) -> dict[str, Any]:
        """As the list takes it."""
        return {**self.filter, **({"cursor": self.cursor} if self.cursor else {})}

    @property
    def address(self) -> str:
        """Of the page that shows it."""
        query = urlencode(self.parameters, doseq=True)
        return f"{WEB}/jobs?{query}" if query else f"{WEB}/jobs"


def _if_id(given: str | None) -> str | None:
    try:
        return str(UUID(given)) if given else None
    except ValueError:
        return None


def _if_time(given: str | None) -> str | None:
    try:
        return given if given and dt.datetime.fromisoformat(given) else None
    except ValueError:
        return None
