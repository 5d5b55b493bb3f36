"""A state in a word and a colour."""

from nicegui import ui

from gateway.web.parts.tags import box, text

TONES = {
    "QUEUED": "plain",
    "SUBMITTING": "busy",
    "IN_QUEUE": "busy",
    "IN_PROGRESS": "busy",
    "COMPLETED": "good",
    "FAILED": "bad",
    "CANCELLED": "plain",
    "TIMED_OUT": "bad",
    "UNKNOWN": "warn",
    "LOST": "bad",
    "REJECTED": "bad",
}
WORDS = {
    "QUEUED": "queued",
    "SUBMITTING": "sending",
    "IN_QUEUE": "in queue upstream",
    "IN_PROGRESS": "running",
    "COMPLETED": "done",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "TIMED_OUT": "timed out",
    "UNKNOWN": "unknown",
    "LOST": "lost",
    "REJECTED": "rejected",
}


def badge(words: str, tone: str = "plain") -> ui.element:
    """Args:
    tone: plain, good, busy, warn or bad.
    """
    with box("span", f"pr-badge pr-{tone}") as drawn:
        text("span", words)
    return drawn


def state_badge(state: str) -> ui.element:
    """Of a job."""
    return badge(say_state(state), tone_of(state))


def say_state(state: str) -> str:
    return WORDS.get(state.upper(), state.lower().replace("_", " "))


def tone_of(state: str) -> str:
    return TONES.get(state.upper(), "plain")
