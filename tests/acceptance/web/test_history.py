"""What a key ran: found again, seen whole, gone on from, and shown to others."""

import itertools
import re

import httpx
import pytest
from playwright.sync_api import expect

from models.key import Scope
from tests.acceptance.web.conftest import NARROW, SECONDS, check_axe

FLUX = "black-forest-labs-flux-1-schnell"
QWEN = "qwen3-32b-awq"
HOSTILE = '<script>alert(1)</script> " onload="alert(2)" {{ 7*7 }} \''
_numbers = itertools.count()


@pytest.fixture
def own(api, site):
    """A key of its own, so that nobody else's runs are in its history."""
    made = api.post(
        "/api/v1/keys", json={"name": f"visitor-{next(_numbers)}", "scopes": ["run"]}
    ).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    with httpx.Client(base_url=site.base, headers=headers, timeout=SECONDS) as client:
        client.key = made["key"]  # type: ignore[attr-defined]
        yield client


def run(client, endpoint=FLUX, *, end=True, **values):
    """A job, ended; its id."""
    asked = {"endpoint": endpoint, "input": {"prompt": "a heron"} | values}
    made = client.post("/api/v1/jobs", json=asked).raise_for_status().json()
    if end:
        client.get(f"/api/v1/jobs/{made['id']}", params={"wait": 30}, timeout=40)
    return made["id"]


def cards(page):
    return page.get_by_role("list", name="Runs").get_by_role("listitem")


def test_who_has_run_nothing_is_told_where_to_begin(visit, own):
    page = visit("/history", key=own.key)
    expect(page.get_by_text("Nothing yet")).to_be_visible()
    page.get_by_role("link", name="Open the playground").click()
    page.wait_for_url("**/web/")


def test_runs_are_listed_newest_first_with_what_they_cost(visit, own):
    run(own, prompt="the older one")
    run(own, prompt=HOSTILE)
    page = visit("/history", key=own.key)
    expect(cards(page)).to_have_count(2)
    newest, older = cards(page).nth(0), cards(page).nth(1)
    expect(newest).to_contain_text(HOSTILE)
    expect(older).to_contain_text("the older one")
    for said in ("Flux Schnell", "done", "$0.00", "ago"):
        expect(older).to_contain_text(said)
    expect(older.locator("img")).to_be_visible()


def test_another_keys_runs_are_not_among_them_even_for_who_sees_all(visit, own, api):
    run(own, prompt="of somebody else", end=False)
    run(api, prompt="of the operator", end=False)
    page = visit("/history")
    expect(page.get_by_text("of the operator").first).to_be_visible()
    expect(page.get_by_text("of somebody else")).to_have_count(0)


def test_model_and_state_are_chosen_and_stand_in_the_address(visit, own):
    run(own, prompt="a picture", end=False)
    run(own, QWEN, prompt="a text")
    page = visit("/history", key=own.key)
    expect(cards(page)).to_have_count(2)
    page.get_by_role("combobox", name="Model").fill("Qwen3")
    page.get_by_role("option", name="Qwen3 32B AWQ").click()
    expect(cards(page)).to_have_count(1)
    expect(cards(page)).to_contain_text("a text")
    expect(page).to_have_url(re.compile(f"endpoint={QWEN}$"))
    page.get_by_role("combobox", name="State").click()
    page.get_by_role("option", name="Failed").click()
    expect(page.get_by_text("No such runs")).to_be_visible()
    page.reload()
    expect(page.get_by_text("No such runs")).to_be_visible()
    expect(page.get_by_role("combobox", name="State")).to_have_value("Failed")


def test_more_are_loaded_where_the_page_ends(visit, own):
    items = [{"endpoint": FLUX, "input": {"prompt": f"heron {n:02}"}} for n in range(30)]
    own.post("/api/v1/jobs/bulk", json={"jobs": items}).raise_for_status()
    page = visit("/history", key=own.key)
    expect(cards(page)).to_have_count(24)
    page.get_by_role("button", name="Load more").click()
    expect(cards(page)).to_have_count(30)
    expect(page.get_by_role("button", name="Load more")).to_be_hidden()
    expect(cards(page).last).to_contain_text("heron 00")


def test_a_run_that_goes_on_is_followed_where_it_stands(visit, own):
    page = visit("/history", key=own.key)
    run(own, prompt="a slow one", end=False)
    page.reload()
    card = cards(page).filter(has_text="a slow one")
    expect(card).to_contain_text("done")
    expect(card.locator("img")).to_be_visible()


def test_a_run_is_opened_whole_and_gone_on_from(visit, own):
    job_id = run(own, prompt=HOSTILE, seed=7, width=512)
    page = visit("/history", key=own.key)
    cards(page).get_by_role("link").first.click()
    page.wait_for_url(f"**/web/runs/{job_id}")
    expect(page.locator("main img[alt], .pr-one-result img").first).to_be_visible()
    about = page.get_by_role("region", name="About this run")
    for said in (FLUX, "$0.00", "done", job_id):
        expect(about).to_contain_text(said)
    parameters = page.get_by_role("region", name="Parameters")
    for said in (HOSTILE, "512", "7"):
        expect(parameters).to_contain_text(said)
    again = page.get_by_role("link", name="Open in the playground")
    expect(again).to_have_attribute("href", re.compile(rf"/\?job={job_id}$"))


def test_its_file_is_downloaded_and_its_json_read(visit, own):
    job_id = run(own)
    page = visit(f"/runs/{job_id}", key=own.key)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    [file] = own.get(f"/api/v1/jobs/{job_id}").json()["artifacts"]
    assert download.value.path().stat().st_size == file["size_bytes"]
    page.get_by_text("Raw JSON").click()
    expect(page.get_by_label("The run as JSON", exact=True)).to_contain_text(job_id)


def test_a_text_is_shown_as_text_and_a_failure_by_its_reason(visit, own):
    page = visit(f"/runs/{run(own, QWEN, prompt='Tell me of herons.')}", key=own.key)
    expect(page.locator(".pr-one-reply")).to_contain_text("emulat")
    failed = run(own, "nobodys-endpoint")
    page.goto(f"/web/runs/{failed}")
    error = own.get(f"/api/v1/jobs/{failed}").json()
    expect(page.locator(".pr-one-result")).to_contain_text(error["error"] or error["why"])


def test_a_run_that_waits_says_why_and_then_shows_itself(visit, own):
    page = visit(f"/runs/{run(own, end=False)}", key=own.key)
    expect(page.locator(".pr-one-result img")).to_be_visible()
    expect(page.get_by_role("region", name="About this run")).to_contain_text("done")


def test_another_keys_run_is_not_shown(visit, own, api):
    job_id = run(api, prompt="a secret heron", end=False)
    page = visit(f"/runs/{job_id}", key=own.key)
    expect(page.get_by_text("No such run")).to_be_visible()
    expect(page.get_by_text("a secret heron")).to_have_count(0)


def test_a_shared_file_opens_without_a_key_and_the_page_does_not(visit, own, site):
    job_id = run(own)
    page = visit(f"/runs/{job_id}", key=own.key)
    page.get_by_role("button", name="Share").click()
    dialog = page.get_by_role("dialog", name="Share")
    address = dialog.get_by_label("Link to this page", exact=True)
    expect(address).to_have_text(f"{site.base}/web/runs/{job_id}")
    expect(dialog).to_contain_text("or with a key that operates")
    dialog.get_by_role("combobox", name="Opens for").click()
    page.get_by_role("option", name="7 days").click()
    dialog.get_by_role("button", name="Make a link").click()
    link = dialog.get_by_label("Link to the file", exact=True)
    expect(dialog).to_contain_text("Opens for 7 days from now")
    opened = httpx.get(link.inner_text(), follow_redirects=True)
    [file] = own.get(f"/api/v1/jobs/{job_id}").json()["artifacts"]
    assert len(opened.content) == file["size_bytes"]
    assert httpx.get(address.inner_text()).is_redirect  # to sign in


def test_who_may_only_look_gets_nothing_that_runs(visit):
    page = visit("/history", Scope.READ)
    expect(page.get_by_text("Nothing yet")).to_be_visible()
    expect(page.get_by_role("link", name="Open in the playground")).to_have_count(0)


@pytest.mark.parametrize(("theme", "size"), [("light", (1440, 900)), ("dark", NARROW)])
def test_everybody_can_read_it(visit, own, theme, size):
    job_id = run(own, prompt=HOSTILE)
    page = visit("/history", key=own.key, theme=theme, size=size)
    expect(cards(page).locator("img")).to_be_visible()
    check_axe(page)
    page.goto(f"/web/runs/{job_id}")
    expect(page.locator(".pr-one-result img")).to_be_visible()
    check_axe(page)
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_role("dialog", name="Share")).to_be_visible()
    check_axe(page)
