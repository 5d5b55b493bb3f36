"""What happened to a job, in order, with times from its start; and where its time went."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from gateway.web.parts.badge import say_state, tone_of
from gateway.web.parts.tags import box, text
from gateway.words import say_seconds, say_usd

HAPPENED = {
    "artifact.stored": ("A file was stored", "good"),
    "artifact.expired": ("A file died before it was stored", "bad"),
    "artifact.failed": ("A file was set aside", "bad"),
}
PHASES = {
    "queued": ("waiting here", "plain"),
    "submitting": ("being sent", "warn"),
    "in_queue": ("in the upstream's queue", "busy"),
    "in_progress": ("being generated", "good"),
    "unknown": ("of unknown outcome", "bad"),
}
ANSWER_TONES = {"accepted": "good", "busy": "warn", "refused": "bad", "fault": "bad"}
LEAST_PERCENT = 0.5  # of a phase that can still be seen


def draw_timeline(found: dict[str, Any]) -> None:
    """Args:
    found: `timeline`, `attempts` and `polls` as the API has them, and `finished_at`.
    """
    entries = found["timeline"]
    if not entries:
        text("p", "Nothing has happened yet.", "pr-small")
        return
    start = _read(entries[0]["at"])
    phases = list_phases(entries, found["finished_at"])
    if phases:
        _draw_phases(phases, found["polls"])
    with box("ol", "pr-timeline"):
        for entry in entries:
            _draw_entry(entry, start, found["attempts"])


def list_phases(
    entries: Sequence[dict[str, Any]], finished_at: str | None
) -> list[tuple[str, float]]:
    """States that are over, and how many seconds the job was in each, in order."""
    states = [
        (entry["what"].removeprefix("job."), _read(entry["at"]))
        for entry in entries
        if entry["what"].startswith("job.")
    ]
    ends = [at for _, at in states[1:]]
    if finished_at:
        ends.append(max([_read(finished_at), *ends]))
    return [
        (state, (end - at).total_seconds())
        for (state, at), end in zip(states, ends, strict=False)
        if state in PHASES
    ]


def _draw_phases(phases: list[tuple[str, float]], polls: int) -> None:
    whole = sum(seconds for _, seconds in phases) or 1.0
    with box(classes="pr-phases"):
        with box(classes="pr-phases-bar", aria_hidden="true"):
            for state, seconds in phases:
                percent = max(seconds / whole * 100, LEAST_PERCENT)
                part = box(classes=f"pr-phase pr-fill-{PHASES[state][1]}")
                part.style(f"flex-grow: {percent:.2f}")
        with box("ul", "pr-phases-words"):
            for state, seconds in phases:
                words, tone = PHASES[state]
                with box("li"):
                    box("i", f"pr-dot pr-fill-{tone}", aria_hidden="true")
                    text("span", f"{say_seconds(seconds)} {words}")
            if polls:
                times = "once" if polls == 1 else f"{polls:,} times"
                with box("li"):
                    text("span", f"asked for {times}")


def _draw_entry(
    entry: dict[str, Any], start: dt.datetime, attempts: Sequence[dict[str, Any]]
) -> None:
    at = _read(entry["at"])
    words, tone, notes = _describe(entry, attempts)
    with box("li", f"pr-happened pr-{tone}"):
        moment = text("time", f"+{_say_gap((at - start).total_seconds())}")
        moment.props["datetime"] = entry["at"]
        moment.props["title"] = entry["at"]
        with box():
            text("span", words, "pr-strong")
            for note in notes:
                text("p", note, "pr-small")


def _describe(
    entry: dict[str, Any], attempts: Sequence[dict[str, Any]]
) -> tuple[str, str, list[str]]:
    what = entry["what"]
    if what == "attempt.sent":
        return f"Attempt {entry['number']} was sent", "busy", []
    if what == "attempt.answered":
        return _describe_answer(entry, attempts)
    if what in HAPPENED:
        words, tone = HAPPENED[what]
        return words, tone, []
    state = what.removeprefix("job.").upper()
    words = say_state(state)
    return words[:1].upper() + words[1:], tone_of(state), []


def _describe_answer(
    entry: dict[str, Any], attempts: Sequence[dict[str, Any]]
) -> tuple[str, str, list[str]]:
    """With what else is known of that attempt: the one that was answered just then."""
    answer = entry["answer"] or "unknown"
    notes = [entry["error"]] if entry["error"] else []
    at = _read(entry["at"])
    for one in attempts:
        if one["answered_at"] and _read(one["answered_at"]) == at:
            took = (at - _read(one["sent_at"])).total_seconds()
            said = [f"after {_say_gap(took)}"]
            said += [f"HTTP {one['http_status']}"] if one["http_status"] else []
            said += [f"billed {say_usd(one['cost_usd'])}"] if one["cost_usd"] is not None else []
            if one["fate"]:
                said.append(f"taken to be {one['fate']}")
            notes.append(", ".join(said))
    return f"Answered: {answer}", ANSWER_TONES.get(answer, "warn"), notes


def _say_gap(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else say_seconds(seconds)


def _read(at: str) -> dt.datetime:
    return dt.datetime.fromisoformat(at)
