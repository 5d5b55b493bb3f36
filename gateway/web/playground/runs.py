"""One run: its result large, and all that is known of it."""

from typing import Any
from uuid import UUID

from nicegui import ui

from endpoints.catalogue import read_result
from gateway.web.api import Refused, local
from gateway.web.page import page
from gateway.web.parts.acts import attempt
from gateway.web.parts.badge import state_badge
from gateway.web.parts.heads import page_head, section
from gateway.web.parts.live import Live
from gateway.web.parts.media import show_file
from gateway.web.parts.moment import Moment
from gateway.web.parts.snippet import json_snippet
from gateway.web.parts.states import empty
from gateway.web.parts.tags import box, text
from gateway.web.playground.code_panel import open_code
from gateway.web.playground.run_words import has_ended, say_cost
from gateway.web.playground.share_panel import open_share
from gateway.web.visit import Visit
from gateway.words import say_bytes, say_prompt, say_seconds

LOOK_SECONDS = 1.0
LONGEST = 2_000  # characters of a value that stands among the others


@page("/runs/{job_id}", title="Run")
async def run(visit: Visit, job_id: UUID) -> None:
    try:
        job: dict[str, Any] = await visit.api.get(f"/api/v1/jobs/{job_id}")
    except Refused as error:
        with page_head("Run"):
            pass
        empty("No such run", f"{error}. It may be another key's.", icon="search_off")
        return
    _draw_head(visit, job)

    async def read() -> dict[str, Any]:
        nonlocal job
        if not has_ended(job):
            job = await visit.api.get(f"/api/v1/jobs/{job_id}")
            job.pop("waiting")  # other each second, which would be drawn anew each second
        return job

    with box(classes="pr-one"):
        with box(classes="pr-one-result"):
            Live(read, _draw_result, seconds=LOOK_SECONDS)
        with box(classes="pr-stack"):
            with section("About this run"):
                Live(read, _draw_facts, seconds=LOOK_SECONDS)
            with section("Parameters"):
                _draw_parameters(job["input"] or {})
            with ui.expansion("Raw JSON").classes("pr-sheet pr-raw-json"):
                Live(read, _draw_json, seconds=LOOK_SECONDS)


def _draw_head(visit: Visit, job: dict[str, Any]) -> None:
    async def code() -> str | None:
        await open_code(visit, job["endpoint"], job["input"] or {})
        return None

    async def share() -> str | None:
        await open_share(visit, await visit.api.get(f"/api/v1/jobs/{job['id']}"))
        return None

    with page_head("Run", say_prompt(job["input"] or {})[:200]):
        if visit.may_run:
            with ui.link(target=f"/?job={job['id']}").classes("pr-link-button"):
                ui.icon("tune")
                text("span", "Open in the playground")
        # Each stays open until it is closed, and meanwhile its button must do again.
        for words, icon, act in (("Code", "code", code), ("Share", "share", share)):
            ui.button(words, icon=icon, on_click=lambda act=act: attempt(act)).props(
                "outline no-caps"
            )


def _draw_result(job: dict[str, Any]) -> None:
    prompt = say_prompt(job["input"] or {})
    if job["finished_at"] is None:
        with box(classes="pr-one-wait", role="status"):
            ui.spinner(size="lg")
            text("p", f"{job['why'][:1].upper()}{job['why'][1:]}.")
        return
    if job["state"] != "completed":
        with box(classes="pr-state pr-state-bad", role="status"):
            ui.icon("error_outline")
            text("p", job["error"] or job["why"])
        return
    for artifact in job["artifacts"]:
        show_file(artifact, alt=prompt or "The result")
        if artifact["url"]:
            _draw_download(artifact)
    reply = None if job["artifacts"] else read_result(None, job["output"]).text
    if reply:
        text("p", reply, "pr-one-reply")
    elif not job["artifacts"]:
        json_snippet(job["output"], name="Output as JSON")


def _draw_json(job: dict[str, Any]) -> None:
    json_snippet(job, name="The run as JSON")


def _draw_download(artifact: dict[str, Any]) -> None:
    facts = [
        f"{artifact['width']} by {artifact['height']}" if artifact["width"] else None,
        say_seconds(artifact["duration_seconds"]) if artifact["duration_seconds"] else None,
        artifact["media_type"],
        say_bytes(artifact["size_bytes"]) if artifact["size_bytes"] else None,
    ]
    with box(classes="pr-download"):
        with box("a", "pr-link-button", href=local(artifact["url"]) or "", download=""):
            ui.icon("download")
            text("span", "Download")
        text("span", " · ".join(fact for fact in facts if fact), "pr-small")


def _draw_facts(job: dict[str, Any]) -> None:
    with box("dl", "pr-known"):
        with _fact("State"):
            state_badge(job["state"])
        _say("Model", job["endpoint"])
        _say("Cost", say_cost(job) + (", from the cache" if job["cached_from"] else ""))
        if job["finished_at"]:
            _say("Waited", _say_ms(job["delay_ms"]))
            _say("Ran", _say_ms(job["execution_ms"]))
        seed = (job["input"] or {}).get("seed")
        _say("Seed", "not set" if seed is None or seed == -1 else str(seed))
        with _fact("Asked for"):
            Moment(job["created_at"], absolute=True)
        if job["key"]:
            _say("Key", job["key"])
        with _fact("Id"):
            text("code", job["id"])


def _draw_parameters(values: dict[str, Any]) -> None:
    with box("dl", "pr-known"):
        for name, value in values.items():
            said = value if isinstance(value, str) else str(value)
            if len(said) > LONGEST:
                said = f"{said[:LONGEST]}… ({len(said):,} characters)"
            _say(name, said)


def _say(name: str, words: str) -> None:
    with _fact(name):
        text("span", words)


def _fact(name: str) -> ui.element:
    text("dt", name)
    return box("dd")


def _say_ms(milliseconds: int | None) -> str:
    return "not known" if milliseconds is None else say_seconds(milliseconds / 1000)
