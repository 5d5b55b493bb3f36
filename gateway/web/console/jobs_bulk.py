"""Cancel, retry or prioritize many jobs: counted and priced first, then done."""

from collections.abc import Callable
from typing import Any, Literal

from nicegui import ui

from gateway.web.parts.acts import act_button, attempt, tell
from gateway.web.parts.ask import ask
from gateway.web.parts.tags import box, text
from gateway.web.visit import Visit
from gateway.words import say_usd
from models.fairness import HIGHEST, LOWEST, USUAL

Verb = Literal["cancel", "retry", "prioritize"]
ICONS: dict[Verb, str] = {"cancel": "block", "retry": "replay", "prioritize": "low_priority"}
WORDS: dict[Verb, tuple[str, str, str]] = {
    "cancel": (
        "Cancel",
        "Those that wait end at once; those upstream as soon as it takes that, and may be billed.",
        "Cancelled",
    ),
    "retry": ("Retry", "Each is sent again under its id, and its webhook tells of it.", "Retried"),
    "prioritize": (
        "Prioritize",
        "Each joins the line of its new priority as one that comes just now.",
        "Prioritized",
    ),
}


class BulkBar:
    """What can be done with all jobs that fit, or with those that are selected.

    Args:
        find_filter: of the list, as it is now.
        done: is called after something was.
    """

    def __init__(
        self, visit: Visit, find_filter: Callable[[], dict[str, Any]], done: Callable[[], Any]
    ) -> None:
        self._visit = visit
        self._find_filter = find_filter
        self._done = done
        self._picked: list[str] = []
        with box(classes="pr-jobs-bulk", role="group", aria_label="Acts on many jobs"):
            self._whom = text("span", "", "pr-small")
            for verb, icon in ICONS.items():
                self._add_button(verb, icon)
            self._progress = text("span", "", "pr-small").props("role=status")
        self.pick([])

    def pick(self, ids: list[str]) -> None:
        """These are selected now."""
        self._picked = ids
        words = f"{len(ids):,} selected:" if ids else "All that fit:"
        self._whom.set_text(words)

    def _add_button(self, verb: Verb, icon: str) -> None:
        async def act() -> None:
            await self._act(verb)

        act_button(f"{WORDS[verb][0]}…", act, icon=icon, kind="flat").props("dense")

    async def _act(self, verb: Verb) -> None:
        chosen = {"ids": self._picked} if self._picked else self._find_filter()
        body: dict[str, Any] = {"filter": chosen, "all": not chosen, "dry_run": True}
        if verb == "prioritize":
            priority = await _ask_priority()
            if priority is None:
                return
            body["priority"] = priority
        told = await self._visit.api.post(f"/api/v1/jobs/{verb}", body)
        count = told["count"]
        do, says, _ = WORDS[verb]
        if not count:
            tell(f"None of them can be {_past(verb)}.", tone="info")
            return
        jobs = _say_jobs(count)
        meant = await ask(
            f"{do} {jobs}?",
            f"{says} {_say_price(told)}".strip(),
            do=f"{do} {jobs}",
            danger=verb == "cancel",
        )
        if not meant:
            return
        if verb == "retry":  # what fails again meanwhile is not sent once more
            body["filter"] = {**chosen, "ended_before": told["ended_before"]}
        await attempt(lambda: self._walk(verb, body))
        self._progress.set_text("")
        await self._done()

    async def _walk(self, verb: Verb, body: dict[str, Any]) -> str:
        done, cursor = 0, None
        while True:
            request = {**body, "dry_run": False, "cursor": cursor}
            reply = await self._visit.api.post(f"/api/v1/jobs/{verb}", request)
            done, cursor = done + reply["count"], reply["next"]
            if cursor is None:
                return f"{WORDS[verb][2]} {_say_jobs(done)}."
            self._progress.set_text(f"{done:,} done, {reply['left']:,} to go")


async def _ask_priority() -> int | None:
    fields: list[Any] = []

    def draw() -> None:
        options = {level: f"{level}" for level in range(HIGHEST, LOWEST - 1, -1)}
        options[HIGHEST] += ", the first"
        options[USUAL] += ", as usual"
        options[LOWEST] += ", the last"
        fields.append(ui.select(options, value=USUAL, label="Priority").props("outlined"))

    words = "Of those that wait to be sent. The next step counts them."
    if not await ask("Which priority?", words, do="Count them", draw=draw):
        return None
    return int(fields[0].value)


def _say_jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}"


def _say_price(told: dict[str, Any]) -> str:
    if told["estimate_usd"] is None:
        return ""
    unpriced = f", and {told['unpriced']:,} have no known price" if told["unpriced"] else ""
    return f"That may cost {say_usd(told['estimate_usd'])}{unpriced}."


def _past(verb: Verb) -> str:
    return {"cancel": "cancelled", "retry": "retried", "prioritize": "moved"}[verb]
