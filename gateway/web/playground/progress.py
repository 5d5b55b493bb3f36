"""How far a job is, in words and as steps: what the API says of it, no guess drawn as a bar."""

from typing import Any

from gateway.web.parts.badge import say_state, tone_of
from gateway.web.parts.tags import box, text
from gateway.words import say_seconds

STEPS = ("Queued", "Sent", "In line upstream", "Generating", "Done")
PLACES = {
    "queued": 0,
    "submitting": 1,
    "unknown": 1,
    "in_queue": 2,
    "in_progress": 3,
    "completed": 4,
}


class Progress:
    """Steps, the seconds that have passed, what is waited for and the forecast of the end."""

    def __init__(self) -> None:
        with box(classes="pr-progress") as self.place:
            with box("ol", "pr-steps", aria_label="Progress"):
                self._steps = [text("li", step) for step in STEPS]
            with box(classes="pr-row"):
                self._badge = text("span", "", "pr-badge").props("role=status")
                self._passed = text("span", "", "pr-passed")
                self._forecast = text("span", "", "pr-small")
            self._why = text("p", "", "pr-small")
        self.say("sending", "busy", passed=0.0)

    def say(
        self, word: str, tone: str, *, passed: float, forecast: str = "", why: str = ""
    ) -> None:
        self._badge.set_text(word)
        self._badge.classes(replace=f"pr-badge pr-{tone}")
        self._passed.set_text(say_seconds(passed))
        self._forecast.set_text(forecast)
        self._why.set_text(why)

    def show(self, job: dict[str, Any], *, passed: float) -> None:
        """Args:
        job: as the API gives it.
        passed: seconds since it was handed in.
        """
        state = job["state"]
        storing = (job["waiting"] or {}).get("cause") == "files"
        word = "storing the files" if storing else say_state(state)
        tone = "busy" if storing else tone_of(state)
        why = job["why"]
        self.say(
            word,
            tone,
            passed=passed,
            forecast=say_forecast(job["waiting"]),
            why=f"{why[:1].upper()}{why[1:]}." if why and job["state"] != "completed" else "",
        )
        here = PLACES.get(state)
        for place, step in enumerate(self._steps):
            passed_by = here is not None and (place < here or state == "completed")
            step.classes(replace="pr-step-past" if passed_by else "")
            if place == here and not passed_by:
                step.classes(replace="pr-step-here").props("aria-current=step")
            else:
                step.props(remove="aria-current")


def say_forecast(waiting: dict[str, Any] | None) -> str:
    """When it is likely to begin or to end, and its place in line, where that is known."""
    if waiting is None:
        return ""
    said = []
    if waiting["ahead"]:
        more = " or more" if waiting["ahead_is_more"] else ""
        said.append(f"{waiting['ahead']:,}{more} before it in line")
    if waiting["starts_in_seconds"]:
        said.append(f"starts in about {say_seconds(waiting['starts_in_seconds'])}")
    if waiting["ends_in_seconds"]:
        said.append(f"about {say_seconds(waiting['ends_in_seconds'])} left")
    return " · ".join(said)
