"""Two models on one prompt: chosen, priced before, run together, told apart."""

import re

import pytest
from playwright.sync_api import expect

from models.key import Scope
from tests.acceptance.web.conftest import NARROW, check_axe

FLUX = "black-forest-labs-flux-1-schnell"
TURBO = "z-image-turbo"
QWEN = "qwen3-32b-awq"
BOTH = f"/compare?a={FLUX}&b={TURBO}"
HOSTILE = "<img src=x onerror=alert(1)> {{ 7*7 }}"


def sides(page):
    return page.get_by_role("region", name="Left"), page.get_by_role("region", name="Right")


def newest(api, endpoint):
    # Of this key: ids that Celery gave are in no order of time.
    asked = {"endpoint": endpoint, "limit": 1, "mine": True}
    [listed] = api.get("/api/v1/jobs", params=asked).json()["jobs"]
    return api.get(f"/api/v1/jobs/{listed['id']}").json()


def test_both_run_on_one_prompt_and_one_seed_and_are_told_apart(visit, api):
    page = visit(BOTH)
    button = page.get_by_role("button", name=re.compile("Run both for"))
    expect(button).to_contain_text("$0.007517")  # 0.0025165824 and 0.005
    page.get_by_label("Prompt").fill(HOSTILE)
    page.get_by_label("Seed").fill("7")
    button.click()
    left, right = sides(page)
    for side in (left, right):
        expect(side.locator("img").first).to_be_visible()
    expect(page.get_by_text(re.compile("Flux Schnell was cheaper"))).to_be_visible()
    for endpoint in (FLUX, TURBO):
        assert newest(api, endpoint)["input"] == {"prompt": HOSTILE, "seed": 7}


def test_price_and_time_of_each_are_said_before(visit):
    left, right = sides(visit(BOTH))
    expect(left).to_contain_text("$0.002517")
    expect(right).to_contain_text("$0.005")
    expect(left).to_contain_text(re.compile(r"\d s (here|by its page)"))


def test_they_are_swapped_and_the_address_says_so(visit):
    page = visit(BOTH)
    expect(page.get_by_role("button", name=re.compile("Run both for"))).to_be_visible()
    page.get_by_role("button", name="Swap").click()
    left, right = sides(page)
    expect(left).to_contain_text("$0.005")
    expect(right).to_contain_text("$0.002517")
    expect(page).to_have_url(re.compile(f"a={TURBO}&b={FLUX}$"))


def test_a_seed_that_not_both_take_is_not_sent(visit):
    page = visit(f"/compare?a={FLUX}&b={QWEN}")
    expect(page.get_by_label("Seed")).to_be_disabled()
    expect(page.get_by_text("not both of them take one")).to_be_visible()


def test_without_a_prompt_nothing_runs(visit, api):
    before = api.get("/api/v1/jobs", params={"endpoint": TURBO, "limit": 1}).json()["jobs"]
    page = visit(BOTH)
    page.get_by_role("button", name=re.compile("Run both for")).click()
    expect(page.get_by_text("Write a prompt first.")).to_be_visible()
    after = api.get("/api/v1/jobs", params={"endpoint": TURBO, "limit": 1}).json()["jobs"]
    assert [one["id"] for one in after] == [one["id"] for one in before]


def test_who_may_only_look_cannot_run(visit):
    page = visit(BOTH, Scope.READ)
    expect(page.get_by_text("Your key may look, not run.")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Run both"))).to_have_count(0)


@pytest.mark.parametrize(("theme", "size"), [("light", (1440, 900)), ("dark", NARROW)])
def test_everybody_can_read_it(visit, theme, size):
    page = visit(BOTH, theme=theme, size=size)
    expect(page.get_by_role("button", name=re.compile("Run both for"))).to_be_visible()
    check_axe(page)
