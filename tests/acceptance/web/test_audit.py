"""The audit log as people read it: live, filtered, page by page."""

import re

import pytest
from playwright.sync_api import expect

from models.key import Scope
from tests.acceptance.web.conftest import NARROW, check_axe

LANE = "/api/v1/lanes/submit/p-video"
HOSTILE = "<script>alert(1)</script>"


def acts(page):
    return page.get_by_role("list", name="Acts, the latest first").get_by_role("listitem")


def test_an_act_on_another_page_is_seen_as_it_happens(visit):
    page = visit("/audit?action=key.create")
    other = visit("/keys")
    other.get_by_role("button", name="Make a key").click()
    form = other.get_by_role("dialog", name="Make a key")
    form.get_by_label("Name").fill("made elsewhere")
    form.get_by_role("button", name="Make the key").click()
    other.get_by_role("button", name="I have it").click()

    expect(acts(page).first).to_contain_text("made elsewhere")
    expect(acts(page).first).to_contain_text("operate-run")
    expect(acts(page).first).to_contain_text("pages")


def test_what_was_other_is_shown_before_and_after(visit, api):
    made = api.post("/api/v1/keys", json={"name": "weighed", "weight": 2}).json()
    api.patch(f"/api/v1/keys/{made['id']}", json={"weight": 3}).raise_for_status()
    page = visit(f"/audit?action=key.weigh&target={made['id']}")
    expect(acts(page)).to_have_count(1)
    expect(acts(page).locator("del")).to_have_text("2.0")
    expect(acts(page).locator("ins")).to_have_text("3.0")
    expect(acts(page).locator("dt")).to_have_text(["weight"])


def test_acts_are_filtered_and_the_filter_stands_in_the_address(visit, api):
    api.patch(LANE, json={"paused": True, "reason": HOSTILE}).raise_for_status()
    api.patch(LANE, json={"paused": False}).raise_for_status()
    page = visit("/audit")
    page.get_by_label("To what").fill("p-video")
    expect(acts(page).first).to_contain_text("lane.resume")
    page.get_by_label("Did").click()
    page.get_by_role("option", name="lane.pause").click()
    expect(acts(page).first).to_contain_text("lane.pause")
    expect(acts(page).first.locator("ins").filter(has_text=HOSTILE)).to_be_visible()
    expect(page).to_have_url(re.compile(r"action=lane\.pause&target=p-video"))
    page.reload()
    expect(acts(page).first).to_contain_text("lane.pause")
    page.get_by_label("Who").fill("nobody of this name")
    expect(page.get_by_text("Nobody did anything like it")).to_be_visible()
    page.get_by_label("Who").fill("")
    page.get_by_label("From, UTC").fill("2099-01-01T00:00")
    expect(page.get_by_text("Nobody did anything like it")).to_be_visible()


def test_older_acts_are_a_page_away_and_stay_as_they_are(visit, api):
    for _ in range(26):
        api.patch(LANE, json={"paused": True}).raise_for_status()
        api.patch(LANE, json={"paused": False}).raise_for_status()
    page = visit("/audit?target=p-video")
    expect(acts(page)).to_have_count(50)
    page.get_by_role("button", name="Older").click()
    expect(page).to_have_url(re.compile("cursor="))
    expect(page.get_by_role("button", name="Older")).to_be_hidden()
    oldest = acts(page).last.inner_text()
    api.patch(LANE, json={"paused": True}).raise_for_status()
    page.reload()
    expect(acts(page).last).to_contain_text(oldest.splitlines()[1])
    page.get_by_role("button", name="Latest").click()
    expect(acts(page).first).to_contain_text("lane.pause")
    expect(acts(page)).to_have_count(50)
    api.patch(LANE, json={"paused": False}).raise_for_status()


@pytest.mark.parametrize("scope", [Scope.READ, Scope.RUN])
def test_who_does_not_operate_is_told_which_scope_it_takes(visit, scope):
    page = visit("/audit", scope)
    expect(page.get_by_text("The audit log takes the scope operate")).to_be_visible()
    expect(page.get_by_role("list", name="Acts, the latest first")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_audit_log_is_open_to_all(visit, api, theme):
    api.patch(LANE, json={"paused": True, "reason": "to be looked at"}).raise_for_status()
    api.patch(LANE, json={"paused": False}).raise_for_status()
    page = visit("/audit", theme=theme)
    expect(acts(page).first).to_be_visible()
    check_axe(page)
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page.goto("/web/audit?action=nothing")
    expect(page.get_by_text("Nobody did anything like it")).to_be_visible()
    check_axe(page)
