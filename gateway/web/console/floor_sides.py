"""What stands on the floor beside the lanes: alarms, waits, workers, budgets."""

from typing import Any

from nicegui import ui

from gateway.web.parts.badge import badge
from gateway.web.parts.gauge import Gauge
from gateway.web.parts.moment import Moment
from gateway.web.parts.tags import box, text
from gateway.words import say_usd

TIGHT = 0.8  # of a budget


def draw_alarms(alarms: list[dict[str, Any]]) -> None:
    with box("section", "pr-alarms", aria_label="Alarms", aria_live="polite"):
        if not alarms:
            with box(classes="pr-calm"):
                ui.icon("check_circle")
                text("p", "No alarm: all that is watched is well.")
            return
        with box("ul"):
            for one in alarms:
                _draw_alarm(one)


def _draw_alarm(alarm: dict[str, Any]) -> None:
    critical = alarm["severity"] == "critical"
    with box("li", f"pr-alarm pr-alarm-{'bad' if critical else 'warn'}"):
        ui.icon("error" if critical else "warning")
        with box():
            text("p", alarm["says"], "pr-strong")
            text("p", alarm["do"])
            if alarm["runbook"]:
                with text("p", "", "pr-small"):
                    text("span", "Runbook: ")
                    text("code", alarm["runbook"])
        badge(alarm["severity"], "bad" if critical else "warn")


def draw_waits(waits: list[dict[str, Any]]) -> None:
    if not waits:
        text("p", "No job waits to be sent.", "pr-small")
        return
    with box("ul", "pr-rows"):
        for one in waits:
            with box("li"):
                with box(classes="pr-lines"):
                    ui.link(one["endpoint"], f"/jobs/{one['job_id']}")
                    text("span", one["why"], "pr-small").props["title"] = one["why"]
                Moment(one["created_at"])


def draw_workers(workers: list[dict[str, Any]] | None) -> None:
    if workers is None:
        text("p", "Redis does not answer, so that nobody knows of them.", "pr-small")
        return
    if not workers:
        text("p", "None has shown a sign of life in ten minutes.", "pr-small")
        return
    tones = {"well": "good", "silent": "bad", "troubled": "warn"}
    with box("ul", "pr-rows"):
        for one in workers:
            with box("li"):
                with box(classes="pr-lines"):
                    text("span", one["node"])
                    if one["problem"]:
                        text("span", one["problem"], "pr-small").props["title"] = one["problem"]
                badge(one["state"], tones[one["state"]])


def draw_budgets(budgets: list[dict[str, Any]]) -> None:
    if not budgets:
        text("p", "No budget is set: nothing holds back what is spent.", "pr-small")
        return
    with box("ul", "pr-rows"):
        for one in budgets:
            used = 1 - one["left_usd"] / one["limit_usd"]
            tone = "bad" if one["reached"] else "warn" if used >= TIGHT else "busy"
            with box("li", "pr-rows-stacked"):
                text("span", f"{one['name']} ({one['period']})")
                left, whole = say_usd(one["left_usd"]), say_usd(one["limit_usd"])
                Gauge(f"Used of {one['name']}").set(used, f"{left} left of {whole}", tone=tone)
