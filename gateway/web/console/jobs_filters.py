"""The fields above a list of jobs."""

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from gateway.web.api import Refused
from gateway.web.console.jobs_query import REASONS, STATES, JobsQuery
from gateway.web.parts.badge import say_state
from gateway.web.parts.tags import box
from gateway.web.visit import Visit

CAMPAIGNS_MOST = 100  # that can be chosen, the newest


class Filters:
    """Args:
    changed: is given the new query.
    """

    def __init__(
        self, visit: Visit, query: JobsQuery, changed: Callable[[JobsQuery], Awaitable[None]]
    ) -> None:
        self._visit, self._query, self._changed = visit, query, changed
        self._quiet = False
        with box(classes="pr-filters", role="search", aria_label="Filter jobs"):
            self._states = ui.select(
                {state: say_state(state.upper()) for state in STATES},
                value=list(query.states),
                multiple=True,
                label="State",
            ).props("use-chips")
            self._endpoint = ui.select(
                _with(query.endpoint), value=query.endpoint, label="Endpoint", with_input=True
            )
            self._reasons = ui.select(
                {reason: reason.replace("_", " ") for reason in REASONS},
                value=list(query.reasons),
                multiple=True,
                label="Ended for",
            ).props("use-chips")
            self._campaign = ui.select(
                _with(query.campaign), value=query.campaign, label="Campaign", with_input=True
            )
            self._after = ui.input("From (UTC)", value=query.after or "")
            self._before = ui.input("Until (UTC)", value=query.before or "")
            fields = (
                self._states,
                self._endpoint,
                self._reasons,
                self._campaign,
                self._after,
                self._before,
            )
            for field in fields:
                field.props("outlined dense clearable").on_value_change(self._take)
            for field in (self._after, self._before):
                field.props("type=datetime-local stack-label debounce=400")
            self._clear = ui.button("Clear", icon="filter_alt_off", on_click=self._empty)
            self._clear.props("flat no-caps")
        self._show_clear()
        ui.timer(0, self._load, once=True)

    async def _load(self) -> None:
        """What can be chosen: the page does not wait for it."""
        try:
            found = await self._visit.api.get("/api/v1/endpoints")
            options = {one["id"]: one["id"] for one in found["endpoints"]}
            self._endpoint.set_options(options | _with(self._query.endpoint))
            campaigns = await self._visit.api.get("/api/v1/campaigns/names", limit=CAMPAIGNS_MOST)
        except Refused:
            return  # the list itself says so
        names = {one["campaign_id"]: one["name"] for one in campaigns["campaigns"]}
        self._campaign.set_options(_with(self._query.campaign) | names)

    async def _take(self) -> None:
        if self._quiet:
            return
        query = self._query.with_fields(
            states=tuple(self._states.value or ()),
            endpoint=self._endpoint.value or None,
            reasons=tuple(self._reasons.value or ()),
            campaign=self._campaign.value or None,
            after=self._after.value or None,
            before=self._before.value or None,
        )
        if query.filter != self._query.filter:
            await self._tell(query)

    async def _empty(self) -> None:
        self._quiet = True
        for several in (self._states, self._reasons):
            several.set_value([])
        for chosen in (self._endpoint, self._campaign):
            chosen.set_value(None)
        for typed in (self._after, self._before):
            typed.set_value("")
        self._quiet = False
        await self._tell(JobsQuery())

    async def _tell(self, query: JobsQuery) -> None:
        self._query = query
        self._show_clear()
        await self._changed(query)

    def _show_clear(self) -> None:
        self._clear.set_visibility(bool(self._query.filter))


def _with(value: Any) -> dict[str, str]:
    return {value: value} if value else {}
