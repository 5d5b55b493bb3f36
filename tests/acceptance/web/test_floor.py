"""The floor: who looks sees what runs, waits and is wrong; who operates stops it and lets it go."""

import re
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from models.key import Scope
from tests.acceptance.web.conftest import NARROW, at_fault, check_axe

PAUSED, CLOSED, LIMITED, SHOWN = (
    "black-forest-labs-flux-1-dev",
    "black-forest-labs-flux-1-schnell",
    "z-image-turbo",
    "seedream-v4-t2i",
)
HOSTILE = "<script>alert(1)</script>"
PATH = "/api/v1/lanes/submit"


def test_an_empty_floor_says_how_to_get_a_first_job(visit, api):
    for lane in api.get("/api/v1/lanes").json()["lanes"]:
        resume(api, lane["endpoint"])
    page = visit("/floor")
    expect(page.get_by_text("Nothing runs, and nothing waits")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("region", name="A first job")).to_contain_text("pressroom generate")
    expect(page.get_by_text("No job waits to be sent.")).to_be_visible()


def test_a_lane_that_is_paused_stops_and_the_audit_log_names_who_did_it(visit, api):
    hand_in(api, PAUSED)
    page = visit("/floor")
    page.get_by_text("Show all lanes").click()

    page.get_by_role("button", name=f"Pause the submit lane of {PAUSED}").click()
    page.get_by_label("Reason").fill(HOSTILE)
    page.get_by_role("button", name="Pause the lane").click()

    row = row_of(page, PAUSED, "submit: send")
    expect(row).to_contain_text("paused")
    expect(row).to_contain_text(HOSTILE)
    job_id = hand_in(api, PAUSED)
    expect(page.get_by_label("Longest waits")).to_contain_text(PAUSED)
    job = api.get(f"/api/v1/jobs/{job_id}", params={"wait": 1}).json()
    assert (job["state"], job["waiting"]["cause"]) == ("queued", "lane_paused")
    [act] = api.get("/api/v1/audit", params={"limit": 1}).json()["acts"]
    assert (act["action"], act["target"]) == ("lane.pause", f"submit/{PAUSED}")
    assert act["key_id"] == key_id_of(api, "operate-run")

    page.get_by_role("button", name=f"Resume the submit lane of {PAUSED}").click()
    expect(row).not_to_contain_text("paused")
    assert api.get(f"/api/v1/jobs/{job_id}", params={"wait": 30}).json()["state"] == "completed"


def test_a_closed_lane_counts_down_and_its_alarm_names_what_to_read(visit, api, site):
    fault = {"kind": "busy", "endpoint": CLOSED, "operation": "run", "retry_after": 200}
    with at_fault(site, fault):
        hand_in(api, CLOSED)
        page = visit("/floor")
        row = row_of(page, CLOSED, "submit: send")
        expect(row).to_contain_text("closed")
        left = row.get_by_role("timer")
        expect(left).to_have_text(re.compile(r"Tried again in \d:\d\d"))
        before = left.inner_text()
        expect(left).not_to_have_text(before)
        assert seconds_of(left.inner_text()) < seconds_of(before)
        alarms = page.get_by_label("Alarms")
        expect(alarms).to_contain_text(f"The submit lane of {CLOSED} is closed")
        expect(alarms).to_contain_text("docs/runbooks/lane-closed.md")

    page.get_by_role("button", name=f"Resume the submit lane of {CLOSED}").click()
    expect(alarms).not_to_contain_text(CLOSED)
    expect(left).to_have_count(0)


def test_a_limit_is_changed_and_put_back(visit, api):
    hand_in(api, LIMITED)
    page = visit("/floor")
    page.get_by_text("Show all lanes").click()
    change = page.get_by_role("button", name=f"Change the limit of the submit lane of {LIMITED}")

    change.click()
    page.get_by_label("Calls in 10 s").fill("50")
    page.get_by_role("button", name="Change the limit", exact=True).click()

    expect(row_of(page, LIMITED, "submit: send")).to_contain_text("of 50 in 10 s")
    lane = api.get(f"{PATH}/{LIMITED}").json()
    assert lane["limits"]["operator"]["per_10_seconds"] == 50
    change.click()
    page.get_by_text("Back to the documented limit").click()
    page.get_by_role("button", name="Change the limit", exact=True).click()
    expect(row_of(page, LIMITED, "submit: send")).not_to_contain_text("of 50 in 10 s")


def test_more_than_documented_is_refused_unless_it_is_meant(visit, api):
    hand_in(api, LIMITED)
    page = visit("/floor")
    page.get_by_text("Show all lanes").click()
    page.get_by_role("button", name=f"Change the limit of the submit lane of {LIMITED}").click()
    page.get_by_label("Calls in 10 s").fill("900000")
    page.get_by_role("button", name="Change the limit", exact=True).click()
    expect(page.get_by_text("more than the upstream documents")).to_be_visible()
    assert api.get(f"{PATH}/{LIMITED}").json()["limits"]["operator"]["per_10_seconds"] is None


def test_maintenance_is_begun_seen_by_all_and_ended(visit, api):
    page = visit("/floor")
    other = visit("/floor", Scope.READ)
    page.get_by_role("button", name="Begin maintenance").click()
    page.get_by_label("Reason").fill("the upstream moves")
    page.get_by_role("alertdialog").get_by_role("button", name="Begin maintenance").click()

    for each in (page, other):
        expect(each.get_by_text("Maintenance: the upstream moves")).to_be_visible()
    assert api.get("/api/v1/maintenance").json()["on"] is True
    page.get_by_role("button", name="End maintenance").click()
    for each in (page, other):
        expect(each.get_by_text("Maintenance: the upstream moves")).to_be_hidden()
    assert api.get("/api/v1/maintenance").json()["on"] is False


def test_workers_and_money_are_on_the_floor(visit):
    page = visit("/floor")
    expect(page.get_by_label("Workers")).to_contain_text("worker-1@")
    expect(page.get_by_text("all well")).to_be_visible()
    expect(page.locator(".pr-tile", has_text="Spent this hour")).to_contain_text("$")


def test_who_only_reads_has_nothing_to_click(visit, api):
    with paused(api, SHOWN):
        hand_in(api, SHOWN)
        page = visit("/floor", Scope.READ)
        expect(row_of(page, SHOWN, "submit: send")).to_contain_text("paused")
        levers = re.compile("Pause|Resume|Drain|limit|maintenance")
        expect(page.get_by_role("button", name=levers)).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_the_floor(visit, api, theme):
    with paused(api, SHOWN):
        hand_in(api, SHOWN)
        page = visit("/floor", theme=theme)
        expect(row_of(page, SHOWN, "submit: send")).to_contain_text("paused")
        check_axe(page)


def test_on_a_phone_nothing_is_cut_off(visit, api):
    with paused(api, SHOWN):
        hand_in(api, SHOWN)
        page = visit("/floor", size=NARROW)
        resume_button = page.get_by_role("button", name=f"Resume the submit lane of {SHOWN}")
        resume_button.scroll_into_view_if_needed()
        expect(resume_button).to_be_in_viewport(ratio=1)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]


def hand_in(api, endpoint):
    asked = {"endpoint": endpoint, "input": {"prompt": "a lighthouse at dusk"}}
    response = api.post("/api/v1/jobs", json=asked)
    assert response.is_success, response.text
    return response.json()["id"]


def row_of(page, endpoint, stage):
    return page.get_by_role("row").filter(has_text=endpoint).filter(has_text=stage)


def resume(api, endpoint):
    api.patch(f"{PATH}/{endpoint}", json={"paused": False}).raise_for_status()


def key_id_of(api, name):
    [key] = [one for one in api.get("/api/v1/keys").json()["keys"] if one["name"] == name]
    return key["id"]


def seconds_of(words):
    [(minutes, seconds)] = re.findall(r"(\d+):(\d\d)", words)
    return int(minutes) * 60 + int(seconds)


@contextmanager
def paused(api, endpoint):
    api.patch(f"{PATH}/{endpoint}", json={"paused": True}).raise_for_status()
    yield
    resume(api, endpoint)
