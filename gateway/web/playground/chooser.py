"""A button that shows the chosen endpoint, and opens all of them to choose another."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nicegui.element import Element
from nicegui.events import GenericEventArguments

from gateway.web.parts.acts import attempt
from gateway.web.playground.price import say_price
from gateway.web.visit import Visit
from gateway.words import say_seconds

LONGEST_NAME = 128  # of an endpoint, as the API takes it

OnChoose = Callable[[str], Awaitable[None]]


class Chooser(Element, component="chooser.js"):
    """Any endpoint of the catalogue, or one that is named freely.

    Args:
        endpoints: as `GET /api/v1/endpoints` gives them.
        chosen: the id that is shown at first; None: none yet.
        on_choose: is told the id.
    """

    def __init__(
        self,
        visit: Visit,  # noqa: ARG002 -- all parts of the room are given it
        endpoints: Sequence[dict[str, Any]],
        chosen: str | None,
        on_choose: OnChoose,
    ) -> None:
        super().__init__()
        self.props["endpoints"] = [_as_row(one) for one in endpoints]
        self.set(chosen)

        async def told(event: GenericEventArguments) -> None:
            named = event.args
            if not isinstance(named, str) or not 0 < len(named) <= LONGEST_NAME:
                return
            self.set(named)
            await attempt(lambda: on_choose(named))

        self.on("choose", told)

    def set(self, chosen: str | None) -> None:
        """Show this one; nobody is told."""
        self.props["current"] = chosen or ""


def fastest_image(endpoints: Sequence[dict[str, Any]]) -> str | None:
    """What a first visitor is given: a picture for no more than a prompt, the soonest."""
    makers = [one for one in endpoints if one["task"] == "text-to-image"]
    return min(makers, key=seconds_of)["id"] if makers else None


def seconds_of(endpoint: dict[str, Any]) -> float:
    """As measured here; until anything was, as documented."""
    measured = endpoint["measured"]
    return float(measured["p50_seconds"] if measured else endpoint["typical_seconds"])


def say_speed(endpoint: dict[str, Any]) -> str:
    took = say_seconds(seconds_of(endpoint))
    return f"{took} here" if endpoint["measured"] else f"{took} by its page"


def _as_row(endpoint: dict[str, Any]) -> dict[str, Any]:
    tasks = ", ".join((endpoint["task"], *endpoint["also"]))
    searched = " ".join(
        (
            *(endpoint[name] for name in ("id", "name", "kind", "about")),
            tasks,
            *endpoint["aliases"],
            *endpoint["openai_models"],
        )
    )
    return {
        "id": endpoint["id"],
        "name": endpoint["name"],
        "kind": endpoint["kind"],
        "about": endpoint["about"],
        "task_words": tasks.replace("-", " ").capitalize(),
        "searched": searched.lower(),
        "usd": endpoint["estimate_usd"],
        "price_words": say_price(endpoint["estimate_usd"], endpoint["estimate_basis"]),
        "seconds": seconds_of(endpoint),
        "speed_words": say_speed(endpoint),
    }
