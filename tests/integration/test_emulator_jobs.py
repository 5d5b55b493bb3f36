"""The emulator's jobs: what it lets in, the states they go through, what it bills."""

import asyncio
import io
import json
import time
from decimal import Decimal

import aiohttp
import pytest

from endpoints.emulator import Clock, EmulatorConfig, listening

KEY = {"Authorization": "Bearer rpa_emulator"}
FLUX = "/v2/black-forest-labs-flux-1-schnell"
FLUX_SECONDS = 30.0  # more than any of its jobs takes
FOX = {"input": {"prompt": "A red fox in fresh snow", "seed": 7}}
HALF_HOUR = 30 * 60.0


@pytest.fixture
def clock():
    """A clock that stands still until a test moves it."""
    return Clock(factor=0)


@pytest.fixture
async def url(clock):
    """An emulator with two workers an endpoint and exact execution times."""
    config = EmulatorConfig(port=0, workers=2, spread=0, execution_seconds=10)
    async with listening(config, clock=clock) as url:
        yield url


@pytest.fixture
async def client(url):
    """A caller of the emulator."""
    async with aiohttp.ClientSession(url, headers=KEY) as session:
        yield session


async def ask(client, method, path, **options):
    """Return the HTTP status and the JSON of a reply."""
    async with client.request(method, path, **options) as answer:
        return answer.status, await answer.json()


async def submit(client, path=FLUX, body=FOX, operation="run"):
    """Return the id of a new job."""
    code, reply = await ask(client, "POST", f"{path}/{operation}", json=body)
    assert code == 200, reply
    return reply["id"]


async def show(client, job_id, path=FLUX):
    """Return the job's status reply."""
    code, reply = await ask(client, "GET", f"{path}/status/{job_id}")
    assert code == 200, reply
    return reply


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"Authorization": "Bearer rpa_emulator"}, 200),
        ({"Authorization": "rpa_emulator"}, 200),
        ({"Authorization": "Bearer rpa_other"}, 401),
        ({}, 401),
    ],
)
async def test_only_a_known_key_is_let_in_with_or_without_bearer(url, header, expected):
    async with aiohttp.ClientSession(url, headers=header) as anybody:
        code, _ = await ask(anybody, "GET", f"{FLUX}/health")

    assert code == expected


@pytest.mark.parametrize("name", ["no-such-endpoint", "whisper-v3-large"])
async def test_an_unknown_or_withdrawn_endpoint_is_answered_with_404(client, name):
    code, _ = await ask(client, "POST", f"/v2/{name}/run", json=FOX)

    assert code == 404


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"input": {"prompt": "fox", "width": 1000}}, "width"),
        ({"input": {"promt": "fox"}}, "promt"),
        ({"input": "fox"}, "input"),
        ({}, "input"),
        ([], "body"),
        ({**FOX, "priority": 1}, "priority"),
        ({**FOX, "policy": {"ttl": 9_999}}, "policy.ttl"),
        ({**FOX, "policy": {"executionTimeout": True}}, "policy.executionTimeout"),
        ({**FOX, "webhook": "ftp://example.com"}, "webhook"),
    ],
)
async def test_a_bad_body_is_a_400_that_carries_an_id_and_names_the_field(client, body, named):
    code, reply = await ask(client, "POST", f"{FLUX}/run", json=body)

    assert code == 400
    assert reply["id"].startswith("sync-")
    assert reply["status"] == "FAILED"
    assert named in reply["error"]


async def test_what_is_not_json_is_a_400(client):
    code, reply = await ask(client, "POST", f"{FLUX}/run", data=b"{prompt: fox")

    assert (code, reply["status"]) == (400, "FAILED")


async def test_a_body_over_ten_megabytes_is_too_large_for_run_but_not_for_runsync(client):
    body = json.dumps({"input": {"prompt": "x" * 11_000_000}}).encode()

    run, _ = await ask(client, "POST", f"{FLUX}/run", data=io.BytesIO(body))
    runsync = asyncio.ensure_future(ask(client, "POST", f"{FLUX}/runsync", data=io.BytesIO(body)))
    async with asyncio.timeout(20):
        while not (await ask(client, "GET", "/admin/stats"))[1]["jobs"]["accepted"]:
            pass
    await ask(client, "POST", "/admin/clock", json={"skip_seconds": FLUX_SECONDS})

    assert run == 413
    assert (await runsync)[0] == 200


async def test_a_job_goes_from_the_queue_over_a_worker_to_its_output(client, clock):
    job_id = await submit(client)
    queued = await show(client, job_id)
    clock.skip(5)
    running = await show(client, job_id)
    clock.skip(FLUX_SECONDS)
    completed = await show(client, job_id)

    assert queued == {"id": job_id, "status": "IN_QUEUE"}
    assert running["status"] in {"IN_PROGRESS", "RUNNING"}
    assert completed["status"] == "COMPLETED"
    assert (completed["delayTime"], completed["executionTime"]) == (12, 10_000)
    assert completed["output"]["cost"] == 0.00251658
    assert None not in {*queued.values(), *running.values()}


async def test_a_third_job_waits_until_one_of_two_workers_is_free(client, clock):
    jobs = [await submit(client) for _ in range(3)]
    clock.skip(5)

    waiting = [(await show(client, job))["status"] == "IN_QUEUE" for job in jobs]
    clock.skip(10)
    later = [(await show(client, job))["status"] == "COMPLETED" for job in jobs]

    assert waiting == [False, False, True]
    assert later == [True, True, False]


async def test_a_result_is_gone_half_an_hour_after_the_end(client, clock):
    job_id = await submit(client)
    clock.skip(FLUX_SECONDS)
    clock.skip(HALF_HOUR - FLUX_SECONDS)
    kept, _ = await ask(client, "GET", f"{FLUX}/status/{job_id}")
    clock.skip(FLUX_SECONDS)
    gone, _ = await ask(client, "GET", f"{FLUX}/status/{job_id}")
    _, stats = await ask(client, "GET", "/admin/stats")

    assert (kept, gone) == (200, 404)
    assert stats["jobs"]["remembered"] == 0


async def test_a_runsync_result_is_gone_after_a_minute(client, clock):
    pending = asyncio.ensure_future(ask(client, "POST", f"{FLUX}/runsync", json=FOX))
    async with asyncio.timeout(20):
        while not (await ask(client, "GET", "/admin/stats"))[1]["jobs"]["accepted"]:
            pass
    await ask(client, "POST", "/admin/clock", json={"skip_seconds": 11})
    _, reply = await pending
    clock.skip(50)
    kept, _ = await ask(client, "GET", f"{FLUX}/status/{reply['id']}")
    clock.skip(11)
    gone, _ = await ask(client, "GET", f"{FLUX}/status/{reply['id']}")

    assert reply["status"] == "COMPLETED"
    assert reply["id"].startswith("sync-")
    assert (kept, gone) == (200, 404)


async def test_runsync_answers_with_an_unfinished_job_when_its_wait_is_over():
    config = EmulatorConfig(port=0, clock_factor=100, spread=0, execution_seconds=500)
    async with (
        listening(config) as url,
        aiohttp.ClientSession(url, headers=KEY) as client,
    ):
        code, reply = await ask(client, "POST", f"{FLUX}/runsync?wait=1000", json=FOX)
        too_long, _ = await ask(client, "POST", f"{FLUX}/runsync?wait=300001", json=FOX)

    assert code == 200
    assert reply["status"] in {"IN_QUEUE", "IN_PROGRESS", "RUNNING"}
    assert "output" not in reply
    assert too_long == 400


async def test_a_job_whose_ttl_passes_is_gone_even_while_it_runs(client, clock):
    body = {**FOX, "policy": {"ttl": 10_000}}
    job_id = await submit(client, body=body)
    clock.skip(9.9)
    kept, _ = await ask(client, "GET", f"{FLUX}/status/{job_id}")
    clock.skip(0.2)
    gone, _ = await ask(client, "GET", f"{FLUX}/status/{job_id}")
    _, ledger = await ask(client, "GET", "/admin/ledger")

    assert (kept, gone) == (200, 404)
    assert ledger["total_usd"] == "0"


async def test_a_job_that_runs_too_long_times_out_for_free_and_can_be_retried(client, clock):
    job_id = await submit(client, body={**FOX, "policy": {"executionTimeout": 5_000}})
    clock.skip(6)
    overrun = await show(client, job_id)
    code, retried = await ask(client, "POST", f"{FLUX}/retry/{job_id}")
    _, ledger = await ask(client, "GET", "/admin/ledger")

    assert (overrun["status"], overrun["executionTime"]) == ("TIMED_OUT", 5_000)
    assert (code, retried) == (200, {"id": job_id, "status": "IN_QUEUE"})
    assert ledger["jobs"] == 0


async def test_a_completed_job_cannot_be_retried(client, clock):
    job_id = await submit(client)
    clock.skip(FLUX_SECONDS)

    code, _ = await ask(client, "POST", f"{FLUX}/retry/{job_id}")

    assert code == 400


async def test_cancelling_is_free_in_the_queue_and_billed_in_full_on_a_worker(client, clock):
    queued = await submit(client)
    _, answer = await ask(client, "POST", f"{FLUX}/cancel/{queued}")
    _, before = await ask(client, "GET", "/admin/ledger")
    running = await submit(client)
    clock.skip(5)
    await ask(client, "POST", f"{FLUX}/cancel/{running}")
    _, after = await ask(client, "GET", "/admin/ledger")

    assert answer == {"id": queued, "status": "CANCELLED"}
    assert (before["total_usd"], after["total_usd"]) == ("0", "0.00251658")
    assert "output" not in await show(client, running)


async def test_cancelling_a_running_job_frees_its_worker(client, clock):
    jobs = [await submit(client) for _ in range(3)]
    clock.skip(5)

    await ask(client, "POST", f"{FLUX}/cancel/{jobs[0]}")

    assert (await show(client, jobs[2]))["status"] in {"IN_PROGRESS", "RUNNING"}


async def test_purging_stops_queued_jobs_and_lets_running_ones_go_on(client, clock):
    jobs = [await submit(client) for _ in range(5)]
    clock.skip(5)

    _, purged = await ask(client, "POST", f"{FLUX}/purge-queue")
    clock.skip(FLUX_SECONDS)
    states = [(await show(client, job))["status"] for job in jobs]

    assert purged == {"removed": 3, "status": "completed"}
    assert states == ["COMPLETED"] * 2 + ["CANCELLED"] * 3


async def test_health_counts_jobs_and_workers(client, clock):
    for _ in range(3):
        await submit(client)
    clock.skip(5)

    _, health = await ask(client, "GET", f"{FLUX}/health")

    assert health["jobs"] == {
        "completed": 0,
        "failed": 0,
        "inProgress": 2,
        "inQueue": 1,
        "retried": 0,
    }
    assert (health["workers"]["idle"], health["workers"]["running"]) == (0, 2)


async def test_the_ledger_names_what_was_asked_for_and_what_has_no_price(client, clock):
    await ask(client, "POST", "/admin/custom", json={"endpoint": "mine", "execution_seconds": 1})
    await submit(client)
    await submit(client, "/v2/mine", {"input": {"prompt": "a hare"}})
    clock.skip(FLUX_SECONDS)
    _, ledger = await ask(client, "GET", "/admin/ledger?entries=1")

    bills = {entry["prompt"]: entry["cost"] for entry in ledger["entries"]}
    assert bills == {"A red fox in fresh snow": ledger["total_usd"], "a hare": None}
    assert ledger["jobs"] == 2


async def test_the_ledger_tells_by_the_wall_s_clock_when_a_job_ended():
    config = EmulatorConfig(port=0, spread=0, clock_factor=20)
    async with listening(config) as url, aiohttp.ClientSession(url, headers=KEY) as client:
        await ask(
            client, "POST", "/admin/custom", json={"endpoint": "mine", "execution_seconds": 4}
        )
        sent_at = time.time()
        await submit(client, "/v2/mine", {"input": {}})
        async with asyncio.timeout(10):
            while not (await ask(client, "GET", "/admin/ledger"))[1]["jobs"]:  # noqa: ASYNC110 -- HTTP
                await asyncio.sleep(0.02)
        _, ledger = await ask(client, "GET", "/admin/ledger?entries=1")

    [entry] = ledger["entries"]
    assert entry["unix"] == pytest.approx(sent_at + 4.02 / 20, abs=0.1)


async def test_on_a_clock_that_stands_still_no_bill_has_a_time_of_the_wall_s(client, clock):
    await submit(client)
    clock.skip(FLUX_SECONDS)

    _, ledger = await ask(client, "GET", "/admin/ledger?entries=1")

    assert [entry["unix"] for entry in ledger["entries"]] == [None]


@pytest.mark.parametrize("spread", [0, 0.1, 1])
async def test_a_custom_endpoint_may_have_a_spread_of_its_own(client, clock, spread):
    pace = {"endpoint": "mine", "execution_seconds": 10, "workers": 50, "spread": spread}
    await ask(client, "POST", "/admin/custom", json=pace)
    jobs = [await submit(client, "/v2/mine", {"input": {}}) for _ in range(20)]
    clock.skip(100)

    took = {(await show(client, job, "/v2/mine"))["executionTime"] for job in jobs}

    assert (len(took) > 1) is (spread > 0)


async def test_a_spread_that_is_no_number_is_refused(client):
    pace = {"endpoint": "mine", "spread": "wide"}

    code, _ = await ask(client, "POST", "/admin/custom", json=pace)

    assert code == 400


async def test_the_ledger_is_the_sum_of_the_printed_costs(client, clock):
    bodies = {
        FLUX: FOX,
        "/v2/black-forest-labs-flux-1-dev": {"input": {"prompt": "fox", "width": 512}},
        "/v2/p-video": {"input": {"prompt": "fox", "duration": 3}},
        "/v2/minimax-speech-02-hd": {"input": {"prompt": "Hello, fox."}},
        "/v2/qwen3-32b-awq": {"input": {"prompt": "Tell me about foxes."}},
        "/v2/moonshot-kimi": {"input": {"messages": [{"role": "user", "content": "Foxes?"}]}},
    }
    jobs = {path: await submit(client, path, body) for path, body in bodies.items()}
    clock.skip(FLUX_SECONDS)

    outputs = [(await show(client, job, path))["output"] for path, job in jobs.items()]
    _, ledger = await ask(client, "GET", "/admin/ledger?entries=1")

    objects = [output[0] if isinstance(output, list) else output for output in outputs]
    assert sum(Decimal(str(o["cost"])) for o in objects) == Decimal(ledger["total_usd"])
    assert {entry["id"] for entry in ledger["entries"]} == set(jobs.values())


async def test_speech_without_a_printed_cost_is_billed_by_its_seconds(client, clock):
    path = "/v2/chatterbox-turbo"
    job_id = await submit(client, path, {"input": {"prompt": "x" * 45}})
    clock.skip(FLUX_SECONDS)

    output = (await show(client, job_id, path))["output"]
    _, ledger = await ask(client, "GET", "/admin/ledger")

    assert set(output) == {"audio_url"}
    assert Decimal(ledger["total_usd"]) == Decimal("0.003")


async def test_a_custom_endpoint_echoes_its_input_and_costs_nothing(client, clock):
    await ask(client, "POST", "/admin/custom", json={"endpoint": "mine", "execution_seconds": 1})
    job_id = await submit(client, "/v2/mine", {"input": {"anything": [1, 2]}})
    clock.skip(2)

    reply = await show(client, job_id, "/v2/mine")

    assert reply["output"] == {"echo": {"anything": [1, 2]}}


async def test_a_job_is_unknown_to_every_other_endpoint(client):
    job_id = await submit(client)

    code, _ = await ask(client, "GET", f"/v2/p-video/status/{job_id}")

    assert code == 404


async def test_a_stream_hands_out_the_text_in_pieces_and_then_nothing(client, clock):
    path = "/v2/qwen3-32b-awq"
    job_id = await submit(client, path, {"input": {"prompt": "Tell me about foxes."}})
    _, early = await ask(client, "GET", f"{path}/stream/{job_id}")
    clock.skip(FLUX_SECONDS)
    [output] = (await show(client, job_id, path))["output"]
    pieces = []
    reply = {"status": "IN_PROGRESS", "stream": []}
    while reply["status"] != "COMPLETED" or reply["stream"]:
        _, reply = await ask(client, "GET", f"{path}/stream/{job_id}")
        pieces += [chunk["output"] for chunk in reply["stream"]]

    assert early["stream"] == []
    assert " ".join(pieces) == "".join(output["choices"][0]["tokens"])


async def test_a_reset_forgets_jobs_and_money_but_not_added_endpoints(client, clock):
    await ask(client, "POST", "/admin/custom", json={"endpoint": "mine"})
    job_id = await submit(client)
    clock.skip(FLUX_SECONDS)

    await ask(client, "POST", "/admin/reset")

    _, stats = await ask(client, "GET", "/admin/stats")
    _, ledger = await ask(client, "GET", "/admin/ledger")
    gone, _ = await ask(client, "GET", f"{FLUX}/status/{job_id}")
    mine, _ = await ask(client, "GET", "/v2/mine/health")
    assert (stats["jobs"]["accepted"], ledger["total_usd"], gone, mine) == (0, "0", 404, 200)
