"""The playground: from what one types to what comes of it."""

import re

import pytest
from playwright.sync_api import expect

from models.key import Scope
from tests.acceptance.web.conftest import NARROW, check_axe

FOX = "a fox in the snow"
HOSTILE = "<script>alert(1)</script> a fox"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


def run(page, prompt=FOX):
    page.get_by_label("Prompt (required)").fill(prompt)
    page.get_by_role("button", name="Run", exact=True).click()


def test_the_first_picture_takes_a_prompt_and_run(page):
    """Signing in was the first of three acts; a fast endpoint that makes pictures is chosen."""
    run(page)
    picture = page.locator(".pr-preview img")

    expect(picture).to_have_js_property("complete", value=True)
    expect(picture).to_have_attribute("alt", FOX)
    page.wait_for_function("document.querySelector('.pr-preview img').naturalWidth > 0")
    expect(page.get_by_text("nothing is billed")).to_be_visible()
    expect(page.locator(".pr-run-facts")).to_contain_text("Seed")


@pytest.mark.parametrize(
    ("endpoint", "seen"),
    [("p-video", "video"), ("chatterbox-turbo", "audio"), ("gpt-oss-120b", "p.pr-written")],
)
def test_films_sounds_and_texts_are_shown(visit, endpoint, seen):
    page = visit(f"/?endpoint={endpoint}")
    run(page)

    expect(page.locator(f".pr-preview {seen}")).to_be_visible(timeout=40_000)


def test_limits_are_said_as_one_types_and_the_cost_follows(page):
    page.get_by_label("Prompt (required)").fill(FOX)
    price = page.locator(".pr-price")
    expect(price).to_contain_text("$0.0025")

    page.get_by_label("Width").fill("2048")
    expect(price).to_contain_text("$0.0050")
    page.get_by_label("Width").fill("100")

    said = page.locator(".pr-input-side .pr-problem")
    expect(said).to_contain_text("256 to 2048, in steps of 64")
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_disabled()
    page.get_by_label("Width").fill("512")
    expect(said).to_have_count(0)
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()


def test_ctrl_enter_runs_and_what_others_wrote_is_text(page, complaints):
    page.get_by_label("Prompt (required)").fill(HOSTILE)
    page.keyboard.press("Control+Enter")

    expect(page.locator(".pr-preview img")).to_have_attribute("alt", HOSTILE)
    page.get_by_role("button", name="JSON").click()
    expect(page.locator(".pr-raw pre")).to_contain_text(HOSTILE)
    assert complaints == []


def test_four_at_once_make_a_grid_of_four_seeds(page):
    page.get_by_label("Prompt (required)").fill(FOX)
    page.get_by_role("button", name="4 at once").click()

    expect(page.locator(".pr-run-grid .pr-preview img")).to_have_count(4)
    seeds = page.locator(".pr-run-grid .pr-run-facts div", has_text="Seed").all_inner_texts()
    assert len(set(seeds)) == 4


def test_the_same_seed_is_put_into_the_form_and_run_again(page):
    run(page)
    page.get_by_role("button", name="Same seed").click()

    expect(page.locator(".pr-run")).to_have_count(2)
    expect(page.get_by_label("Seed", exact=True)).to_have_value(re.compile(r"^\d+$"))
    expect(page.locator(".pr-run .pr-preview img")).to_have_count(2)


def test_a_result_is_downloaded(page):
    run(page)
    with page.expect_download() as waited:
        page.get_by_role("link", name="Download").click()

    assert waited.value.suggested_filename.startswith("black-forest-labs-flux-1-schnell-")
    assert waited.value.path().stat().st_size > 1000


def test_a_picture_that_is_put_in_is_shown_and_sent(visit, api):
    page = visit("/?endpoint=black-forest-labs-flux-1-kontext-dev")
    picture = {"name": "fox.png", "mimeType": "image/png", "buffer": PIXEL}
    page.get_by_label("Image (required)").set_input_files(picture)
    expect(page.locator(".pr-given img")).to_be_visible()
    run(page)

    expect(page.locator(".pr-preview img")).to_be_visible()
    [newest] = api.get("/api/v1/jobs", params={"limit": 1, "mine": True}).json()["jobs"]
    sent = api.get(f"/api/v1/jobs/{newest['id']}").json()["input"]["image"]
    assert sent.startswith("data:image/png;base64,iVBOR")


def test_another_endpoint_is_chosen_by_the_keyboard_and_keeps_the_prompt(page):
    page.get_by_label("Prompt (required)").fill(FOX)
    page.get_by_role("button", name="Choose another").click()
    page.keyboard.type("p-video")
    page.keyboard.press("Enter")

    expect(page.get_by_label("Duration, seconds")).to_be_visible()
    expect(page.get_by_label("Prompt (required)")).to_have_value(FOX)
    expect(page).to_have_url(re.compile(r"endpoint=p-video$"))


def test_a_draft_outlives_a_reload(page):
    page.get_by_label("Prompt (required)").fill(FOX)
    page.wait_for_function(
        "sessionStorage.getItem('pressroom.playground.draft')?.includes('a fox in the snow')"
    )
    page.reload()

    expect(page.get_by_label("Prompt (required)")).to_have_value(FOX)


def test_a_job_is_opened_again_with_its_parameters(visit, api):
    body = {"endpoint": "black-forest-labs-flux-1-schnell", "input": {"prompt": FOX, "seed": 7}}
    made = api.post("/api/v1/jobs", json=body).json()
    page = visit(f"/?job={made['id']}")

    expect(page.get_by_label("Prompt (required)")).to_have_value(FOX)
    expect(page.get_by_label("Seed", exact=True)).to_have_value("7")
    expect(page.locator(".pr-preview img")).to_be_visible()


def test_a_key_that_reads_has_no_run(visit):
    page = visit("/", Scope.READ)

    expect(page.get_by_label("Prompt (required)")).to_be_visible()
    expect(page.get_by_role("button", name="Run", exact=True)).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [None, NARROW])
def test_the_page_is_open_to_all(visit, theme, size):
    page = visit("/", theme=theme, **({"size": size} if size else {}))
    expect(page.get_by_text("Nothing has run yet")).to_be_visible()
    check_axe(page)
    run(page)
    expect(page.locator(".pr-preview img")).to_be_visible()
    check_axe(page)
    page.get_by_role("button", name="Choose another").click()
    check_axe(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
