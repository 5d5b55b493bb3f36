"""Schedules in a browser: what one types says when it fires, or why it never does."""

from uuid import uuid4

import pytest
from playwright.sync_api import expect

from models.key import Scope
from tests.acceptance.web.conftest import check_axe


def test_the_coming_runs_follow_what_is_typed(visit):
    page = visit("/schedules/new")
    expect(page.get_by_text("At 02:00 every day, UTC")).to_be_visible()
    page.get_by_label("Cron").fill("30 3 * * *")
    expect(page.get_by_text("At 03:30 every day, UTC")).to_be_visible()
    fires = page.locator(".pr-fires li")
    expect(fires).to_have_count(10)
    expect(fires.first).to_contain_text("03:30 (+0000)")
    page.get_by_label("Cron").fill("0 25 * * *")
    expect(page.locator(".pr-note")).to_contain_text("minute, hour, day of month")
    expect(fires).to_have_count(0)


def test_one_is_made_paused_and_removed(visit, api):
    page = visit("/schedules/new")
    name = f"nightly {uuid4()}"
    words = page.get_by_label("Specification")
    words.fill(words.input_value().replace("nightly", name))
    page.get_by_role("button", name="Make the schedule").click()
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove it").click()
    page.wait_for_url("**/web/schedules")
    assert name not in {one["name"] for one in api.get("/api/v1/schedules").json()["schedules"]}


def test_a_key_that_does_not_operate_has_none(visit):
    page = visit("/schedules", Scope.READ)
    expect(page.get_by_text("Your key does not operate")).to_be_visible()
    expect(page.get_by_role("button", name="Make a schedule")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_them(visit, theme):
    page = visit("/schedules/new", theme=theme)
    expect(page.get_by_text("At 02:00 every day, UTC")).to_be_visible()
    check_axe(page)
    page.goto("/web/schedules")
    none_yet = page.get_by_text("No schedules yet")
    expect(none_yet.or_(page.get_by_role("table"))).to_be_visible()  # others may have made some
    check_axe(page)
