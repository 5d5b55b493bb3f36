"""What can be done about a campaign: pause, pace, budget, retry, cancel."""

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from gateway.web.console.campaign_words import runs_on
from gateway.web.parts.acts import act_button
from gateway.web.parts.ask import ask
from gateway.web.parts.tags import box
from gateway.web.visit import Visit
from gateway.words import say_usd
from tasks.campaigns.span import parse_span


class CampaignActs:
    """Buttons, shown as far as they apply; a key that only reads has none.

    Attributes:
        on_done: is called after each act.
    """

    on_done: Callable[[], Awaitable[None]]

    def __init__(self, visit: Visit, path: str) -> None:
        self._visit, self._path = visit, path
        self._one: dict[str, Any] = {}
        self._buttons: dict[str, ui.button] = {}
        if not visit.may_run:
            return
        self._add("pause", "Pause", self._pause, "pause")
        self._add("resume", "Resume", self._resume, "play_arrow")
        self._add("pace", "Pace", self._pace, "speed")
        if visit.may_operate:
            self._add("budget", "Budget", self._set_budget, "savings")
        self._add("retry", "Retry what failed", self._retry, "replay")
        self._add("cancel", "Cancel", self._cancel, "block")

    def show(self, one: dict[str, Any]) -> None:
        self._one = one
        goes_on = runs_on(one)
        shown = {
            "pause": goes_on and not one["paused"],
            "resume": goes_on and one["paused"],
            "pace": goes_on,
            "budget": True,
            "retry": one["failed"] > 0,
            "cancel": goes_on,
        }
        for name, button in self._buttons.items():
            button.set_visibility(shown[name])

    def _add(
        self, name: str, words: str, act: Callable[[], Awaitable[str | None]], icon: str
    ) -> None:
        async def done() -> str | None:
            said = await act()
            await self.on_done()
            return said

        self._buttons[name] = act_button(words, done, icon=icon)
        self._buttons[name].set_visibility(False)

    async def _pause(self) -> str:
        one = await self._visit.api.patch(self._path, {"paused": True})
        return f"Paused. {one['running']:,} jobs run on; nothing more is sent."

    async def _resume(self) -> str:
        await self._visit.api.patch(self._path, {"paused": False})
        return "It goes on."

    async def _pace(self) -> str | None:
        fields: dict[str, Any] = {}

        def draw() -> None:
            with box(classes="pr-stack"):
                fields["over"] = ui.input(
                    "Spread what waits over, such as 2h", validation={"Such as 90s or 2h": _is_span}
                ).props("outlined dense")
                fields["none"] = ui.checkbox("No pace: as fast as the limits allow")
                fields["over"].bind_enabled_from(
                    fields["none"], "value", backward=lambda no: not no
                )
                fields["flight"] = ui.number(
                    "Jobs at once, at most", min=1, precision=0, value=self._one["max_in_flight"]
                ).props("outlined dense")

        words = "What was sent stays as it is. Empty: the pace stays, and any number goes at once."
        if not await ask("Give it another pace?", words, do="Set the pace", draw=draw):
            return None
        flight = fields["flight"].value
        body: dict[str, Any] = {"max_in_flight": int(flight) if flight else None}
        if fields["none"].value:
            body["over_seconds"] = None
        elif fields["over"].value:
            if not _is_span(fields["over"].value):
                return "The pace stays: a duration such as 90s, 30m or 2h was wanted."
            body["over_seconds"] = parse_span(fields["over"].value)
        await self._visit.api.patch(self._path, body)
        return "It has another pace."

    async def _set_budget(self) -> str | None:
        fields: dict[str, Any] = {}
        [budget] = self._one["budgets"][:1] or [None]

        def draw() -> None:
            fields["usd"] = ui.number(
                "USD at most", min=0, value=budget["limit_usd"] if budget else None
            ).props("outlined dense step=any")
            fields["cap"] = ui.select(
                {
                    "pause": "The rest waits for more",
                    "finish_in_flight": "The rest is rejected",
                    "stop": "The rest is rejected, what runs is cancelled",
                },
                value=budget["at_cap"] if budget else "pause",
                label="At the wall",
            ).props("outlined dense")

        spent = say_usd(self._one["cost_usd"])
        words = f"{spent} are spent so far, of about {say_usd(self._one['estimate_usd'])}."
        if not await ask("What may it cost?", words, do="Set the budget", draw=draw):
            return None
        if not fields["usd"].value:
            return "The budget stays: an amount was wanted."
        terms = {"limit_usd": fields["usd"].value, "at_cap": fields["cap"].value}
        if budget:
            await self._visit.api.patch(f"/api/v1/budgets/{budget['id']}", terms)
        else:
            campaign_id = self._one["campaign_id"]
            name = f"campaign {self._one['name']}"[:200]
            body = {**terms, "name": name, "campaign_id": campaign_id}
            await self._visit.api.post("/api/v1/budgets", body)
        return "The budget is set."

    async def _retry(self) -> str | None:
        dry = await self._visit.api.post(f"{self._path}/retry", {"dry_run": True})
        jobs = f"{dry['count']:,} job{'' if dry['count'] == 1 else 's'}"
        words = f"It costs about {say_usd(dry['estimate_usd'])} anew."
        if not await ask(f"Retry {jobs}?", words, do=f"Retry {jobs}"):
            return None
        told = await self._visit.api.post(f"{self._path}/retry", {"dry_run": False})
        return f"{told['count']:,} are queued again."

    async def _cancel(self) -> str | None:
        one = self._one
        words = (
            f"{one['queued']:,} that wait are not sent. {one['running']:,} that run are cancelled "
            "upstream; what they did so far may be billed. What is done stays."
        )
        if not await ask("Cancel the campaign?", words, do="Cancel it", danger=True):
            return None
        await self._visit.api.post(f"{self._path}/cancel")
        return "It is cancelled."


def _is_span(said: str) -> bool:
    try:
        return not said or parse_span(said) > 0
    except ValueError:
        return False
