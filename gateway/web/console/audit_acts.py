"""Acts as the page lists them: a line each, and what was other afterwards."""

import json
from collections.abc import Sequence
from typing import Any

from nicegui.element import Element

PAGES = {  # of what an act was done to
    "budget.set": "/money/budgets/{}",
    "campaign.": "/campaigns/{}",
    "schedule.": "/schedules/{}",
}
TONES = {"remove": "bad", "revoke": "bad", "cancel": "bad", "pause": "warn", "drain": "warn"}
LONGEST = 300  # characters of a value


class ActLog(Element, component="audit_acts.js"):
    """Args: as `describe_act` makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.props["acts"] = []

    def set(self, acts: Sequence[dict[str, Any]]) -> None:
        """Nothing is sent if they are as they were."""
        if self.props["acts"] != list(acts):
            self.props["acts"] = list(acts)


def describe_act(act: dict[str, Any]) -> dict[str, Any]:
    action: str = act["action"]
    verb = action.partition(".")[2]
    page = next((page for name, page in PAGES.items() if action.startswith(name)), None)
    return {
        "id": act["id"],
        "at": act["at"],
        "actor": act["actor"],
        "source": act["source"] or "",
        "request": act["request_id"] or "",
        "action": action,
        "tone": TONES.get(verb, "plain"),
        "target": act["target"],
        "href": page.format(act["target"]) if page and _is_id(act["target"]) else "",
        "changes": list_changes(act["before"], act["after"]),
    }


def list_changes(
    before: dict[str, Any] | None, after: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """What is other, field by field; of what is only there before or after, all of it."""
    fields = list(dict.fromkeys([*(before or {}), *(after or {})]))
    changes = []
    for field in fields:
        old, new = (before or {}).get(field), (after or {}).get(field)
        if old == new:
            continue
        changes.append(
            {
                "field": field.replace("_", " "),
                "old": None if before is None or old is None else _say(old),
                "new": None if after is None or new is None else _say(new),
            }
        )
    return changes


def _say(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        words = ", ".join(value)
    else:
        words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"


def _is_id(target: str) -> bool:
    return len(target) == len("00000000-0000-0000-0000-000000000000")
