"""What is known of a job: its state and why, its files, its figures, who was told."""

from typing import Any

from nicegui import ui

from gateway.web.parts.acts import act_button
from gateway.web.parts.badge import badge, state_badge
from gateway.web.parts.live import Live
from gateway.web.parts.media import show_file
from gateway.web.parts.moment import Moment
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit
from gateway.words import say_bytes, say_seconds, say_usd

DELIVERY_TONES = {"delivered": "good", "failed": "bad", "pending": "busy", "waiting": "plain"}


def draw_state(job: dict[str, Any]) -> None:
    with box(classes="pr-job-state", role="status"):
        state_badge(job["state"].upper())
        with box():
            why = say_why(job)
            text("p", f"{why[:1].upper()}{why[1:]}.", "pr-strong")
            if said := _forecast(job["waiting"]):
                text("p", said, "pr-small")


def say_why(job: dict[str, Any]) -> str:
    """Why it is where it is; the reason that it ended for in words."""
    why, reason = str(job["why"]), job["reason"]
    if reason and why.startswith(reason):
        return str(reason).replace("_", " ") + why.removeprefix(reason)
    return why


def _forecast(waiting: dict[str, Any] | None) -> str:
    if waiting is None:
        return ""
    if waiting["starts_in_seconds"]:
        return f"Likely to be sent in {say_seconds(waiting['starts_in_seconds'])}."
    if waiting["ends_in_seconds"]:
        return f"Likely to end in {say_seconds(waiting['ends_in_seconds'])}."
    return ""


def draw_files(job: dict[str, Any]) -> None:
    if not job["artifacts"]:
        text("p", _say_no_file(job), "pr-small")
        return
    asked = job["input"] or {}
    alt = str(asked.get("prompt") or asked.get("text") or f"A file of job {job['id']}")
    with box(classes="pr-job-files"):
        for one in job["artifacts"]:
            with box():
                show_file(one, alt=alt)
                text("p", _say_file(one), "pr-small")


def _say_no_file(job: dict[str, Any]) -> str:
    if job["finished_at"] is None:
        return "Its files appear here once it is done."
    if job["state"] == "completed":
        return "It has no files: its result is its output, below."
    return "It has no result."


def _say_file(file: dict[str, Any]) -> str:
    size = f"{file['width']} x {file['height']}" if file["width"] else None
    lasts = say_seconds(file["duration_seconds"]) if file["duration_seconds"] else None
    weight = say_bytes(file["size_bytes"]) if file["size_bytes"] else None
    said = [file["media_type"], size, lasts, weight, file["error"]]
    return " · ".join(str(one) for one in said if one)


def draw_facts(job: dict[str, Any]) -> None:
    with box("dl", "pr-facts"):
        _fact("Endpoint", job["endpoint"])
        _fact("Key", job["key"] or "none: Celery, or the command line")
        _moment("Handed in", job["created_at"])
        _moment("Sent", job["submitted_at"])
        _moment("Ended", job["finished_at"])
        _fact("Priority", job["priority"])
        _fact("Attempts", job["attempt"])
        _fact("Cost", _say_cost(job))
        _fact("Upstream queue", _say_ms(job["delay_ms"]))
        _fact("Generation", _say_ms(job["execution_ms"]))
        tokens = (job["input_tokens"], job["output_tokens"])
        _fact("Tokens", f"{tokens[0] or 0:,} in, {tokens[1] or 0:,} out" if any(tokens) else None)
        _link("Campaign", job["campaign_id"], "/campaigns")
        _fact("Item", job["custom_id"])
        _link("Result of", job["cached_from"], "/jobs")
        _moment("Must begin by", job["start_by"])
        _moment("Given up at", job["deadline_at"] if job["finished_at"] is None else None)
        _code("Upstream id", job["upstream_id"])
        _code("Trace", job["trace_id"])


def _fact(name: str, value: object) -> None:
    if value is not None:
        text("dt", name)
        text("dd", str(value))


def _code(name: str, value: str | None) -> None:
    if value:
        text("dt", name)
        with box("dd"):
            text("code", value)


def _link(name: str, value: str | None, room: str) -> None:
    if value:
        text("dt", name)
        with box("dd"):
            ui.link(value, f"{room}/{value}")


def _moment(name: str, at: str | None) -> None:
    if at:
        text("dt", name)
        with box("dd"):
            Moment(at, absolute=True)


def _say_cost(job: dict[str, Any]) -> str:
    if job["cost_usd"] is not None:
        return say_usd(job["cost_usd"])
    if job["finished_at"] is not None:
        return "none that the upstream named"
    if job["estimate_usd"] is not None:
        return f"about {say_usd(job['estimate_usd'])}, if it is done"
    return "not known"


def _say_ms(ms: int | None) -> str | None:
    return None if ms is None else say_seconds(ms / 1000)


def draw_deliveries(deliveries: list[dict[str, Any]], visit: Visit, live: Live[Any]) -> None:
    if not deliveries:
        text("p", "Nobody asked to be told of its end.", "pr-small")
        return
    with box("ul", "pr-rows"):
        for one in deliveries:
            with box("li"):
                with box(classes="pr-lines"):
                    text("span", one["url"] or "Celery's own result")
                    if one["error"]:
                        text("span", one["error"], "pr-small").props["title"] = one["error"]
                badge(one["state"], DELIVERY_TONES.get(one["state"], "plain"))
                if visit.may_run and one["state"] in {"failed", "delivered"}:
                    _replay_button(one, visit, live)


def _replay_button(delivery: dict[str, Any], visit: Visit, live: Live[Any]) -> None:
    async def replay() -> str:
        await visit.api.post(f"/api/v1/deliveries/{delivery['id']}/replay")
        await live.again()
        return "It is sent again."

    act_button("Send again", replay, kind="flat").props("dense")
