"""Jobs: a list that stays fast however many there are, and lives while it is looked at."""

from typing import Annotated, Any

from fastapi import Query
from nicegui import ui

from gateway.web.api import local
from gateway.web.console.job_facts import say_why
from gateway.web.console.jobs_bulk import BulkBar
from gateway.web.console.jobs_filters import Filters
from gateway.web.console.jobs_query import JobsQuery
from gateway.web.page import page
from gateway.web.parts.badge import say_state, tone_of
from gateway.web.parts.data_table import Column, DataTable, Row
from gateway.web.parts.heads import page_head
from gateway.web.parts.live import Live
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit
from gateway.words import say_usd

SECONDS = 2.0
ROWS = 50

COLUMNS = (
    Column("thumb", "Picture", "thumb", quiet=True),
    Column("job", "Job", "lines"),
    Column("state", "State", "badge"),
    Column("key", "Key"),
    Column("cost", "Cost", align="right"),
    Column("created", "Age", "time"),
    Column("why", "Why", "long"),
)


@page("/jobs", title="Jobs")
async def jobs(
    visit: Visit,
    *,
    state: Annotated[list[str] | None, Query()] = None,
    endpoint: str | None = None,
    reason: Annotated[list[str] | None, Query()] = None,
    campaign: str | None = None,
    created_after: str | None = None,
    created_before: str | None = None,
    cursor: str | None = None,
) -> None:
    query = JobsQuery.read(
        state=state,
        endpoint=endpoint,
        reason=reason,
        campaign=campaign,
        created_after=created_after,
        created_before=created_before,
        cursor=cursor,
    )
    with page_head("Jobs", "Everything that was handed in, the newest first."):
        pass
    JobList(visit, query)


class JobList:
    """A page of the list, and what turns it."""

    def __init__(self, visit: Visit, query: JobsQuery) -> None:
        self._visit, self._query = visit, query
        self._turned: list[str | None] = []  # cursors of the pages before this one
        self._next: str | None = None
        self._shown: dict[str, Row] = {}
        self._picked: list[str] = []
        self._table: DataTable | None = None
        Filters(visit, query, self._change_query)
        with box(classes="pr-jobs-bar"):
            self._bulk = (
                BulkBar(visit, lambda: self._query.filter, self._after_act)
                if visit.may_run
                else None
            )
            self._fresh = ui.button("", icon="arrow_upward", on_click=self._show_fresh)
            self._fresh.props("flat dense no-caps")
            self._fresh.set_visibility(False)
        with box("section", "pr-sheet", aria_label="Jobs"):
            self._live = Live(self._read, self._draw, change=self._show, seconds=SECONDS, lines=8)
        with box("nav", "pr-pages", aria_label="Pages"):
            self._where = text("span", "", "pr-small").props("role=status")
            self._newer = ui.button("Newer", icon="chevron_left", on_click=self._turn_back)
            self._older = ui.button("Older", on_click=self._turn)
            self._older.props("icon-right=chevron_right")
            for button in (self._newer, self._older):
                button.props("outline no-caps")
                button.disable()

    async def _read(self) -> Any:
        query = self._query
        found = await self._visit.api.get("/api/v1/jobs", limit=ROWS, **query.parameters)
        return query, found

    def _draw(self, found: Any) -> None:
        self._table = DataTable(
            COLUMNS,
            caption="Jobs",
            on_pick=self._pick if self._visit.may_run else None,
        )
        self._none = box()
        self._show(found)

    def _show(self, found: Any) -> None:
        query, page_of = found
        if query != self._query or self._table is None:
            return  # it was asked for before the query changed
        rows = {row["id"]: row for row in map(_describe_row, page_of["jobs"])}
        fresh = [one for one in rows if one not in self._shown]
        if self._picked and fresh:  # what one has selected must not slip away
            self._fresh.set_text(f"{len(fresh)}{'+' if len(fresh) == ROWS else ''} new")
            rows = {one: rows.get(one, row) for one, row in self._shown.items()}
        self._fresh.set_visibility(bool(self._picked and fresh))
        self._shown, self._next = rows, page_of["next"]
        self._table.set_rows(list(rows.values()))
        self._table.set_visibility(bool(rows))
        self._show_none(not rows)
        first = query.cursor is None
        self._where.set_text("The newest; new ones appear by themselves" if first else "Older jobs")
        self._newer.set_enabled(not first)
        self._older.set_enabled(self._next is not None)

    def _show_none(self, none: bool) -> None:  # noqa: FBT001 -- a predicate
        self._none.clear()
        if not none:
            return
        with self._none:
            if self._query.parameters:
                empty("No job fits", "Take something out of the filter.", icon="filter_alt")
            else:
                empty("No job yet", "Run a model in the playground, and it is listed here.")

    def _pick(self, ids: list[str]) -> None:
        self._picked = ids
        if self._bulk:
            self._bulk.pick(ids)
        if not ids:
            self._fresh.set_visibility(False)

    async def _show_fresh(self) -> None:
        self._unpick()
        self._shown = {}
        await self._live.again()

    async def _after_act(self) -> None:
        self._unpick()
        await self._live.again()

    def _unpick(self) -> None:
        if self._table and self._picked:
            self._table.unpick()
        self._pick([])

    async def _change_query(self, query: JobsQuery) -> None:
        self._turned.clear()
        await self._go(query)

    async def _turn(self) -> None:
        self._turned.append(self._query.cursor)
        await self._go(self._query.at(self._next))

    async def _turn_back(self) -> None:
        cursor = self._turned.pop() if self._turned else None
        await self._go(self._query.at(cursor))

    async def _go(self, query: JobsQuery) -> None:
        self._query = query
        self._unpick()
        self._shown = {}
        ui.navigate.history.replace(query.address)
        await self._live.again()


def _describe_row(job: dict[str, Any]) -> Row:
    state = job["state"].upper()
    prompt = job["prompt"] or job["custom_id"] or job["id"]
    cost = job["cost_usd"] if job["cost_usd"] is not None else job["estimate_usd"]
    expected = "about " if job["cost_usd"] is None and cost is not None else ""
    thumbnail = local(job["thumbnail_url"])
    return {
        "id": job["id"],
        "thumb": {"src": thumbnail, "alt": ""} if thumbnail else None,
        "job": {
            "text": " ".join(prompt.split()),
            "sub": job["endpoint"],
            "href": f"/jobs/{job['id']}",
        },
        "state": {"text": say_state(state), "tone": tone_of(state)},
        "key": job["key"],
        "cost": f"{expected}{say_usd(cost)}" if cost is not None else None,
        "created": job["created_at"],
        "why": None if job["state"] == "completed" else say_why(job),
    }
