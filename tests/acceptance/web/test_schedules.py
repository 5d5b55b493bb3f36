"""Schedules in a browser: what one types says when it fires, or why it never does."""

import re
from contextlib import contextmanager
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from models.key import Scope
from tests.acceptance.web.conftest import DIALOG, check_axe
from tests.integration.conftest import FLUX

PATH = "/api/v1/schedules"
ENDED_MS = 90_000


@contextmanager
def kept(api, cron="0 2 * * *"):
    """A schedule of two jobs, removed at last."""
    spec = {
        "name": f"nightly {uuid4()}",
        "endpoint": FLUX,
        "prompts": ["a fox", "an owl"],
        "input": {"width": 256, "height": 256},
        "schedule": {"cron": cron},
    }
    made = api.post(PATH, json={"specification": spec})
    assert made.status_code == 201, made.text
    try:
        yield made.json()
    finally:
        api.delete(f"{PATH}/{made.json()['id']}").raise_for_status()


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


def test_one_is_run_now_and_its_campaign_is_a_click_away(visit, api):
    with kept(api) as schedule:
        page = visit("/schedules")
        page.get_by_role("button", name=f"Run now: {schedule['name']}").click()
        dialog = page.get_by_role("alertdialog", name=f"Run {schedule['name']} now?")
        expect(dialog).to_contain_text("2 jobs, about $")
        check_axe(page, within=DIALOG)
        dialog.get_by_role("button", name="Leave it").click()
        assert api.get(f"{PATH}/{schedule['id']}").json()["runs"] == []

        page.get_by_role("link", name=schedule["name"]).click()
        page.get_by_role("button", name="Run now").click()
        page.get_by_role("button", name="Run it now").click()
        runs = page.get_by_role("table", name="Last runs")
        expect(runs).to_contain_text("started")
        runs.get_by_role("link", name="Open").click()
        page.wait_for_url("**/web/campaigns/*")
        expect(page.get_by_role("img", name=re.compile("^2 done"))).to_be_visible(timeout=ENDED_MS)


def test_runs_of_the_past_are_shown_before_they_are_run(visit, api):
    with kept(api, "0 0 1 1 *") as schedule:
        page = visit(f"/schedules/{schedule['id']}")
        page.get_by_label("From, in UTC").fill("2024-06-01T00:00")
        page.get_by_label("To, in UTC").fill("2024-07-01T00:00")
        page.get_by_role("button", name="See what is missing").click()
        expect(page.get_by_text("Nothing is missing in that time.")).to_be_visible()

        page.get_by_label("To, in UTC").fill("2026-02-01T00:00")
        page.get_by_role("button", name="See what is missing").click()
        dialog = page.get_by_role("alertdialog", name="Run 2 runs of the past?")
        expect(dialog.locator("li")).to_have_text(
            [re.compile("2025-01-01"), re.compile("2026-01-01")]
        )
        expect(dialog).to_contain_text("4 jobs, about $")
        check_axe(page, within=DIALOG)
        dialog.get_by_role("button", name="Run 2 runs").click()
        expect(page.get_by_text("2 wait to be run.")).to_be_visible()
        done = page.get_by_role("table", name="Last runs").get_by_text("started, over")
        expect(done).to_have_count(2, timeout=ENDED_MS)


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
