"""Money: what was spent, the walls that hold it in, and what nobody knows the outcome of."""

from gateway.web.console.money_budgets import draw_budgets
from gateway.web.console.money_doubts import draw_doubts
from gateway.web.console.money_spend import draw_spend
from gateway.web.console.money_window import USUAL
from gateway.web.page import page
from gateway.web.parts.heads import page_head
from gateway.web.parts.tags import text
from gateway.web.visit import Visit


@page("/money", title="Money")
async def money(
    visit: Visit,
    *,
    span: str = USUAL,
    zone: str = "UTC",
    first: str = "",
    last: str = "",
    by: str = "endpoint",
) -> None:
    with page_head("Money", "What was spent, what holds it in, and what nobody knows of."):
        pass
    if not visit.may_operate:
        words = "You see the jobs and budgets of your own key. Those of all take the scope operate."
        text("p", words, "pr-about")
    draw_spend(visit, span=span, zone=zone, first=first, last=last, by=by)
    draw_budgets(visit)
    draw_doubts(visit)
