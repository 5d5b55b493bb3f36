"""Each fault of the emulator does what it says, to whom it says, as often as it says."""

import asyncio
import contextlib
import json

import aiohttp
import pytest

from endpoints.emulator import Clock, EmulatorConfig, listening

KEY = {"Authorization": "Bearer rpa_emulator"}
NAME = "black-forest-labs-flux-1-schnell"
FLUX = f"/v2/{NAME}"
FOX = {"input": {"prompt": "fox", "width": 256, "height": 256}}
BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)


@pytest.fixture
def clock():
    """A clock that stands still until a test moves it."""
    return Clock(factor=0)


@pytest.fixture
async def client(clock):
    """A caller of an emulator with exact execution times of 10 s."""
    config = EmulatorConfig(port=0, spread=0, execution_seconds=10)
    async with (
        listening(config, clock=clock) as url,
        aiohttp.ClientSession(url, headers=KEY) as session,
    ):
        yield session


async def arm(client, kind, **settings):
    """Arm a fault."""
    async with client.post("/admin/faults", json={"kind": kind, **settings}) as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.json())["id"]


async def submit(client):
    """Return the id of a new job."""
    async with client.post(f"{FLUX}/run", json=FOX) as answer:
        return (await answer.json())["id"]


async def show(client, job_id):
    """Return the HTTP status and the JSON of the job's status reply."""
    async with client.get(f"{FLUX}/status/{job_id}") as answer:
        return answer.status, await answer.json()


async def read_admin(client, page):
    """Return a page of the controls."""
    async with client.get(f"/admin/{page}") as answer:
        return await answer.json()


async def finished_file(client, clock):
    """Return the URL of a completed job's image."""
    job_id = await submit(client)
    clock.skip(20)
    _, reply = await show(client, job_id)
    return reply["output"]["image_url"]


async def test_busy_is_a_429_with_retry_after_if_asked_as_often_as_counted(client):
    await arm(client, "busy", operation="run", count=1, retry_after=3)

    async with client.post(f"{FLUX}/run", json=FOX) as first:
        struck = first.status, first.headers["Retry-After"]
    async with client.post(f"{FLUX}/run", json=FOX) as second:
        spared = second.status

    assert struck == (429, "3")
    assert spared == 200


async def test_error_answers_with_the_wanted_status_and_text(client):
    await arm(client, "error", status=503, body="maintenance")

    async with client.get(f"{FLUX}/health") as answer:
        assert answer.status == 503
        assert "maintenance" in await answer.text()


async def test_a_fault_strikes_only_the_endpoint_and_operation_that_it_names(client):
    await arm(client, "error", endpoint="p-video", operation="run")

    async with (
        client.post("/v2/p-video/run", json=FOX) as named,
        client.post(f"{FLUX}/run", json=FOX) as other,
    ):
        codes = named.status, other.status

    assert codes == (502, 200)


async def test_hang_never_answers_and_lets_the_emulator_stop_at_once(clock):
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(headers=KEY) as client:
        async with listening(EmulatorConfig(port=0), clock=clock) as url:
            await client.post(f"{url}/admin/faults", json={"kind": "hang"})
            asked = asyncio.ensure_future(client.post(f"{url}{FLUX}/run", json=FOX))
            done, _ = await asyncio.wait({asked}, timeout=0.2)
            stopped_at = loop.time()
        stopping_took = loop.time() - stopped_at
        with pytest.raises(BROKEN):
            await asked

    assert not done
    assert stopping_took < 2


async def test_slow_answers_after_its_real_seconds(client):
    await arm(client, "slow", seconds=0.2)
    loop = asyncio.get_running_loop()
    asked_at = loop.time()

    await submit(client)

    assert loop.time() - asked_at >= 0.2


async def test_reset_before_drops_the_connection_and_accepts_nothing(client):
    await arm(client, "reset_before", operation="run")

    with pytest.raises(BROKEN):
        await submit(client)

    stats = await read_admin(client, "stats")
    assert stats["jobs"]["accepted"] == 0
    assert stats["endpoints"][NAME]["run"]["answered"] == {"dropped": 1}


async def test_reset_after_drops_the_connection_of_a_job_that_runs_and_is_billed(client, clock):
    await arm(client, "reset_after", operation="run")

    with pytest.raises(BROKEN):
        await submit(client)
    clock.skip(20)

    ledger = await read_admin(client, "ledger")
    assert ledger["jobs"] == 1


async def test_error_after_answers_with_an_error_although_the_job_is_accepted(client):
    await arm(client, "error_after", operation="run", status=504)

    async with client.post(f"{FLUX}/run", json=FOX) as answer:
        assert answer.status == 504

    assert (await read_admin(client, "stats"))["jobs"]["accepted"] == 1


async def test_garbage_is_a_200_that_names_no_job_in_five_different_ways(client):
    await arm(client, "garbage", operation="run", count=5)

    bodies = []
    for _ in range(5):
        async with client.post(f"{FLUX}/run", json=FOX) as answer:
            assert answer.status == 200
            bodies.append(await answer.text())

    assert len(set(bodies)) == 5
    for body in bodies:
        with contextlib.suppress(json.JSONDecodeError):
            assert "id" not in json.loads(body)


async def test_truncated_is_a_200_with_the_first_half_of_the_reply(client):
    await arm(client, "truncated", operation="run", count=1)

    async with client.post(f"{FLUX}/run", json=FOX) as answer:
        body = await answer.text()

    assert answer.status == 200
    assert body.startswith('{"id": "')
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    assert (await read_admin(client, "stats"))["jobs"]["accepted"] == 1


@pytest.mark.parametrize("status", [200, 502])
async def test_html_is_a_page_for_people_and_accepts_nothing(client, status):
    await arm(client, "html", operation="run", status=status)

    async with client.post(f"{FLUX}/run", json=FOX) as answer:
        page = await answer.text()

    assert (answer.status, answer.content_type) == (status, "text/html")
    assert page.startswith("<!doctype html>")
    assert (await read_admin(client, "stats"))["jobs"]["accepted"] == 0


async def test_forget_early_keeps_a_result_for_its_emulated_seconds_and_no_longer(client, clock):
    await arm(client, "forget_early", seconds=30, count=1)
    forgotten, kept = await submit(client), await submit(client)
    clock.skip(25)
    before = [(await show(client, job))[0] for job in (forgotten, kept)]
    clock.skip(30)
    after = [(await show(client, job))[0] for job in (forgotten, kept)]

    assert before == [200, 200]
    assert after == [404, 200]


async def test_not_found_denies_a_job_that_lives(client):
    job_id = await submit(client)
    await arm(client, "not_found", count=1)

    denied, _ = await show(client, job_id)
    found, _ = await show(client, job_id)

    assert (denied, found) == (404, 200)


async def test_lose_job_accepts_a_job_that_nobody_knows_afterwards(client):
    await arm(client, "lose_job")

    code, _ = await show(client, await submit(client))

    assert code == 404


async def test_fail_job_ends_failed_with_a_text_and_costs_nothing_until_it_is_retried(
    client, clock
):
    await arm(client, "fail_job", count=1, body="out of memory")
    job_id = await submit(client)
    clock.skip(20)
    _, failed = await show(client, job_id)
    cost_of_failure = (await read_admin(client, "ledger"))["total_usd"]
    async with client.post(f"{FLUX}/retry/{job_id}") as answer:
        assert answer.status == 200
    clock.skip(20)
    _, retried = await show(client, job_id)

    assert (failed["status"], failed["error"]) == ("FAILED", "out of memory")
    assert "output" not in failed
    assert cost_of_failure == "0"
    assert retried["status"] == "COMPLETED"


async def test_some_error_texts_embed_json(client, clock):
    await arm(client, "fail_job")
    jobs = [await submit(client) for _ in range(3)]
    clock.skip(20)

    errors = [(await show(client, job))[1]["error"] for job in jobs]

    assert len(set(errors)) == 3
    assert any('{"code": 400' in error for error in errors)


async def test_odd_status_ends_a_job_in_a_state_of_no_list(client, clock):
    await arm(client, "odd_status")
    job_id = await submit(client)
    clock.skip(20)

    _, reply = await show(client, job_id)

    assert reply["status"] == "ERROR"


async def test_unknown_shape_gives_the_url_in_four_undocumented_places(client, clock):
    await arm(client, "unknown_shape")
    jobs = [await submit(client) for _ in range(4)]
    clock.skip(20)

    outputs = [(await show(client, job))[1]["output"] for job in jobs]

    assert set(outputs[0]) == {"result"}
    assert isinstance(outputs[1], str)
    assert isinstance(outputs[2], list)
    assert set(outputs[3]) == {"url"}


async def test_broken_file_cuts_a_download_half_way(client, clock):
    url = await finished_file(client, clock)
    await arm(client, "broken_file", count=1)

    with pytest.raises(BROKEN):
        async with client.get(url) as answer:
            await answer.read()
    async with client.get(url) as answer:
        whole = await answer.read()

    assert len(whole) == int(answer.headers["Content-Length"])


async def test_file_error_refuses_a_download_as_often_as_counted(client, clock):
    url = await finished_file(client, clock)
    await arm(client, "file_error", count=2)

    codes = []
    for _ in range(3):
        async with client.get(url) as answer:
            codes.append(answer.status)

    assert codes == [503, 503, 200]


async def test_drip_sends_one_byte_and_then_keeps_the_caller_waiting(client):
    await arm(client, "drip", operation="health")

    async with client.get(f"{FLUX}/health") as answer:
        first = await answer.content.readany()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answer.content.readany(), 0.2)

    assert first == b"{"


async def test_what_drips_comes_at_once_when_the_fault_is_taken_away(client):
    drip = await arm(client, "drip", operation="health")

    async with client.get(f"{FLUX}/health") as answer:
        await answer.content.readany()
        await client.delete(f"/admin/faults/{drip}")
        rest = await asyncio.wait_for(answer.content.read(), 5)

    assert b"workers" in rest


async def test_faults_are_listed_and_disarmed_one_by_one_or_all(client):
    first = await arm(client, "busy")
    await arm(client, "slow", seconds=0)
    await client.delete(f"/admin/faults/{first}")
    left = [fault["kind"] for fault in await read_admin(client, "faults")]
    await client.delete("/admin/faults")

    assert left == ["slow"]
    assert await read_admin(client, "faults") == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "bussy"}, "did you mean 'busy'?"),
        ({}, "wanted one of busy"),
        ({"kind": "busy", "seconds": 2}, "seconds: unknown to busy"),
        ({"kind": "error", "status": 200}, "status: 200 is not an HTTP error"),
        ({"kind": "busy", "probability": 2}, "probability"),
        ({"kind": "busy", "operation": "ran"}, "operation: 'ran' is not one of"),
        ({"kind": "busy", "count": "many"}, "count: 'many' is of the wrong type"),
    ],
)
async def test_a_fault_that_cannot_be_armed_is_refused_with_the_reason(client, fault, said):
    async with client.post("/admin/faults", json=fault) as answer:
        assert answer.status == 400
        assert said in (await answer.json())["error"]
