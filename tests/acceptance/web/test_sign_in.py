"""Who may come in, what a browser may load, and what happens when the line drops."""

import os
import re
import signal

import httpx
import pytest
from playwright.sync_api import expect

from models.key import Scope
from tests.acceptance.web.conftest import NARROW, check_axe
from workers.stack.supervisor import Supervisor

FORM = {"next": "/web/"}
LOST_SECONDS = 30.0


def test_a_visitor_is_brought_to_what_they_came_for(visit):
    page = visit("/floor?x=1")
    expect(page).to_have_url(re.compile(r"/web/floor\?x=1$"))
    assert page.context.cookies()[0]["httpOnly"]
    assert page.context.cookies()[0]["sameSite"] == "Lax"


def test_the_cookie_tells_nothing_of_the_key(visit, site):
    [cookie] = visit("/").context.cookies()
    assert site.key_of()[4:] not in cookie["value"]
    assert (
        site.key_of()
        not in httpx.get(f"{site.base}/web/", cookies={cookie["name"]: cookie["value"]}).text
    )


@pytest.mark.parametrize(
    "away", ["https://evil.example/web/", "//evil.example/web/", "/web/\\evil.example", "/v2/x"]
)
def test_nobody_is_sent_elsewhere(site, away):
    form = {"key": site.key_of(Scope.READ), "next": away}
    answer = httpx.post(f"{site.base}/web/login", data=form)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/web/"


def test_a_wrong_key_is_refused_and_guessing_is_slowed(site):
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.9")  # tests at 127.0.0.1 go on
    with httpx.Client(base_url=site.base, transport=elsewhere) as http:
        wrong = [http.post("/web/login", data=FORM | {"key": f"prk_{n}"}) for n in range(25)]
    assert wrong[0].status_code == 401
    assert "opens nothing" in wrong[0].text
    assert "pressroom_session" not in wrong[0].cookies
    assert wrong[-1].status_code == 429
    assert "wait a minute" in wrong[-1].text


def test_a_form_on_another_site_signs_nobody_in_or_out(site):
    form = FORM | {"key": site.key_of(Scope.READ)}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        for door in ("login", "logout"):
            answer = httpx.post(f"{site.base}/web/{door}", data=form, headers=headers)
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers


def test_nothing_of_other_hosts_and_no_script_of_others_runs(visit, site, complaints):
    page = visit("/")
    answer = page.request.get("/web/")
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert "unsafe-inline" not in policy["script-src"]
    assert (
        page.request.get("/web/").headers["content-security-policy"]
        != answer.headers["content-security-policy"]
    )
    ran = page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.head.append(script);
            return window.ran ?? false;
        }"""
    )
    assert ran is False
    assert "Content Security Policy" in complaints.pop()
    hosts = {httpx.URL(one["name"]).host for one in page.evaluate(RESOURCES)}
    assert hosts == {httpx.URL(site.base).host}


RESOURCES = "() => performance.getEntriesByType('resource').map((one) => ({ name: one.name }))"


def test_a_key_that_is_revoked_opens_nothing_more(visit, api):
    made = api.post("/api/v1/keys", json={"name": "short-lived", "scopes": ["read"]}).json()
    page = visit("/floor", key=made["key"])
    api.delete(f"/api/v1/keys/{made['id']}").raise_for_status()
    page.wait_for_url("**/web/login**")
    page.goto("/web/floor")
    expect(page.get_by_label("API key")).to_be_visible()


def test_signing_out_forgets_the_visitor(page):
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/web/login")
    assert page.context.cookies() == []


def test_a_dropped_line_says_so_and_mends_itself(visit, site):
    page = visit("/floor")
    lost = page.locator("#popup")
    expect(lost).to_be_hidden()
    [gateway] = [
        one.pid for one in Supervisor(site.settings).states() if one.name == "gateway" and one.pid
    ]
    os.kill(gateway, signal.SIGSTOP)
    try:
        expect(lost).to_be_visible(timeout=LOST_SECONDS * 1000)
        expect(lost).to_contain_text("Connection lost")
    finally:
        os.kill(gateway, signal.SIGCONT)
    expect(lost).to_be_hidden(timeout=LOST_SECONDS * 1000)


def test_the_theme_that_one_chose_stays(visit):
    page = visit("/", theme="dark")
    expect(page.locator("body")).to_have_class(re.compile("body--dark"))
    page.get_by_role("button", name="Theme: as the system").click()
    expect(page.locator("body")).to_have_class(re.compile("body--light"))
    page.goto("/web/floor")
    expect(page.locator("body")).to_have_class(re.compile("body--light"))


def test_on_a_phone_the_rooms_are_behind_a_button(visit):
    page = visit("/", size=NARROW)
    floor = page.get_by_role("link", name="Floor")
    expect(floor).not_to_be_in_viewport()
    page.get_by_role("button", name="Rooms").click()
    floor.click()
    page.wait_for_url("**/web/floor")


def test_rooms_that_a_key_may_not_enter_are_not_shown(visit):
    page = visit("/floor", Scope.READ)
    expect(page.get_by_role("link", name="Jobs")).to_be_visible()
    expect(page.get_by_role("link", name="Keys")).to_have_count(0)


def test_the_first_tab_skips_to_the_page(page):
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the page")).to_be_focused()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_way_in_is_open_to_all(chromium, site, theme):
    context = chromium.new_context(base_url=site.base, color_scheme=theme)
    page = context.new_page()
    page.goto("/web/login")
    check_axe(page)
    context.close()
