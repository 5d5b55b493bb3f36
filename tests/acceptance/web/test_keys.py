"""Keys: made, changed, rotated, revoked; and a secret that is seen once."""

import re
import time

import httpx
import pytest
from playwright.sync_api import Page, expect

from models.key import Scope
from tests.acceptance.web.conftest import DIALOG, NARROW, SECONDS, check_axe

HOSTILE = "<img src=x onerror=alert(1)>"


def opens(site, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{site.base}/api/v1/jobs", headers=headers).status_code == 200


def wait_until_closed(page: Page, site, key: str) -> None:
    """A gateway knows a key for a second after it was revoked."""
    deadline = time.monotonic() + SECONDS
    while opens(site, key):
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)


def row(page: Page, name: str):
    return page.get_by_role("table", name="Keys").get_by_role("row").filter(has_text=name)


def take_secret(page: Page) -> str:
    """What the dialog shows, which then is closed, and the page knows it no more."""
    shown = page.get_by_role("alertdialog").get_by_label("API key", exact=True)
    expect(shown).to_have_value(re.compile("^prk_.{43}$"))
    secret = shown.input_value()
    page.get_by_role("button", name="I have it").click()
    expect(page.get_by_role("alertdialog")).to_have_count(0)
    everything = page.evaluate(
        """() => document.documentElement.outerHTML + [...document.querySelectorAll("input")]
            .map((one) => one.value).join() + JSON.stringify(window.mounted_app?.elements ?? {})"""
    )
    assert secret not in everything
    return secret


def test_a_new_keys_secret_works_and_is_gone_from_the_page(visit, site, api):
    page = visit("/keys")
    page.get_by_role("button", name="Make a key").click()
    form = page.get_by_role("dialog", name="Make a key")
    form.get_by_label("Name").fill(HOSTILE)
    form.get_by_role("checkbox", name="Read: look at its own jobs").click()
    form.get_by_label("Requests a second").fill("7")
    form.get_by_role("button", name="Make the key").click()
    secret = take_secret(page)

    assert opens(site, secret)
    expect(row(page, HOSTILE)).to_contain_text("read, run")
    [made] = [one for one in api.get("/api/v1/keys").json()["keys"] if one["name"] == HOSTILE]
    assert (made["requests_per_second"], made["weight"]) == (7, 1)
    logs = [path.read_text() for path in (site.settings.data_dir / "logs").glob("*.log")]
    assert not any(secret in log for log in logs)


def test_a_key_without_a_scope_is_refused_in_the_form(visit):
    page = visit("/keys")
    page.get_by_role("button", name="Make a key").click()
    form = page.get_by_role("dialog", name="Make a key")
    form.get_by_label("Name").fill("nothing at all")
    form.get_by_role("checkbox", name="Run: hand in").click()
    form.get_by_role("button", name="Make the key").click()
    expect(form.get_by_role("alert")).to_contain_text("scopes")
    expect(row(page, "nothing at all")).to_have_count(0)


def test_a_key_is_rotated_and_the_old_secret_ends_later(visit, site, api):
    made = api.post("/api/v1/keys", json={"name": "to rotate", "scopes": ["read"]}).json()
    page = visit("/keys")
    page.get_by_role("button", name="Give the key to rotate a new secret").click()
    page.get_by_role("button", name="Make a new secret").click()
    secret = take_secret(page)

    assert secret != made["key"]
    assert opens(site, secret)
    assert opens(site, made["key"])
    expect(row(page, "to rotate")).to_contain_text("in 23h")


def test_a_key_is_revoked_when_it_is_meant(visit, site, api):
    made = api.post("/api/v1/keys", json={"name": "to revoke", "scopes": ["read"]}).json()
    page = visit("/keys")
    revoke = page.get_by_role("button", name="Revoke the key to revoke")
    revoke.click()
    expect(page.get_by_role("alertdialog")).to_contain_text("opens nothing any more")
    page.get_by_role("button", name="Leave it").click()
    assert opens(site, made["key"])
    revoke.click()
    page.get_by_role("button", name="Revoke the key", exact=True).click()
    expect(row(page, "to revoke")).to_have_count(0)
    wait_until_closed(page, site, made["key"])
    page.get_by_role("switch", name="Revoked ones, too").click()
    expect(row(page, "to revoke")).to_contain_text("revoked")
    expect(page).to_have_url(re.compile("revoked=true"))


def test_a_keys_weight_and_rate_are_changed(visit, api):
    made = api.post("/api/v1/keys", json={"name": "to change", "requests_per_second": 5}).json()
    page = visit("/keys?named=to+change")
    expect(page.get_by_role("table", name="Keys").get_by_role("row")).to_have_count(2)
    page.get_by_role("button", name="Change the key to change").click()
    form = page.get_by_role("dialog", name="Change to change")
    form.get_by_label("Weight").fill("2.5")
    form.get_by_label("Requests a second").fill("")
    form.get_by_role("button", name="Change the key").click()
    expect(row(page, "to change")).to_contain_text("as all")
    key = api.get(f"/api/v1/keys/{made['id']}").json()
    assert (key["weight"], key["requests_per_second"]) == (2.5, None)


def test_who_does_not_operate_is_told_which_scope_it_takes(visit):
    page = visit("/keys", Scope.RUN)
    expect(page.get_by_text("Keys takes the scope operate")).to_be_visible()
    expect(page.get_by_role("table")).to_have_count(0)
    expect(page.get_by_role("button", name="Make a key")).to_have_count(0)
    check_axe(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_keys_are_open_to_all(visit, theme):
    page = visit("/keys", theme=theme)
    expect(page.get_by_role("table", name="Keys")).to_be_visible()
    check_axe(page)
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page.get_by_role("button", name="Make a key").click()
    form = page.get_by_role("dialog", name="Make a key")
    form.get_by_label("Name").fill(f"of the {theme}")
    check_axe(page, within=DIALOG)
    form.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("alertdialog")).to_be_visible()
    check_axe(page, within=DIALOG)
    take_secret(page)
