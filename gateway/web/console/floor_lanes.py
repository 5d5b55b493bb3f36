"""Lanes as rows, and what operators do to them."""

from typing import Any

from nicegui import ui

from gateway.web.parts.acts import attempt
from gateway.web.parts.ask import ask
from gateway.web.parts.data_table import Column, Row
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit
from workers.operator_settings import UNLIMITED

LANES = (
    Column("lane", "Lane", "lines"),
    Column("state", "State", "badge"),
    Column("waiting", "Waiting", align="right"),
    Column("in_flight", "In flight", align="right"),
    Column("rate", "Rate of its limit", "gauge"),
    Column("why", "Why", "until"),
    Column("acts", "Acts", "acts", quiet=True),
)
STAGES = {
    "submit": "send",
    "poll": "ask",
    "cancel": "cancel",
    "archive": "store files",
    "notify": "tell Celery",
    "webhook": "send webhooks",
}
FULL = 0.9  # of a limit: its calls are spread, so that it is seldom full to the last
PAUSES: dict[float | None, str] = {
    None: "until somebody resumes it",
    300.0: "5 minutes",
    900.0: "15 minutes",
    3600.0: "an hour",
    28_800.0: "8 hours",
}


def place_of(lane: dict[str, Any]) -> tuple[str, int]:
    """Lanes of an endpoint stand together, in the order of their stages."""
    return lane["endpoint"], list(STAGES).index(lane["stage"])


def describe_row(lane: dict[str, Any], *, may_operate: bool) -> Row:
    waiting = f"{lane['waiting']:,}{'+' if lane['waiting_is_more'] else ''}"
    submits = lane["stage"] == "submit"
    state, tone = _name_state(lane)
    return {
        "id": f"{lane['stage']}/{lane['endpoint']}",
        "tone": tone if tone in {"warn", "bad"} else None,
        "lane": {"text": lane["endpoint"], "sub": f"{lane['stage']}: {STAGES[lane['stage']]}"},
        "state": {"text": state, "tone": tone},
        "waiting": waiting,
        "in_flight": _say_in_flight(lane) if submits else None,
        "rate": _gauge(lane["quota"]),
        "why": _say_why(lane),
        "acts": _list_acts(lane) if may_operate else None,
    }


def _name_state(lane: dict[str, Any]) -> tuple[str, str]:
    if lane["state"] in {"paused", "maintenance"}:
        return lane["state"], "warn"
    if lane["state"] == "closed":
        return "closed", "bad"
    if lane["breaker"]["half_open"]:
        return "half open", "warn"
    return ("working", "busy") if lane["waiting"] or lane["in_flight"] else ("open", "good")


def _say_in_flight(lane: dict[str, Any]) -> str:
    most = lane["quota"]["concurrent"]
    return f"{lane['in_flight']:,}" + (f" of {most:,}" if most else "")


def _gauge(quota: dict[str, Any]) -> dict[str, Any] | None:
    used, most = quota["used_in_window"], quota["learned_per_window"] or quota["per_window"]
    if used is None or most >= UNLIMITED:
        return None
    learned = " (learned)" if quota["learned_per_window"] else ""
    words = f"{used:,} of {most:,} in {quota['window_seconds']:g} s{learned}"
    share = used / most
    return {"share": round(share, 3), "text": words, "tone": "warn" if share >= FULL else "busy"}


def _say_why(lane: dict[str, Any]) -> dict[str, Any]:
    """In words that stay, and beside them the time that runs."""
    if lane["state"] == "paused":
        reason = lane["paused_reason"]
        words = f"Paused: {reason}." if reason else "Paused."
        return {"text": words, "until": lane["paused_until"], "word": "Goes on"}
    if lane["state"] == "closed":
        words = f"{_begin(lane['closed_reason'] or '')}."
        if lane["closures"] > 1:
            words += f" Closed {lane['closures']} times in a row."
        return {"text": words, "until": lane["closed_until"], "word": "Tried again"}
    if lane["breaker"]["half_open"]:
        return {"text": "One call is let through; if it is answered, the lane opens."}
    faults = lane["breaker"]["failed_in_a_row"]
    words = _begin(lane["why"])
    if lane["due_seconds"] is not None and lane["due_seconds"] > 0:
        words = "The next is not due yet"  # the figure would be another each second
    if faults:
        words += f"; {faults} of {lane['breaker']['breaks_after']} failures that close it"
    return {"text": f"{words}."}


def _begin(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _list_acts(lane: dict[str, Any]) -> list[dict[str, Any]]:
    name = f"the {lane['stage']} lane of {lane['endpoint']}"
    held = lane["state"] in {"paused", "closed"} or lane["breaker"]["half_open"]
    acts = []
    if held:
        acts.append({"act": "resume", "text": "Resume", "label": f"Resume {name}"})
    if lane["state"] != "paused":
        acts.append({"act": "pause", "text": "Pause", "label": f"Pause {name}"})
        if lane["stage"] == "submit":
            acts.append({"act": "drain", "text": "Drain", "label": f"Drain {name}"})
    if lane["stage"] in {"submit", "poll", "cancel"}:
        acts.append({"act": "limit", "text": "Limit", "label": f"Change the limit of {name}"})
    return acts


async def act_on_lane(visit: Visit, act: str, lane: str) -> None:
    """Ask for what it takes, do it, and say what came of it."""
    doing = {"pause": _pause, "drain": _drain, "resume": _resume, "limit": _limit}[act]
    await doing(visit, lane)


async def _resume(visit: Visit, lane: str) -> None:
    async def do() -> str:
        await visit.api.patch(f"/api/v1/lanes/{lane}", {"paused": False})
        return "The lane goes on."

    await attempt(do)


async def _pause(visit: Visit, lane: str, *, drain: bool = False) -> None:
    fields: list[Any] = []

    def draw() -> None:
        reason = ui.input("Reason", placeholder="people read it").props("outlined autofocus")
        seconds = ui.select(dict(PAUSES), value=None, label="For").props("outlined")
        fields.extend([reason, seconds])

    stage, _, endpoint = lane.partition("/")
    words = "Nothing new is begun in it. What is in flight goes on, and nothing is lost."
    if drain:
        words = (
            "Nothing more is sent; what is in flight is asked for until it has ended. The lane is "
            "empty when its figure in flight is 0."
        )
    verb = "Drain" if drain else "Pause"
    if not await ask(
        f"{verb} the {stage} lane of {endpoint}?", words, do=f"{verb} the lane", draw=draw
    ):
        return
    reason, seconds = (field.value for field in fields)
    body = {"drain": True} if drain else {"paused": True}
    given = {"reason": (reason or "").strip() or None, "pause_seconds": seconds}

    async def do() -> str:
        set_ones = {name: value for name, value in given.items() if value is not None}
        await visit.api.patch(f"/api/v1/lanes/{lane}", {**body, **set_ones})
        return "The lane drains." if drain else "The lane is paused."

    await attempt(do)


async def _drain(visit: Visit, lane: str) -> None:
    await _pause(visit, lane, drain=True)


async def _limit(visit: Visit, lane: str) -> None:
    found: dict[str, Any] = {}

    async def look() -> None:
        found.update(await visit.api.get(f"/api/v1/lanes/{lane}"))

    if not await attempt(look):
        return
    limits = found["limits"]
    fields: list[Any] = []

    def draw() -> None:
        documented = limits["documented"] or {}
        with box(classes="pr-small"):
            text("p", f"Documented: {_say_bound(documented)}.")
            if limits["learned"]:
                text("p", f"Refusals taught: {limits['learned']:,} a window.")
        own = limits["operator"]
        rate = ui.number("Calls in 10 s", value=own["per_10_seconds"], min=1, format="%d")
        once = ui.number("At once", value=own["concurrent"], min=1, format="%d")
        back = ui.checkbox("Back to the documented limit")
        beyond = ui.checkbox("I mean it, if it is more than documented")
        for one in (rate, once):
            one.props("outlined clearable")
            one.bind_enabled_from(back, "value", lambda on: not on)
        fields.extend([rate, once, back, beyond])

    stage, _, endpoint = lane.partition("/")
    if not await ask(
        f"Change the limit of the {stage} lane of {endpoint}",
        "It holds for all workers within seconds. What is empty stays as documented.",
        do="Change the limit",
        draw=draw,
    ):
        return
    rate, once, back, beyond = (field.value for field in fields)
    body: dict[str, Any] = {"reset_limit": True}
    if not back:
        body = {
            name: int(value)
            for name, value in (("per_10_seconds", rate), ("concurrent", once))
            if value is not None
        }
        if not body:
            return
        body["beyond"] = bool(beyond)

    async def do() -> str:
        await visit.api.patch(f"/api/v1/lanes/{lane}", body)
        return "The limit is changed."

    await attempt(do)


def _say_bound(bound: dict[str, Any]) -> str:
    rate, once = bound.get("per_10_seconds"), bound.get("concurrent")
    said = [f"{rate:,} calls in 10 s"] if rate else []
    said += [f"{once:,} at once"] if once else []
    return ", ".join(said) or "no limit"
