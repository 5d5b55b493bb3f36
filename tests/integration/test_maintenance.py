"""Maintenance: nothing new is sent, nothing that was sent is lost, and everybody is told why."""

import asyncio
from typing import Any

import pytest

from models.job import JobState
from models.key import Scope
from models.lane import StageName, list_lane_states
from tasks.archive import ARCHIVE
from tasks.poll import POLL
from tasks.submit import SUBMIT
from tasks.sweep import sweep_lanes
from tests.integration.conftest import FLUX, client_of, find_job, run_until
from workers.lane import LaneRun

FOX = {"endpoint": FLUX, "input": {"prompt": "a fox"}}


@pytest.fixture
async def operator(gateway_app, issue):
    key, _ = await issue("operator", Scope.OPERATE, Scope.RUN)
    async with client_of(gateway_app, key) as client:
        yield client


async def switch(operator, runtime, **asked):
    response = await operator.put("/api/v1/maintenance", json=asked)
    assert response.status_code == 200, response.text
    await runtime.operator.get(fresh=True)  # as each worker does within 5 s
    return response.json()


@pytest.mark.usefixtures("emulator")
async def test_what_was_sent_is_brought_home_and_nothing_new_is_sent(operator, runtime):
    sent = (await operator.post("/api/v1/jobs", json=FOX)).json()["id"]
    await run_until(runtime, sent, {JobState.IN_QUEUE}, stages=[SUBMIT])
    await switch(operator, runtime, on=True, reason="new prices")
    waits = (await operator.post("/api/v1/jobs", json=FOX)).json()["id"]

    done = await run_until(runtime, sent, stages=[SUBMIT, POLL])
    stored = await LaneRun(runtime, ARCHIVE, FLUX).run()
    held = await find_job(runtime, waits)
    why = (await operator.get(f"/api/v1/jobs/{waits}")).json()["why"]
    await switch(operator, runtime, on=False)
    after = await run_until(runtime, waits)

    assert (done.state, stored) == (JobState.COMPLETED, 1)
    assert (held.state, held.attempt) == (JobState.QUEUED, 0)
    assert "maintenance: new prices" in why
    assert after.state is JobState.COMPLETED


@pytest.mark.usefixtures("emulator")
async def test_no_bell_is_rung_for_what_rests_until_it_is_over(operator, runtime):
    await operator.post("/api/v1/jobs", json=FOX)
    await switch(operator, runtime, on=True)
    await runtime.redis.flushall()  # the bell that the request rang

    rested = await sweep_lanes(runtime)
    began = await LaneRun(runtime, SUBMIT, FLUX).run()
    chained = await runtime.redis.keys("*submit*")
    await switch(operator, runtime, on=False)

    assert (rested, began, chained) == (0, 0, [])
    assert await sweep_lanes(runtime) == 1


async def test_everybody_who_looks_is_told(operator, gateway, runtime):
    await operator.post("/api/v1/jobs", json=FOX)

    told = await switch(operator, runtime, on=True, reason="new prices")

    assert (told["on"], told["reason"], told["refuse"]) == (True, "new prices", False)
    assert (await operator.get("/api/v1/maintenance")).json() == told
    [lane] = (await operator.get("/api/v1/lanes")).json()["lanes"]
    assert (lane["state"], lane["why"]) == ("maintenance", "maintenance: new prices")
    ready = (await gateway.get("/readyz")).json()
    assert ready["ready"]
    assert "maintenance: new prices" in ready["parts"]["lanes"]
    polls = (await operator.get(f"/api/v1/lanes/poll/{FLUX}")).json()
    assert polls["state"] == "open"


@pytest.mark.parametrize("path", ["/api/v1/jobs", f"/v2/{FLUX}/run", f"/v2/{FLUX}/batch"])
async def test_what_is_refused_is_not_kept_and_may_come_again(operator, runtime, path):
    body: Any = FOX if path.startswith("/api") else {"input": FOX["input"]}
    await switch(operator, runtime, on=True, reason="new prices", refuse=True)

    refused = await operator.post(path, json=body)

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert "maintenance: new prices" in refused.text
    async with runtime.database.begin() as session:
        assert await list_lane_states(session, stage=StageName.SUBMIT) == []
    await switch(operator, runtime, on=False)
    body = [body] if path.endswith("/batch") else body
    assert (await operator.post(path, json=body)).is_success


async def test_a_text_that_is_streamed_waits_for_nothing_and_is_refused(operator, runtime):
    await switch(operator, runtime, on=True)

    async with asyncio.timeout(5):
        refused = await operator.post(
            "/v2/granite-4-0-h-small/openai/v1/chat/completions",
            json={"messages": [{"role": "user", "content": "hello"}]},
        )

    assert refused.status_code == 503
    assert "maintenance" in refused.json()["error"]["message"]


@pytest.mark.usefixtures("emulator")
async def test_a_text_that_was_made_before_is_told_again(operator, runtime):
    path = "/v2/granite-4-0-h-small/openai/v1/chat/completions"
    said = [{"role": "user", "content": "hello"}]
    body = {"model": "ibm-granite/granite-4.0-h-small", "messages": said}
    named = {"Idempotency-Key": "hello-1"}
    first = await operator.post(path, json=body, headers=named)
    await switch(operator, runtime, on=True)

    again = await operator.post(path, json=body, headers=named)
    other = await operator.post(path, json=body, headers={"Idempotency-Key": "hello-2"})

    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.status_code == 503
