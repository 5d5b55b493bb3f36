"""Money, as it is spent on a real stack: what the emulator billed is never more than the budget.

Four workers claim at once; the emulator fails some generations, loses replies, and cancels at cost.
"""

import os
import subprocess
import time
from decimal import Decimal

import httpx
import pytest

from tests.acceptance.conftest import PROGRAM

FLUX = "black-forest-labs-flux-1-schnell"
PRICE = Decimal("0.0025165824")  # of 1,024 x 1,024
JOBS, AFFORDED = 240, 90
SPEC = """
name: NAME
endpoint: black-forest-labs-flux-1-schnell
prompts: ["a fox", "an owl", "a hare"]
matrix: {seed: SEEDS}
tags: [nightly]
"""


@pytest.fixture(scope="module")
def more_workers(stack):
    """Beside those of the stack."""
    environment = {
        **os.environ,
        **{
            f"PRESSROOM_{name.upper()}": str(getattr(stack, name))
            for name in ("data_dir", "gateway_port", "flower_port", "emulator_port")
        },
    }
    workers = [
        subprocess.Popen(
            [PROGRAM, "run", "worker"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    yield
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait(60)


@pytest.fixture
def write(tmp_path):
    def write_one(name, jobs=JOBS, more=""):
        path = tmp_path / f"{name}.yaml"
        seeds = str(list(range(1, jobs // 3 + 1)))
        path.write_text(SPEC.replace("NAME", name).replace("SEEDS", seeds) + more)
        return str(path)

    return write_one


def billed(stack):
    reply = httpx.get(f"http://127.0.0.1:{stack.emulator_port}/admin/ledger")
    return Decimal(reply.json()["total_usd"])


def wait_until(said, holds, *, seconds=60.0):
    until = time.monotonic() + seconds
    while not holds(told := said()):
        assert time.monotonic() < until, told
        time.sleep(0.3)
    return told


@pytest.mark.usefixtures("more_workers")
def test_a_campaign_is_capped_raised_and_finished_and_the_bill_agrees(stack, pressroom, write):
    before = billed(stack)
    limit = PRICE * AFFORDED + PRICE / 2
    path = write("capped", more=f"budget: {{usd: {limit}, warn_at: 0.5}}\n")

    campaign = pressroom.read("campaign", "start", path, "--yes", "--detach")["campaign_id"]

    def show():
        return pressroom.read("campaign", "show", campaign)

    told = wait_until(
        show,
        lambda one: (
            one["completed"] == AFFORDED and not one["running"] and one["budgets"][0]["warned"]
        ),
    )
    [budget] = told["budgets"]
    assert (budget["capped"], budget["jobs_held"]) == (True, JOBS - AFFORDED)
    assert told["seconds_left"] is None
    assert billed(stack) - before == pytest.approx(PRICE * AFFORDED, abs=Decimal("0.0001"))
    assert billed(stack) - before <= limit
    shown = pressroom.call("campaign", "show", campaign).stdout.decode()
    assert f"{JOBS - AFFORDED} jobs wait for the budget 'campaign capped'" in " ".join(
        shown.split()
    )

    low = pressroom.call("budget", "set", "campaign capped", "--usd", "0.01")
    assert low.returncode == 1
    assert "is spent or reserved already" in low.stderr.decode()
    pressroom.read("budget", "set", "campaign capped", "--usd", "5")
    summary = pressroom.read("campaign", "watch", campaign)

    assert (summary["completed"], summary["failed"]) == (JOBS, 0)
    wait_until(show, lambda one: one["completed_at"])
    spent = billed(stack) - before
    assert pressroom.read("budget", "show") == []  # it is complete
    [budget] = pressroom.read("budget", "show", "--all")
    assert Decimal(str(budget["spent_usd"])) == pytest.approx(spent, abs=Decimal("0.0001"))
    assert budget["reserved_usd"] == 0
    rows = pressroom.read("spend", "--by", "campaign")
    assert {one["name"]: one["jobs"] for one in rows} == {"capped": JOBS}
    listing = pressroom.call("spend", "--by", "tag", "--csv").stdout.decode().splitlines()
    assert listing[0] == "tag,jobs,usd,may_be_billed_usd"
    assert listing[1].startswith(f"nightly,{JOBS},0.6")
    kinds = [
        one["kind"]
        for one in pressroom.read("budget", "ledger", "campaign capped", "--limit", "9999")
    ]
    assert (kinds.count("reserved"), kinds.count("spent"), kinds.count("limit")) == (JOBS, JOBS, 2)


@pytest.mark.usefixtures("more_workers")
def test_at_its_cap_the_rest_is_rejected_and_can_be_retried_later(stack, pressroom, write):
    before = billed(stack)
    limit = PRICE * 10
    path = write("ends", jobs=30, more=f"budget: {{usd: {limit}, at_cap: finish_in_flight}}\n")

    done = pressroom.call("campaign", "start", path, "--yes", "--json")

    assert done.returncode == 1  # not all of it came to a result
    [told] = [one for one in pressroom.read("campaign", "list") if one["name"] == "ends"]
    assert (told["completed"], told["failed"]) == (10, 20)
    [ending] = told["failures"]
    assert (ending["state"], ending["reason"]) == ("rejected", "over_budget")
    assert billed(stack) - before <= limit
    pressroom.read("budget", "set", "campaign ends", "--usd", "5")
    pressroom.read("campaign", "retry", told["campaign_id"], "--cause", "over_budget", "--yes")
    summary = pressroom.read("campaign", "watch", told["campaign_id"])
    assert summary["completed"] == 30


def test_slots_hold_and_another_pace_lets_it_finish(pressroom, write):
    path = write("slots", jobs=30, more="pace: {max_in_flight: 2}\n")
    campaign = pressroom.read("campaign", "start", path, "--yes", "--detach")["campaign_id"]

    def show():
        return pressroom.read("campaign", "show", campaign)

    told = wait_until(show, lambda one: one["completed"] >= 2)
    assert told["running"] <= 2
    assert pressroom.call("campaign", "pace", campaign, "--max-in-flight", "0").returncode == 0
    summary = pressroom.read("campaign", "watch", campaign)
    assert (summary["completed"], summary["max_in_flight"]) == (30, None)
    refused = pressroom.call("campaign", "pace", campaign)
    assert refused.returncode == 2


def test_bad_budgets_are_refused_and_the_empty_state_says_how_to_begin(pressroom):
    for words, said in (
        (("set", "x", "--usd", "0"), "an amount above 0"),
        (("set", "x", "--usd", "much"), "usd: much came"),
        (("set", "x"), "its limit was wanted"),
        (("set", "x", "--usd", "5", "--zone", "Europe/Berln"), "did you mean 'Europe/Berlin'"),
        (("set", "x", "--usd", "5", "--tag", "a", "--campaign", "b"), "several came"),
        (("show", "nothing"), "no budget has the id 'nothing'"),
    ):
        done = pressroom.call("budget", *words)
        assert done.returncode in {1, 2}, words
        assert said in " ".join(done.stderr.decode().split()), words
    none = pressroom.call("spend", "--since", "2020-01-01", "--until", "2020-02-01")
    assert "nothing was spent" in none.stderr.decode()
