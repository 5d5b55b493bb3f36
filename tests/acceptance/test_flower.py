"""Flower as operators use it, in a real browser, on a running stack."""

import shutil
import time

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from workers.flower import USER
from workers.stack.lifecycle import flower_url

CHROMIUM = shutil.which("chromium")
FLUX = "black-forest-labs-flux-1-schnell"
PROMPT = "a heron that nobody may read of"
SECONDS = 20.0  # Flower reads the jobs twice a second; the machine may be busy
ACTS = (
    "task/send-task/pressroom.canary",
    "task/async-apply/pressroom.sweep",
    "worker/shutdown/worker-1",
    "task/revoke/1",
)


@pytest.fixture(scope="module")
def login(stack):
    return USER, (stack.data_dir / "run" / "flower-password").read_text()


@pytest.fixture(scope="module")
def flower(stack, login):
    with httpx.Client(base_url=flower_url(stack), auth=login, timeout=20) as http:
        yield http


@pytest.fixture(scope="module")
def done(pressroom):
    """A generation that has ended, with its file stored."""
    return pressroom.read("generate", FLUX, "-p", PROMPT, "--wait")


@pytest.fixture
def page(stack, login):
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(
            base_url=flower_url(stack),
            http_credentials={"username": login[0], "password": login[1]},
            viewport={"width": 1600, "height": 900},
        )
        context.set_default_timeout(SECONDS * 1000)
        yield context.new_page()
        browser.close()


def wait_for_task(flower, task_id, state):
    """What Flower's API says of a task, once it is in a state."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        found = flower.get(f"/api/task/info/{task_id}")
        if found.is_success and found.json()["state"] == state:
            return found.json()
        time.sleep(0.1)
    raise AssertionError(f"{task_id} is not {state}: {found.status_code} {found.text}")


@pytest.mark.parametrize("path", ["", "tasks", "broker", "metrics", "api/tasks", "api/workers"])
def test_a_stranger_sees_nothing(flower, path):
    assert httpx.get(flower.base_url.join(path)).status_code == 401
    assert flower.get(path).is_success


@pytest.mark.parametrize("act", ACTS)
def test_nobody_acts_through_it(flower, act):
    assert httpx.post(flower.base_url.join(f"api/{act}")).status_code == 401
    assert flower.post(f"api/{act}", json={}).status_code == 403


def test_a_generation_is_a_task_with_its_true_state_and_without_what_is_in_it(flower, done):
    task = wait_for_task(flower, done["id"], "SUCCESS")

    assert (task["name"], task["worker"]) == ("pressroom.generate", FLUX)
    assert task["args"] == f"('{FLUX}',)"
    assert done["upstream_id"] in task["kwargs"]
    assert 0 < task["runtime"] < SECONDS
    assert task["started"] >= task["received"]
    everything = flower.get("/api/tasks", params={"limit": 10_000}).text
    assert done["id"] in everything
    assert PROMPT not in everything


def test_one_that_waits_is_received_and_one_that_was_cancelled_revoked(pressroom, flower):
    pressroom.call("lanes", "pause", "submit", "p-video")
    held = pressroom.read("generate", "p-video", "-p", PROMPT, "--yes", "--no-wait")

    wait_for_task(flower, held["id"], "RECEIVED")
    pressroom.call("jobs", "cancel", held["id"], "--yes")

    wait_for_task(flower, held["id"], "REVOKED")


def test_stages_say_what_they_did(flower, done):
    assert done["state"] == "completed"
    tasks = flower.get("/api/tasks", params={"limit": 1_000}).json().values()

    results = {task["name"]: task["result"] for task in tasks if task["state"] == "SUCCESS"}

    assert "'claimed 1, accepted 1'" in {task["result"] for task in tasks}
    assert results.keys() >= {"pressroom.submit", "pressroom.poll", "pressroom.archive"}
    assert "pressroom.sweep" not in results
    assert "None" not in results.values()


def test_the_job_is_found_in_the_browser_by_its_id_and_by_the_upstreams(page, done, tmp_path):
    page.goto("tasks")
    for given in (done["id"], done["upstream_id"]):
        page.get_by_role("searchbox").fill(given)
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody tr")).to_contain_text("SUCCESS")
        expect(page.locator("tbody tr")).to_contain_text(FLUX)
    page.screenshot(path=tmp_path / "tasks.png")
    page.get_by_role("link", name=done["id"]).click()
    expect(page.get_by_role("region")).to_contain_text("pressroom.generate")

    assert (tmp_path / "tasks.png").read_bytes().startswith(b"\x89PNG")
    expect(page.locator("body")).to_contain_text(done["upstream_id"])
    expect(page.locator("body")).not_to_contain_text(PROMPT)


def test_workers_and_queues_are_seen_by_name(page, stack):
    page.goto("workers")
    for name in ("worker-1@", "worker-2@"):
        expect(page.locator("tbody tr").filter(has_text=name)).to_contain_text("Online")
    expect(page.locator("tbody")).not_to_contain_text(FLUX)  # an endpoint is none

    page.goto("broker")
    for queue in ("submit", "poll", "archive", "notify", "webhook"):
        expect(page.get_by_role("cell", name=queue, exact=True)).to_be_visible()
    assert str(stack.data_dir) in page.content()


def test_the_worker_of_a_generation_is_said_to_be_an_endpoint(page, done):
    page.goto(f"worker/{done['endpoint']}")

    expect(page.locator("body")).to_contain_text("is an endpoint, no worker")
