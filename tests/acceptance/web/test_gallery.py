"""The gallery of a campaign in a browser: pictures that load, and thousands that do not weigh."""

import re
from contextlib import contextmanager
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.acceptance.web.conftest import NARROW, WIDE, check_axe
from tests.integration.conftest import FLUX

ENDED_MS = 60_000
MOST_CELLS = 150  # in the document, of those in sight and two rows above and below


def start(api, prompts, **changes):
    spec = {
        "name": f"gallery {uuid4()}",
        "endpoint": FLUX,
        "prompts": prompts,
        "input": {"width": 256, "height": 256},
        **changes,
    }
    reply = api.post("/api/v1/campaigns", json={"spec": spec, "dry_run": False})
    assert reply.status_code == 201, reply.text
    return reply.json()["campaign_id"]


@contextmanager
def thousands(api):
    """2,000 items, most of which are due in hours."""
    prompts = [f"a fox, number {n}" for n in range(20)]
    campaign = start(
        api, prompts, matrix={"seed": list(range(100))}, pace={"over": "40h", "max_in_flight": 1}
    )
    try:
        yield campaign
    finally:
        api.post(f"/api/v1/campaigns/{campaign}/cancel")


def cell(page, number):
    return page.get_by_role("button", name=re.compile(f"^{number}: a "))


def loads(image):
    """It is a picture, and not the sign of one that is missing."""
    expect(image).to_have_js_property("complete", value=True, timeout=ENDED_MS)
    expect(image).not_to_have_js_property("naturalWidth", 0)


def test_thumbnails_load_and_the_arrow_keys_go_from_one_large_picture_to_the_next(visit, api):
    page = visit(f"/campaigns/{start(api, ['a fox', 'a heron', 'a lynx'])}/gallery")
    for number in (1, 2, 3):
        loads(cell(page, number).locator("img"))

    cell(page, 1).click()
    look = page.get_by_role("dialog")
    loads(look.get_by_role("img", name="a fox"))
    page.keyboard.press("ArrowRight")
    loads(look.get_by_role("img", name="a heron"))
    page.keyboard.press("ArrowRight")
    loads(look.get_by_role("img", name="a lynx"))
    expect(look.get_by_role("button", name="Next item")).to_be_disabled()
    page.keyboard.press("ArrowLeft")
    expect(look.get_by_text("2 of 3")).to_be_visible()
    expect(look.get_by_label("Input as JSON")).to_contain_text('"prompt": "a heron"')
    page.keyboard.press("Escape")
    expect(cell(page, 2)).to_be_focused()


def test_of_thousands_only_those_in_sight_are_in_the_document(visit, api):
    with thousands(api) as campaign:
        page = visit(f"/campaigns/{campaign}/gallery")
        expect(page.get_by_text("2,000 items, rows 1 to")).to_be_visible(timeout=ENDED_MS)
        expect(cell(page, 1)).to_be_visible()
        assert page.locator(".pr-cell").count() <= MOST_CELLS

        cell(page, 1).focus()
        page.keyboard.press("End")

        expect(cell(page, 2000)).to_be_focused()
        expect(cell(page, 1)).to_have_count(0)
        assert page.locator(".pr-cell").count() <= MOST_CELLS
        page.keyboard.press("ArrowLeft")
        expect(cell(page, 1999)).to_be_focused()


def test_those_that_are_not_done_are_left_out_where_one_asks_for_it(visit, api):
    with thousands(api) as campaign:
        page = visit(f"/campaigns/{campaign}/gallery")
        expect(cell(page, 30)).to_contain_text("queued", timeout=ENDED_MS)
        loads(cell(page, 1).locator("img"))

        page.get_by_role("radio", name="Only those that are done").click()

        loads(cell(page, 1).locator("img"))
        expect(page.locator(".pr-cell").filter(has_text="queued")).to_have_count(0)
        expect(cell(page, 30)).to_have_count(0)


@pytest.mark.parametrize(("theme", "size"), [("light", WIDE), ("dark", NARROW)])
def test_everybody_can_use_it(visit, api, theme, size):
    page = visit(f"/campaigns/{start(api, ['a fox'])}/gallery", theme=theme, size=size)
    loads(cell(page, 1).locator("img"))
    check_axe(page)
    cell(page, 1).click()
    loads(page.get_by_role("dialog").get_by_role("img", name="a fox"))
    check_axe(page)
