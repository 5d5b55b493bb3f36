"""Jobs: a list that lives, filters that are in its address, acts on many; and one job's page."""

import re
from contextlib import contextmanager
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from models.key import Scope
from tests.acceptance.web.conftest import NARROW, at_fault, check_axe

FLUX, HELD, FAILING, MANY = (
    "black-forest-labs-flux-1-schnell",
    "black-forest-labs-flux-1-dev",
    "z-image-turbo",
    "seedream-v4-t2i",
)
HOSTILE = "<script>alert(1)</script>"


def test_a_new_job_appears_by_itself_and_is_followed_to_its_end(visit, api):
    page = visit("/jobs")
    expect(page.get_by_role("status").filter(has_text="new ones appear")).to_be_visible()

    job_id = hand_in(api, FLUX, f"{HOSTILE} a fox")

    row = page.get_by_role("row").filter(has_text=f"{HOSTILE} a fox").first
    expect(row).to_contain_text("done")
    expect(row.locator("img")).to_have_attribute("src", re.compile("^/thumbnails/"))
    row.get_by_role("link").click()
    page.wait_for_url(f"**/web/jobs/{job_id}")
    expect(page.get_by_role("img", name=f"{HOSTILE} a fox")).to_be_visible()


def test_filters_are_in_the_address_and_survive_a_reload(visit, api):
    with paused(api, HELD):
        hand_in(api, HELD, "kept waiting")
        page = visit("/jobs")
        page.get_by_label("State").click()
        page.get_by_role("option", name="queued").click()
        page.keyboard.press("Escape")
        page.get_by_label("Endpoint").fill(HELD)
        page.get_by_role("option", name=HELD).click()

        expect(page).to_have_url(re.compile(rf"/web/jobs\?state=queued&endpoint={HELD}$"))
        page.reload()

        rows = page.get_by_role("row").filter(has_text=HELD)
        expect(rows.first).to_contain_text("kept waiting")
        expect(page.locator("tbody .pr-badge").filter(has_not_text="queued")).to_have_count(0)
        expect(page.get_by_label("Endpoint")).to_have_value(HELD)
        page.get_by_role("button", name="Clear").last.click()
        expect(page).to_have_url(re.compile(r"/web/jobs$"))
        cancel_all(api, HELD)


def test_many_are_cancelled_once_they_were_counted(visit, api):
    with paused(api, HELD):
        ids = [hand_in(api, HELD, f"to be cancelled {n}") for n in range(3)]
        page = visit(f"/jobs?state=queued&endpoint={HELD}")
        expect(page.get_by_text("to be cancelled 2")).to_be_visible()

        page.get_by_role("button", name="Cancel…").click()
        expect(page.get_by_role("alertdialog")).to_contain_text("Cancel 3 jobs?")
        assert {state_of(api, one) for one in ids} == {"queued"}
        page.get_by_role("button", name="Cancel 3 jobs").click()

        expect(page.get_by_text("Cancelled 3 jobs.")).to_be_visible()
        expect(page.get_by_text("No job fits")).to_be_visible()
        assert {state_of(api, one) for one in ids} == {"cancelled"}


def test_what_is_selected_is_acted_on_alone(visit, api):
    with paused(api, HELD):
        ids = [hand_in(api, HELD, f"one of two {n}") for n in range(2)]
        page = visit(f"/jobs?state=queued&endpoint={HELD}")
        page.get_by_label(f"Select {ids[0]}").check()
        expect(page.get_by_text("1 selected:")).to_be_visible()
        page.get_by_role("button", name="Cancel…").click()
        page.get_by_role("button", name="Cancel 1 job").click()

        expect(page.get_by_text("Cancelled 1 job.")).to_be_visible()
        assert [state_of(api, one) for one in ids] == ["cancelled", "queued"]
        cancel_all(api, HELD)


def test_many_are_given_another_priority(visit, api):
    with paused(api, HELD):
        job_id = hand_in(api, HELD, "in a hurry")
        page = visit(f"/jobs?state=queued&endpoint={HELD}")
        page.get_by_role("button", name="Prioritize…").click()
        page.get_by_role("combobox", name="Priority").click()
        page.get_by_role("option", name="9, the first").click()
        page.get_by_role("button", name="Count them").click()
        page.get_by_role("button", name="Prioritize 1 job").click()
        expect(page.get_by_text("Prioritized 1 job.")).to_be_visible()
        assert api.get(f"/api/v1/jobs/{job_id}").json()["priority"] == 9
        cancel_all(api, HELD)


def test_older_jobs_are_a_page_away_and_the_way_back_is_too(visit, api):
    with paused(api, MANY):
        items = [{"endpoint": MANY, "input": {"prompt": f"number {n:02}"}} for n in range(60)]
        api.post("/api/v1/jobs/bulk", json={"jobs": items}).raise_for_status()
        page = visit(f"/jobs?endpoint={MANY}")
        expect(page.get_by_text("number 59")).to_be_visible()

        page.get_by_role("button", name="Older").click()
        expect(page.get_by_text("number 05")).to_be_visible()
        expect(page).to_have_url(re.compile("cursor="))
        page.get_by_role("button", name="Newer").click()
        expect(page.get_by_text("number 59")).to_be_visible()
        expect(page).not_to_have_url(re.compile("cursor="))
        cancel_all(api, MANY)


def test_what_nothing_fits_says_so(visit):
    page = visit(f"/jobs?campaign={uuid4()}")
    expect(page.get_by_text("No job fits")).to_be_visible()


def test_a_failed_job_says_why_and_runs_again(visit, api, site):
    fault = {"kind": "fail_job", "endpoint": FAILING, "body": f"out of memory {HOSTILE}"}
    with at_fault(site, fault):
        job_id = hand_in(api, FAILING, "a heavy picture")
        page = visit(f"/jobs/{job_id}")
        why = page.get_by_role("status").filter(has_text="Upstream failed: ")
        expect(why).to_contain_text(f"out of memory {HOSTILE}")
        expect(page.locator(".pr-timeline")).to_contain_text("Answered: accepted")
        expect(page.locator(".pr-timeline")).to_contain_text("Failed")

    page.get_by_role("button", name="Retry").click()
    page.get_by_role("button", name="Retry the job").click()

    expect(page.get_by_text("It is done.")).to_be_visible()
    expect(page.get_by_role("img", name="a heavy picture")).to_be_visible()
    expect(page.locator(".pr-timeline")).to_contain_text("Attempt 2 was sent")
    expect(page.get_by_role("button", name="Retry")).to_be_hidden()


def test_a_job_that_waits_says_for_what_and_is_cancelled(visit, api):
    with paused(api, HELD):
        job_id = hand_in(api, HELD, "never to be")
        page = visit(f"/jobs/{job_id}")
        expect(page.get_by_text(f"lane of {HELD} is paused")).to_be_visible()
        again = page.get_by_role("link", name="Run again with changes")
        expect(again).to_have_attribute("href", re.compile(rf"/\?job={job_id}$"))

        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Cancel the job").click()

        expect(page.locator(".pr-job-state")).to_contain_text("cancelled")
        assert state_of(api, job_id) == "cancelled"


@pytest.mark.parametrize("wrong", ["249d250c", str(uuid4()), "<b>x"])
def test_an_id_of_no_job_is_said_to_be_none(visit, wrong):
    page = visit(f"/jobs/{wrong}")
    expect(page.get_by_text("No such job")).to_be_visible()


def test_another_keys_job_is_none(visit, api):
    page = visit(f"/jobs/{hand_in(api, FLUX, 'mine')}", Scope.RUN)
    expect(page.get_by_text("No such job")).to_be_visible()


def test_who_only_reads_has_nothing_to_click(visit):
    page = visit("/jobs", Scope.READ)
    expect(page.get_by_text("No job yet")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Cancel|Retry|Prioritize"))).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_the_list_and_a_job(visit, api, theme):
    job_id = hand_in(api, FLUX, "for everybody")
    assert api.get(f"/api/v1/jobs/{job_id}", params={"wait": 30}).json()["state"] == "completed"
    page = visit("/jobs", theme=theme)
    expect(page.get_by_text("for everybody").first).to_be_visible()
    check_axe(page)
    page.goto(f"/web/jobs/{job_id}")
    expect(page.get_by_role("img", name="for everybody")).to_be_visible()
    check_axe(page)


def test_on_a_phone_nothing_is_cut_off(visit, api):
    job_id = hand_in(api, FLUX, "w" * 200)
    page = visit("/jobs", size=NARROW)
    expect(page.get_by_text("w" * 200).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
    page.goto(f"/web/jobs/{job_id}")
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]


def hand_in(api, endpoint, prompt):
    response = api.post("/api/v1/jobs", json={"endpoint": endpoint, "input": {"prompt": prompt}})
    assert response.is_success, response.text
    return response.json()["id"]


def state_of(api, job_id):
    return api.get(f"/api/v1/jobs/{job_id}").json()["state"]


def cancel_all(api, endpoint):
    asked = {"filter": {"endpoint": endpoint, "state": ["queued"]}, "dry_run": False}
    api.post("/api/v1/jobs/cancel", json=asked).raise_for_status()


@contextmanager
def paused(api, endpoint):
    path = f"/api/v1/lanes/submit/{endpoint}"
    api.patch(path, json={"paused": True}).raise_for_status()
    yield
    api.patch(path, json={"paused": False}).raise_for_status()
