"""A job: what it was asked, what came of it, and what happened in between."""

import asyncio
from typing import Any

from nicegui import ui

from gateway.web.api import Refused
from gateway.web.console.job_facts import draw_deliveries, draw_facts, draw_files, draw_state
from gateway.web.console.job_timeline import draw_timeline
from gateway.web.page import page
from gateway.web.parts.acts import act_button
from gateway.web.parts.ask import ask
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.live import Live
from gateway.web.parts.piece import Piece
from gateway.web.parts.snippet import json_snippet
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit
from gateway.words import say_usd
from models.job import RETRIABLE

SECONDS = 1.0
ENDED_SECONDS = 10.0  # somebody may retry it elsewhere
NOT_ONE = {404, 422}  # no job of the visitor's, and no id at all


@page("/jobs/{job_id}", title="Job")
async def job_page(visit: Visit, job_id: str) -> None:
    acts: Acts | None = None
    with page_head("Job", ""):
        place = box(classes="pr-row")
    text("code", job_id, "pr-job-id")
    view: View | None = None

    async def read() -> Any:
        path = f"/api/v1/jobs/{job_id}"
        try:
            job, timeline, attempts, deliveries = await asyncio.gather(
                visit.api.get(path),
                visit.api.get(f"{path}/timeline"),
                visit.api.get(f"{path}/attempts"),
                visit.api.get(f"{path}/deliveries"),
            )
        except Refused as error:
            if error.status in NOT_ONE:
                return None
            raise
        return {
            "job": job,
            "timeline": timeline["timeline"],
            "attempts": attempts["attempts"],
            "deliveries": deliveries["deliveries"],
        }

    def draw(found: Any) -> None:
        nonlocal view, acts
        if found is None:
            empty(
                "No such job",
                "No job that your key may see has this id. A whole id is wanted, as lists link it.",
                icon="search_off",
            )
            live.slow_down(ENDED_SECONDS)
            return
        with place:
            acts = Acts(visit, job_id, live)
        view = View(visit, live)
        change(found)

    def change(found: Any) -> None:
        if found is None or view is None or acts is None:
            return
        acts.show(found["job"])
        view.show(found)
        live.slow_down(ENDED_SECONDS if _is_settled(found) else SECONDS)

    live = Live(read, draw, change=change, seconds=SECONDS, lines=8)


class Acts:
    """What can be done with it; shown as far as it can."""

    def __init__(self, visit: Visit, job_id: str, live: Live[Any]) -> None:
        self._visit, self._path, self._live = visit, f"/api/v1/jobs/{job_id}", live
        self._job: dict[str, Any] = {}
        if not visit.may_run:
            return
        self._cancel = act_button("Cancel", self._do_cancel, icon="block")
        self._retry = act_button("Retry", self._do_retry, icon="replay")
        with ui.link(target=f"/?job={job_id}").classes("pr-link-button"):
            ui.icon("tune")
            text("span", "Run again with changes")

    def show(self, job: dict[str, Any]) -> None:
        self._job = job
        if self._visit.may_run:
            self._cancel.set_visibility(job["finished_at"] is None)
            self._retry.set_visibility(job["state"] in RETRIABLE)

    async def _do_cancel(self) -> str | None:
        words = "If it waits, it ends at once; if it is upstream, as soon as that takes it."
        if not await ask("Cancel the job?", words, do="Cancel the job", danger=True):
            return None
        job = await self._visit.api.post(f"{self._path}/cancel")
        await self._live.again()
        return "Cancelled." if job["finished_at"] else "The upstream is told to stop it."

    async def _do_retry(self) -> str | None:
        price = self._job["estimate_usd"]
        cost = f" It may cost {say_usd(price)}." if price is not None else ""
        words = f"It is sent again under its id, with the same input.{cost}"
        if not await ask("Retry the job?", words, do="Retry the job"):
            return None
        await self._visit.api.post(f"{self._path}/retry")
        await self._live.again()
        return "It is sent again."


class View:
    """All of it in pieces, of which those change that are other."""

    def __init__(self, visit: Visit, live: Live[Any]) -> None:
        self._state = Piece(draw_state)
        with box(classes="pr-job"):
            with box(classes="pr-stack"):
                with section("Result"):
                    self._files = Piece(draw_files, same_by=_without_links)
                with section("Timeline"):
                    self._timeline = Piece(draw_timeline, classes="pr-stack")
            with box(classes="pr-stack"):
                with section("Facts"):
                    self._facts = Piece(draw_facts)
                with section("Deliveries"):
                    self._deliveries: Piece[Any] = Piece(
                        lambda found: draw_deliveries(found, visit, live)
                    )
        with box(classes="pr-split"):
            with section("Input", bare=True):
                self._input: Piece[Any] = Piece(
                    lambda value: json_snippet(value, name="Input as JSON")
                )
            with section("Output", bare=True):
                self._output = Piece(_draw_output)

    def show(self, found: Any) -> None:
        job = found["job"]
        self._state.show({name: job[name] for name in ("state", "why", "waiting", "reason")})
        self._files.show(job)
        self._timeline.show(
            {
                "timeline": found["timeline"],
                "finished_at": job["finished_at"],
                "polls": job["polls"],
                "attempts": found["attempts"],
            }
        )
        self._facts.show({name: job[name] for name in job if name not in MOVING})
        self._deliveries.show(found["deliveries"])
        self._input.show(job["input"])
        self._output.show(job["output"])


# Of a job, what facts do not show: each look of a worker would draw them anew.
MOVING = {"why", "waiting", "next_at", "input", "output", "artifacts"}


def _without_links(job: dict[str, Any]) -> object:
    """Which files there are, and in what state: their links change each time."""
    files = [(one["id"], one["state"], one["error"]) for one in job["artifacts"]]
    return job["state"], job["error"], files


def _draw_output(output: Any) -> None:
    if output is None:
        text("p", "There is none yet, or never was one.", "pr-small")
    else:
        json_snippet(output, name="Output as JSON")


def _is_settled(found: Any) -> bool:
    """Whether nothing more is to come by itself."""
    job = found["job"]
    pending = [one for one in job["artifacts"] if one["state"] == "pending"]
    sending = [one for one in found["deliveries"] if one["state"] in {"pending", "waiting"}]
    return job["finished_at"] is not None and not pending and not sending
