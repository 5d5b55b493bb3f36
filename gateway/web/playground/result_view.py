"""What a run gave: files, text, or why there are none; as JSON too, and what it cost and took."""

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any

from nicegui import ui

from endpoints.catalogue import read_result
from gateway.web.api import local
from gateway.web.parts.media import show_file
from gateway.web.parts.snippet import json_snippet
from gateway.web.parts.tags import box, text
from gateway.words import say_bytes, say_prompt, say_seconds, say_usd

RANDOM_SEED = -1
WHAT_TO_DO = {
    "upstream_failed": "It was not billed. Change the input, or run it again.",
    "upstream_refused": "The endpoint will never take this input: change it.",
    "upstream_fault": "The upstream was not well. Run it again in a while.",
    "upstream_timed_out": "It took too long upstream. Ask for less: fewer steps, a smaller size.",
    "upstream_cancelled": "It was cancelled upstream, not here. Run it again.",
    "cancelled": "Run it again whenever you like.",
    "outcome_unknown": "Whether it ran is not known, so it was not sent twice. Run it again.",
    "result_expired": "The upstream no longer keeps the result. Run it again.",
    "vanished": "The upstream lost it. Run it again.",
    "over_budget": "A budget is used up: raise it under Money, or wait for its next period.",
}
USUAL_ADVICE = "Run it again."
EMULATED = "Emulated: drawn by Pressroom's own emulator, nothing is billed."


def draw_result(job: dict[str, Any], *, emulated: bool) -> None:
    """Args:
    job: that has ended, as the API gives it.
    """
    written = text_of(job)
    if job["state"] != "completed":
        _draw_failure(job)
    preview = box(classes="pr-preview")
    with preview:
        for artifact in job["artifacts"]:
            _draw_file(job, artifact)
        if written:
            text("p", written, "pr-written")
        if job["state"] == "completed" and not job["artifacts"] and not written:
            json_snippet(job["output"], name="Output as JSON")
    raw = box(classes="pr-raw")
    raw.set_visibility(False)
    with box("dl", "pr-run-facts"):
        for name, fact in facts_of(job):
            with box():
                text("dt", name)
                text("dd", fact)
    with box(classes="pr-row pr-result-acts"):
        for place, artifact in enumerate(job["artifacts"]):
            if artifact["url"]:
                _download_link(job, artifact, place)
        if written:
            ui.button(
                "Download text",
                icon="download",
                on_click=lambda: ui.download.content(written, f"{file_stem(job)}.txt"),
            ).props("outline no-caps")
        _raw_button(job, preview, raw)
    if emulated:
        text("p", EMULATED, "pr-small pr-emulated")


def facts_of(job: dict[str, Any]) -> list[tuple[str, str]]:
    """What it cost, took and was made with, as far as it is known."""
    found = []
    if job["cached_from"]:
        found.append(("Cost", "$0.00, a stored result"))
    elif job["cost_usd"] is not None:
        found.append(("Cost", say_usd(job["cost_usd"])))
    if (passed := took_seconds(job)) is not None:
        found.append(("Took", say_seconds(passed)))
    if job["execution_ms"] is not None:
        found.append(("Generating", say_seconds(job["execution_ms"] / 1000)))
    if (seed := seed_of(job)) is not None:
        found.append(("Seed", str(seed)))
    found += [fact for artifact in job["artifacts"][:1] for fact in _facts_of_file(artifact)]
    if job["output_tokens"] is not None:
        found.append(("Tokens", f"{job['input_tokens'] or 0:,} in, {job['output_tokens']:,} out"))
    return found


def _facts_of_file(artifact: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if artifact["width"]:
        yield "Size", f"{artifact['width']} x {artifact['height']}"
    if artifact["duration_seconds"]:
        yield "Length", say_seconds(artifact["duration_seconds"])
    if artifact["size_bytes"]:
        yield "File", say_bytes(artifact["size_bytes"])


def took_seconds(job: dict[str, Any]) -> float | None:
    """From its being handed in to its end."""
    if job["finished_at"] is None:
        return None
    start, end = (_moment(job[name]) for name in ("created_at", "finished_at"))
    return max(end - start, 0.0)


def seed_of(job: dict[str, Any]) -> int | None:
    """The seed that it was asked for; None if the upstream picked one, which it does not tell."""
    given = job["input"] or {}
    sampling = given.get("sampling_params")
    seed = given.get("seed", sampling.get("seed") if isinstance(sampling, dict) else None)
    is_one = isinstance(seed, int) and not isinstance(seed, bool) and seed != RANDOM_SEED
    return seed if is_one else None


def text_of(job: dict[str, Any]) -> str | None:
    """What was written, of an endpoint that writes."""
    return None if job["artifacts"] else read_result(None, job["output"]).text


def file_stem(job: dict[str, Any]) -> str:
    seed = seed_of(job)
    named = re.sub(r"[^\w.-]", "-", job["endpoint"])
    return f"{named}{'' if seed is None else f'-{seed}'}-{job['id'][-6:]}"


def _draw_failure(job: dict[str, Any]) -> None:
    with box(classes="pr-failure", role="alert"):
        why = job["error"] or job["why"]
        text("p", f"{why[:1].upper()}{why[1:]}", "pr-strong")
        text("p", WHAT_TO_DO.get(job["reason"], USUAL_ADVICE))


def _draw_file(job: dict[str, Any], artifact: dict[str, Any]) -> None:
    said = say_prompt(job["input"] or {}) or "The result"
    if artifact["url"] is None:
        with box(classes="pr-failure"):
            text(
                "p",
                f"The file is {artifact['state']}: {artifact['error'] or 'no longer to be had'}.",
            )
        return
    show_file(artifact, alt=said)


def _download_link(job: dict[str, Any], artifact: dict[str, Any], place: int) -> None:
    several = len(job["artifacts"]) > 1
    with box("a", "pr-link-button", href=local(artifact["url"]) or "") as link:
        extension = (artifact["store_key"] or "").rpartition(".")[2]
        number = f"-{place + 1}" if several else ""
        link.props["download"] = f"{file_stem(job)}{number}.{extension or 'bin'}"
        ui.icon("download")
        text("span", f"Download {place + 1}" if several else "Download")


def _raw_button(job: dict[str, Any], preview: ui.element, raw: ui.element) -> None:
    def turn() -> None:
        shown = not raw.visible
        if shown and not raw.default_slot.children:
            with raw:
                json_snippet(job, name="The job as JSON")
        raw.set_visibility(shown)
        preview.set_visibility(not shown)
        button.set_text("Preview" if shown else "JSON")
        button.props(f"icon={'visibility' if shown else 'data_object'}")

    button = ui.button("JSON", icon="data_object", on_click=turn).props("outline no-caps")


def _moment(at: str) -> float:
    return dt.datetime.fromisoformat(at).timestamp()
