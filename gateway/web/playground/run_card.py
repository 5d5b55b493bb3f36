"""One run, from its being handed in to what it gave, shown in its place as it goes."""

import asyncio
import datetime as dt
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import stamina
from nicegui import background_tasks, ui

from endpoints.catalogue import Kind, read_result
from gateway.web.api import Api, Refused, SignedOut
from gateway.web.parts.acts import act_button
from gateway.web.parts.states import failed
from gateway.web.parts.tags import box, text
from gateway.web.playground.progress import Progress
from gateway.web.playground.result_view import draw_result, seed_of, text_of, took_seconds
from gateway.web.visit import Visit

LOOK_SECONDS = 0.4  # a look waits for the end of the job, which it hears of at once
LATER_LOOK_SECONDS = 1.0  # once it runs for longer than FRESH_SECONDS
FRESH_SECONDS = 10.0
TROUBLE_SECONDS = 2.0  # until it is asked again after the API refused
HAND_IN_TRIES = 3
FILES_SECONDS = 0.3  # between two looks at files that are yet to be stored

OnEnd = Callable[[dict[str, Any]], object]


class RunCard:
    """Draws itself where it is made. `job` is what is known of its job, as the API gives it.

    Args:
        on_end: is told of the job when it has ended and its files are stored; not where it could
            not be handed in.
    """

    def __init__(self, visit: Visit, on_end: OnEnd | None = None) -> None:
        self._visit, self._on_end = visit, on_end
        self.job: dict[str, Any] | None = None
        self.refused = False
        with box("article", "pr-run", aria_label="Run") as self.place:
            self._progress = Progress()
            self._written = text("p", "", "pr-written").props("aria-live=off")
            self._written.set_visibility(False)
            with box(classes="pr-row") as self._acts:
                if visit.may_run:
                    act_button("Cancel", self._cancel, icon="close")
            self._inside = box(classes="pr-run-inside")

    @property
    def ended(self) -> bool:
        return self.refused or (self.job is not None and self.job["finished_at"] is not None)

    @property
    def seed(self) -> int | None:
        """That it was asked for; None: the upstream picked one, or takes none."""
        return seed_of(self.job) if self.job else None

    async def start(self, endpoint: str, input: dict[str, Any]) -> None:  # noqa: A002 -- its name
        """Hand it in; it is followed to its end after this returns."""
        try:
            self.job = await hand_in(self._visit.api, {"endpoint": endpoint, "input": input})
        except SignedOut:
            ui.navigate.to("/login")
            return
        except Refused as error:
            self._refuse("\n".join(error.problems))
            return
        self._follow_behind(fresh=True)

    async def follow(self, job_id: str) -> None:
        """Show a job that was handed in elsewhere or before."""
        try:
            self.job = await self._visit.api.get(f"/api/v1/jobs/{quote(job_id, safe='')}")
        except SignedOut:
            ui.navigate.to("/login")
            return
        except Refused as error:
            self._refuse(str(error))
            return
        self._follow_behind(fresh=False)

    def _follow_behind(self, *, fresh: bool) -> None:
        if _is_over(self.job):
            self._end()
            return
        background_tasks.create(self._watch(), context=self.place)
        if fresh:  # pieces that somebody else reads would be missing here
            background_tasks.create(self._read_pieces(), context=self.place)

    async def _watch(self) -> None:
        while not self.place.is_deleted and self.job is not None:
            passed = _seconds_since(self.job["created_at"])
            self._progress.show(self.job, passed=passed)
            if _is_over(self.job):
                self._end()
                return
            await self._look(passed)

    async def _look(self, passed: float) -> None:
        if self.job is None:
            return
        if self.ended:
            await asyncio.sleep(FILES_SECONDS)
        seconds = LOOK_SECONDS if passed < FRESH_SECONDS else LATER_LOOK_SECONDS
        try:
            self.job = await self._visit.api.get(f"/api/v1/jobs/{self.job['id']}", wait=seconds)
        except SignedOut:
            ui.navigate.to("/login")
            await asyncio.sleep(TROUBLE_SECONDS)
        except Refused as error:
            self._progress.say(
                "not up to date", "warn", passed=passed, why=f"It goes on; {error}. Asking again."
            )
            await asyncio.sleep(TROUBLE_SECONDS)

    async def _read_pieces(self) -> None:
        """Of what is written, word by word; the whole of it comes with the job's end."""
        if self.job is None or not await self._writes():
            return
        path = f"/v2/{quote(self.job['endpoint'], safe='')}/stream/{self.job['id']}"
        said = ""
        while not self.place.is_deleted and not self.ended:
            try:
                found = await self._visit.api.get(path)
            except Refused:
                return
            said += "".join(read_result(None, one["output"]).text or "" for one in found["stream"])
            if self.ended:
                return
            if said:
                self._written.set_text(said)
                self._written.set_visibility(True)
            if not found["stream"] and found["status"] not in {"IN_QUEUE", "IN_PROGRESS"}:
                return

    async def _writes(self) -> bool:
        if self.job is None:
            return False
        try:
            named = quote(self.job["endpoint"], safe="")
            described = await self._visit.api.get(f"/api/v1/endpoints/{named}")
        except Refused:
            return False
        return bool(described["kind"] == Kind.TEXT)

    def _end(self) -> None:
        if self.job is None:
            return
        passed = took_seconds(self.job) or 0.0
        self._progress.show(self.job, passed=passed)
        self._acts.set_visibility(False)
        if self.job["state"] == "completed" or text_of(self.job):
            self._written.set_visibility(False)
        self.place.classes("pr-run-ended")
        self._inside.clear()
        with self._inside:
            draw_result(self.job, emulated=self._visit.emulated)
        if self._on_end:
            self._on_end(self.job)

    def _refuse(self, why: str) -> None:
        self.refused = True
        self._progress.place.set_visibility(False)
        self._acts.set_visibility(False)
        with self._inside:
            failed(why)

    async def _cancel(self) -> str | None:
        if self.job is None or self.ended:
            return "It has ended."
        self.job = await self._visit.api.post(f"/api/v1/jobs/{self.job['id']}/cancel")
        return "It is being cancelled."


async def hand_in(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    """A new job, as the API gives it.

    Asked for again by the same name where the answer may be lost: one job, paid once.

    Raises:
        Refused, SignedOut
    """
    name = str(uuid4())
    made: dict[str, Any] = {}
    async for attempt in stamina.retry_context(on=_may_be_lost, attempts=HAND_IN_TRIES):
        with attempt:
            made = await api.post("/api/v1/jobs", body, Idempotency_Key=name)
    return made


def _may_be_lost(error: Exception) -> bool:
    return isinstance(error, Refused) and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _is_over(job: dict[str, Any] | None) -> bool:
    """Ended, with every file stored that is to be."""
    return job is not None and job["finished_at"] is not None and job["waiting"] is None


def _seconds_since(moment: str) -> float:
    return max((dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(moment)).total_seconds(), 0.0)
