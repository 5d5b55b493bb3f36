"""Money: figures as the API has them, walls that hold, and what a key sees of its own."""

import datetime as dt
import re
import time
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import Page, expect

from gateway.words import say_usd
from models.key import Scope
from tests.acceptance.web.conftest import DIALOG, NARROW, SECONDS, check_axe

FAST = "black-forest-labs-flux-1-schnell"
ENDED_SECONDS = 90.0  # that two jobs may take
HOSTILE = "<script>alert(1)</script>"
CAMPAIGN = {"name": HOSTILE, "endpoint": FAST, "tags": ["spring"], "prompts": ["a fox", "an owl"]}


@dataclass(frozen=True)
class Studio:
    """A key of its own, so that what others spend meanwhile is not in its figures.

    Args:
        usd: what its two jobs came to, as the API sums it up.
    """

    key: str
    usd: float


@pytest.fixture(scope="module")
def studio(api, site) -> Studio:
    key = api.post("/api/v1/keys", json={"name": "studio", "scopes": ["run"]}).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=site.base, headers=headers, timeout=SECONDS) as own:
        body = {"spec": CAMPAIGN, "dry_run": False}
        campaign = own.post("/api/v1/campaigns", json=body).raise_for_status().json()
        deadline = time.monotonic() + ENDED_SECONDS
        while not own.get(f"/api/v1/campaigns/{campaign['campaign_id']}").json()["completed_at"]:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        spend = own.get("/api/v1/spend", params={"by": "endpoint"}).json()["spend"]
    return Studio(key, float(sum(one["usd"] for one in spend)))


def tile(page: Page, name: str):
    return page.locator(".pr-tile", has=page.get_by_text(name, exact=True)).locator(".pr-figure")


def names_of_budgets(api) -> set[str]:
    return {one["name"] for one in api.get("/api/v1/budgets").json()["budgets"]}


def test_the_figures_are_those_of_the_api(visit, studio):
    page = visit("/money", key=studio.key)
    assert studio.usd > 0
    expect(tile(page, "Spent")).to_have_text(say_usd(studio.usd))
    ranked = page.get_by_role("table", name="Spend by endpoint").get_by_role("row")
    expect(ranked.filter(has_text=FAST)).to_contain_text(say_usd(studio.usd))
    page.get_by_text("As a table").click()
    today = page.get_by_role("table", name="Spend by day").get_by_role("row").nth(1)
    expect(today).to_contain_text(say_usd(studio.usd))


def test_what_it_was_spent_on_is_chosen_and_kept_in_the_address(visit, studio):
    page = visit("/money", key=studio.key)
    page.get_by_role("button", name="Campaign", exact=True).click()
    row = page.get_by_role("table", name="Spend by campaign").get_by_role("row")
    expect(row.filter(has_text=HOSTILE)).to_contain_text(say_usd(studio.usd))
    expect(page).to_have_url(re.compile(r"by=campaign"))
    page.reload()
    expect(page.get_by_role("table", name="Spend by campaign")).to_contain_text(HOSTILE)


def test_days_and_their_zone_are_chosen(visit):
    page = visit("/money?span=own&zone=Pacific/Auckland&first=2020-01-01&last=2020-01-05")
    expect(page.get_by_text("Nothing was spent in these days")).to_be_visible()
    page.get_by_text("As a table").click()
    days = page.get_by_role("table", name="Spend by day").get_by_role("row")
    expect(days).to_have_count(6)
    page.get_by_label("Last day").fill("2019-12-31")
    expect(page.get_by_text("The last day is before the first.")).to_be_visible()
    page.get_by_label("Last day").fill("2020-01-02")
    expect(days).to_have_count(3)
    page.get_by_label("Time zone", exact=True).fill("Mars/Olympus")
    expect(page.get_by_text("A time zone was wanted")).to_be_visible()
    page.get_by_label("Time zone", exact=True).fill("UTC")
    page.get_by_role("button", name="Today").click()
    expect(page.get_by_text("As a table")).to_be_hidden()
    expect(page).to_have_url(re.compile(r"span=today&zone=UTC"))


def test_a_new_budget_is_a_wall_until_it_is_raised_and_removed(visit, api):
    page = visit("/money")
    page.get_by_role("button", name="Set a budget").click()
    form = page.get_by_role("dialog", name="Set a budget")
    form.get_by_label("Name").fill("a small wall")
    form.get_by_label("Limit").fill("0.000001")
    form.get_by_label("Whose spend it holds").click()
    page.get_by_role("option", name="a tag").click()
    form.get_by_label("Tag of campaigns").fill("autumn")
    form.get_by_role("button", name="Set the budget").click()
    row = page.get_by_role("table", name="Budgets").get_by_role("row").filter(has_text="small wall")
    expect(row).to_contain_text("tag autumn")

    body = {"spec": CAMPAIGN | {"name": "held", "tags": ["autumn"]}, "dry_run": False}
    campaign = api.post("/api/v1/campaigns", json=body).json()["campaign_id"]
    expect(row).to_contain_text("2 jobs wait")

    row.get_by_role("link", name="a small wall").click()
    held = page.get_by_role("table", name="Whose jobs it holds")
    expect(held).to_contain_text("held")
    expect(page.get_by_role("table", name="Movements")).to_contain_text("limit set")
    page.get_by_role("button", name="Change").click()
    form = page.get_by_role("dialog", name="Change a small wall")
    form.get_by_label("Limit").fill("5")
    form.get_by_role("button", name="Change the budget").click()
    expect(page.get_by_text("It holds nothing")).to_be_visible()
    expect(page.get_by_role("table", name="Movements")).to_contain_text("spent", timeout=60_000)
    assert api.get(f"/api/v1/campaigns/{campaign}").json()["held_by"] == []

    remove = page.get_by_role("button", name="Remove", exact=True)
    remove.click()
    page.get_by_role("button", name="Leave it").click()
    expect(page.get_by_role("alertdialog")).to_have_count(0)
    remove.click()
    page.get_by_role("button", name="Remove the budget").click()
    page.wait_for_url("**/web/money")
    expect(page.get_by_role("button", name="Set a budget")).to_be_visible()
    expect(page.get_by_role("link", name="a small wall")).to_have_count(0)
    assert "a small wall" not in names_of_budgets(api)


def test_what_is_wrong_with_a_budget_is_said_where_it_was_typed(visit, api):
    page = visit("/money")
    page.get_by_role("button", name="Set a budget").click()
    form = page.get_by_role("dialog", name="Set a budget")
    form.get_by_label("Name").fill("no limit")
    form.get_by_role("button", name="Set the budget").click()
    expect(form.get_by_role("alert")).to_contain_text("limit_usd")
    expect(form.get_by_label("Name")).to_have_value("no limit")
    form.get_by_role("button", name="Leave it").click()
    expect(form).to_have_count(0)
    assert "no limit" not in names_of_budgets(api)


def test_a_key_sees_its_own_money_and_changes_none(visit, api):
    made = api.post("/api/v1/budgets", json={"name": "of others", "limit_usd": 900}).json()
    page = visit("/money", Scope.READ)
    expect(page.get_by_text("Those of all take the scope operate.")).to_be_visible()
    expect(tile(page, "Spent")).to_have_text("$0.00")
    expect(page.get_by_text("No budget is of your key")).to_be_visible()
    expect(page.get_by_role("button", name="Set a budget")).to_have_count(0)
    expect(page.get_by_role("button", name="Key", exact=True)).to_have_count(0)
    page.goto(f"/web/money/budgets/{made['id']}")
    expect(page.get_by_text(f"no budget has the id '{made['id']}'")).to_be_visible()
    api.delete(f"/api/v1/budgets/{made['id']}").raise_for_status()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_money_is_open_to_all(visit, api, theme):
    made = api.post("/api/v1/budgets", json={"name": HOSTILE, "limit_usd": 900}).json()
    page = visit("/money", theme=theme)
    expect(tile(page, "Spent")).to_be_visible()
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    expect(page.get_by_role("heading", name="Unknown outcomes")).to_be_visible()
    check_axe(page)
    page.get_by_role("button", name="Set a budget").click()
    expect(page.get_by_role("dialog", name="Set a budget")).to_be_visible()
    check_axe(page, within=DIALOG)
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page.goto(f"/web/money/budgets/{made['id']}")
    expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
    check_axe(page)
    api.delete(f"/api/v1/budgets/{made['id']}").raise_for_status()


def test_the_days_of_a_window_are_whole():
    """Of a zone with a day of 25 hours."""
    from gateway.web.console.money_window import read_window  # noqa: PLC0415 -- NiceGUI's, apart

    window = read_window("own", "Europe/Berlin", "2026-10-25", "2026-10-25")
    length = window.until.astimezone(dt.UTC) - window.since.astimezone(dt.UTC)
    assert length == dt.timedelta(hours=25)
