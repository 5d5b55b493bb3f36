"""Campaigns in a browser: from a file, over its plan, to its gallery; held, and what failed."""

import re
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import expect

from models.key import Scope
from tests.acceptance.web.conftest import DIALOG, NARROW, at_fault, check_axe
from tests.integration.conftest import FLUX

HOSTILE = "<script>alert(1)</script>"
FAILING = "z-image-turbo"
ENDED_MS = 60_000


def start(api, *prompts, **changes):
    """A campaign; its id."""
    spec = {
        "name": f"foxes {uuid4()}",
        "endpoint": FLUX,
        "prompts": list(prompts) or ["a fox in the snow"],
        "input": {"width": 256, "height": 256},
        **changes,
    }
    reply = api.post("/api/v1/campaigns", json={"spec": spec, "dry_run": False})
    assert reply.status_code == 201, reply.text
    return reply.json()["campaign_id"]


@contextmanager
def over(api, campaign):
    """A campaign that is cancelled at last: its rest would be due in hours."""
    try:
        yield campaign
    finally:
        api.post(f"/api/v1/campaigns/{campaign}/cancel")


def hand_in(page, name, content):
    page.locator("input[type=file]").set_input_files(
        {"name": name, "mimeType": "text/plain", "buffer": content}
    )


def choose_flux(page):
    page.get_by_label("Endpoints").fill(FLUX)
    page.get_by_role("option", name=re.compile(FLUX)).first.click()
    page.keyboard.press("Escape")


def test_from_a_file_over_its_plan_to_a_gallery_of_pictures(visit):
    page = visit("/campaigns")
    page.get_by_role("button", name="Start a campaign").click()
    hand_in(page, "foxes.csv", b"prompt,mood\na fox in the snow,calm\nan owl at dusk,grim\n")
    expect(page.get_by_text("Columns: prompt, mood")).to_be_visible()
    page.get_by_label("Name").fill(f"from a file {uuid4()}")
    choose_flux(page)
    page.get_by_label("Input of every item").fill("width: 256\nheight: 256")
    page.get_by_role("button", name="Plan it").click()
    expect(page.get_by_text("Columns that nothing uses: mood")).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_role("button", name="Start 2 jobs").click()
    page.wait_for_url(re.compile(r"/web/campaigns/[0-9a-f-]{36}$"))
    expect(page.get_by_role("img", name=re.compile("^2 done"))).to_be_visible(timeout=ENDED_MS)
    page.get_by_role("link", name="Gallery").click()
    thumbnail = page.get_by_role("button", name=re.compile("1: a fox in the snow")).locator("img")
    expect(thumbnail).to_be_visible(timeout=ENDED_MS)
    expect(thumbnail).to_have_js_property("complete", value=True)
    assert thumbnail.evaluate("one => one.naturalWidth") > 0


def test_a_line_that_is_wrong_is_named(visit):
    page = visit("/campaigns/new")
    hand_in(page, "foxes.jsonl", b'"a fox"\n{"prompt": "an owl", "width": 3}\n')
    expect(page.get_by_text("foxes.jsonl:")).to_be_visible()
    choose_flux(page)
    page.get_by_role("button", name="Plan it").click()
    expect(page.get_by_role("alert")).to_contain_text("foxes.jsonl:2: width")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_hidden()


def test_it_is_paused_and_goes_on(visit, api):
    campaign = start(api, *[f"a fox {n}" for n in range(20)], pace={"over": "1h"})
    page = visit(f"/campaigns/{campaign}")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert api.get(f"/api/v1/campaigns/{campaign}").json()["paused"]
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert not api.get(f"/api/v1/campaigns/{campaign}").json()["paused"]
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel it").click()
    expect(page.get_by_role("button", name="Pause")).to_be_hidden(timeout=ENDED_MS)


def test_it_is_given_another_pace_and_none(visit, api):
    with over(
        api, start(api, *[f"a fox {n}" for n in range(20)], pace={"over": "10h"})
    ) as campaign:
        page = visit(f"/campaigns/{campaign}")
        page.get_by_role("button", name="Pace").click()
        dialog = page.get_by_role("alertdialog")
        dialog.get_by_label("Spread what waits over").fill("soon")
        expect(dialog.get_by_text("Such as 90s or 2h")).to_be_visible()
        check_axe(page, within=DIALOG)
        dialog.get_by_label("Spread what waits over").fill("5h")
        dialog.get_by_label("Jobs at once, at most").fill("3")
        dialog.get_by_role("button", name="Set the pace").click()
        expect(page.get_by_text("It has another pace.")).to_be_visible()
        told = api.get(f"/api/v1/campaigns/{campaign}").json()
        assert told["max_in_flight"] == 3
        assert 4 * 3600 < told["seconds_left"] < 6 * 3600

        page.get_by_role("button", name="Pace").click()
        dialog.get_by_role("checkbox", name="No pace").click()
        expect(dialog.get_by_label("Spread what waits over")).to_be_disabled()
        dialog.get_by_role("button", name="Set the pace").click()
        expect(page.get_by_role("img", name=re.compile("^20 done"))).to_be_visible(timeout=ENDED_MS)


def test_a_budget_holds_it_until_there_is_more(visit, api):
    with over(api, start(api, *[f"a fox {n}" for n in range(4)], pace={"over": "10h"})) as campaign:
        page = visit(f"/campaigns/{campaign}")
        expect(page.get_by_text("It has no budget of its own.")).to_be_visible()
        page.get_by_role("button", name="Budget").click()
        dialog = page.get_by_role("alertdialog")
        dialog.get_by_label("USD at most").fill("0.0002")  # one of them, and not two
        check_axe(page, within=DIALOG)
        dialog.get_by_role("button", name="Set the budget").click()
        expect(page.get_by_text("at the wall: pause")).to_be_visible()
        api.patch(f"/api/v1/campaigns/{campaign}", json={"over_seconds": None}).raise_for_status()
        expect(page.get_by_text("jobs wait for room in the budget")).to_be_visible()

        page.get_by_role("button", name="Budget").click()
        expect(dialog.get_by_label("USD at most")).not_to_have_value("")
        dialog.get_by_label("USD at most").fill("5")
        dialog.get_by_role("button", name="Set the budget").click()
        expect(page.get_by_role("img", name=re.compile("^4 done"))).to_be_visible(timeout=ENDED_MS)


def test_what_failed_is_retried_once_its_price_is_said(visit, api, site):
    fault = {"kind": "fail_job", "endpoint": FAILING, "body": "out of memory"}
    with at_fault(site, fault):
        campaign = start(api, "a fox", "an owl", endpoint=FAILING, input={})
        page = visit(f"/campaigns/{campaign}")
        failures = page.get_by_role("table", name="Failures by cause")
        expect(failures).to_contain_text("out of memory", timeout=ENDED_MS)
        expect(page.get_by_role("img", name=re.compile("2 failed"))).to_be_visible(timeout=ENDED_MS)
    failures.get_by_role("link", name="These jobs").click()
    page.wait_for_url("**/jobs?*reason=upstream_failed")
    expect(page.get_by_role("row").filter(has_text="a fox")).to_be_visible()
    expect(page.get_by_role("search")).to_contain_text("upstream failed")
    page.go_back()
    page.get_by_role("button", name="Retry what failed").click()
    dialog = page.get_by_role("alertdialog", name="Retry 2 jobs?")
    expect(dialog).to_contain_text("It costs about $")
    dialog.get_by_role("button", name="Retry 2 jobs").click()
    expect(page.get_by_role("img", name=re.compile("^2 done"))).to_be_visible(timeout=ENDED_MS)
    expect(page.get_by_text("Nothing failed")).to_be_visible()


def test_two_endpoints_of_one_are_laid_side_by_side(visit, api):
    both = [FLUX, FAILING]
    campaign = start(api, "a fox", "an owl", endpoint=None, endpoints=both, input={})
    page = visit(f"/campaigns/{campaign}")
    expect(page.get_by_role("img", name=re.compile("^4 done"))).to_be_visible(timeout=ENDED_MS)
    page.get_by_role("link", name="Compare").click()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("1 to 2 of 2 pairs, matched by")).to_be_visible()
    for name in (FLUX, FAILING):
        expect(page.get_by_role("heading", name=re.compile(name))).to_be_visible()
    pair = page.locator(".pr-pair").filter(has_text="an owl")
    expect(pair.locator("img")).to_have_count(2)
    check_axe(page)


def test_two_are_laid_side_by_side(visit, api):
    name = f"rival {uuid4()}"
    one = start(api, "a fox", "an owl")
    other = start(api, "an owl", "a fox", name=name, input={"width": 512, "height": 256})
    page = visit(f"/campaigns/{one}")
    expect(page.get_by_role("img", name=re.compile("^2 done"))).to_be_visible(timeout=ENDED_MS)
    page.goto(f"/web/campaigns/{other}")
    expect(page.get_by_role("img", name=re.compile("^2 done"))).to_be_visible(timeout=ENDED_MS)
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_label("One", exact=True)).to_have_value(name)
    page.goto(f"/web/campaigns/compare?a={one}")
    page.get_by_label("The other").click()
    page.get_by_role("option", name=name).click()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(f"**/web/campaigns/compare?a={one}&b={other}")
    expect(page.get_by_text("1 to 2 of 2 pairs, matched by prompt")).to_be_visible()
    expect(page.get_by_text("an owl", exact=True)).to_be_visible()
    pictures = page.locator(".pr-pair").first.locator("img")
    expect(pictures).to_have_count(2)
    for picture in (pictures.first, pictures.last):
        expect(picture).not_to_have_js_property("naturalWidth", 0, timeout=ENDED_MS)
    check_axe(page)


def test_names_and_prompts_of_others_are_text(visit, api):
    campaign = start(api, HOSTILE, name=f"{HOSTILE} {uuid4()}")
    page = visit("/campaigns")
    expect(page.get_by_role("link", name=HOSTILE).first).to_be_visible()
    page.goto(f"/web/campaigns/{campaign}/gallery")
    cell = page.get_by_role("button", name=f"1: {HOSTILE}")
    cell.click()
    expect(page.get_by_role("dialog").get_by_text(HOSTILE, exact=True)).to_be_visible()


def test_a_key_that_reads_has_no_buttons_that_act(visit, site):
    page = visit("/campaigns", Scope.READ)
    expect(page.get_by_text("No campaigns yet")).to_be_visible()  # of its own
    expect(page.get_by_role("button", name="Start a campaign")).to_have_count(0)
    page.goto("/web/campaigns/new")
    expect(page.get_by_text("Your key may only read")).to_be_visible()
    with site.client(Scope.READ) as http:
        refused = http.post("/api/v1/campaigns/rows", params={"name": "a.txt"}, content=b"a fox")
    assert refused.status_code == httpx.codes.FORBIDDEN


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_them(visit, api, theme):
    campaign = start(api)
    page = visit("/campaigns", theme=theme, size=NARROW if theme == "dark" else (1440, 900))
    expect(page.get_by_role("table")).to_be_visible()
    check_axe(page)
    for path in ("/campaigns/new", f"/campaigns/{campaign}", f"/campaigns/{campaign}/gallery"):
        page.goto(f"/web{path}")
        page.locator("main section").first.wait_for()
        check_axe(page)
