"""The emulator's rate and concurrency limits, and what it keeps of them."""

import asyncio

import aiohttp
import pytest

from endpoints.emulator import EmulatorConfig, listening
from endpoints.emulator.limits import WINDOW_SECONDS, Gate

KEYS = ("rpa_one", "rpa_other")
FLUX = "black-forest-labs-flux-1-schnell"
FOX = {"input": {"prompt": "fox"}}


def headers(key):
    """Return the header that names a key."""
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
async def client():
    """A caller of an emulator that takes three runs in ten seconds and one runsync at once."""
    limits = {"run": (3, None), "runsync": (None, 1)}
    config = EmulatorConfig(port=0, keys=frozenset(KEYS), limits=limits, clock_factor=0)
    async with (
        listening(config) as url,
        aiohttp.ClientSession(url, headers=headers(KEYS[0])) as session,
    ):
        yield session


async def submit(client, endpoint=FLUX, **options):
    """Return the HTTP status of a /run."""
    async with client.post(f"/v2/{endpoint}/run", json=FOX, **options) as answer:
        return answer.status


async def stats(client, operation):
    """Return what the emulator counted for an operation."""
    async with client.get("/admin/stats") as answer:
        return (await answer.json())["endpoints"].get(FLUX, {}).get(operation, {})


def test_a_window_slides_with_each_request_and_does_not_count_what_it_refused():
    gate = Gate(per_window=2, concurrent=None)
    arrivals = [0.0, 6.0, 9.0, 10.0, 15.9, 16.0]

    let_in = [gate.enter(second) for second in arrivals]

    assert let_in == [True, True, False, True, False, True]
    assert gate.peak_window == 2
    assert WINDOW_SECONDS == 10


def test_a_gate_is_free_again_when_somebody_has_left():
    gate = Gate(per_window=None, concurrent=1)

    first, second = gate.enter(0.0), gate.enter(0.0)
    gate.leave()
    third = gate.enter(0.0)

    assert (first, second, third) == (True, False, True)
    assert gate.peak_concurrent == 1


async def test_the_fourth_run_in_ten_seconds_is_refused_and_counted(client):
    codes = [await submit(client) for _ in range(4)]

    tally = await stats(client, "run")
    assert codes == [200, 200, 200, 429]
    assert tally == {
        "requests": 4,
        "answered": {"200": 3, "429": 1},
        "rejected_429": 1,
        "peak_window": 3,
        "peak_concurrent": 1,
    }


async def test_a_refusal_names_no_time_to_come_back(client):
    for _ in range(3):
        await submit(client)

    async with client.post(f"/v2/{FLUX}/run", json=FOX) as answer:
        assert answer.status == 429
        assert "Retry-After" not in answer.headers


async def test_limits_are_apart_for_each_key_and_each_endpoint(client):
    for _ in range(3):
        await submit(client)

    other_key = await submit(client, headers=headers(KEYS[1]))
    other_endpoint = await submit(client, "z-image-turbo")

    assert (other_key, other_endpoint) == (200, 200)


async def test_a_second_concurrent_runsync_is_refused_until_the_first_hangs_up(client):
    async def runsync():
        async with client.post(f"/v2/{FLUX}/runsync", json=FOX) as answer:
            return answer.status

    first = asyncio.ensure_future(runsync())
    async with asyncio.timeout(20):
        while not (await stats(client, "runsync")).get("peak_concurrent"):
            pass
    refused = await runsync()
    first.cancel()
    async with asyncio.timeout(20):
        while not (await stats(client, "runsync"))["answered"].get("dropped"):
            pass
    second = asyncio.ensure_future(runsync())
    async with asyncio.timeout(20):
        while (await stats(client, "runsync"))["requests"] < 3:
            pass

    tally = await stats(client, "runsync")
    second.cancel()
    assert refused == 429
    assert tally["rejected_429"] == 1


async def test_the_catalogues_limits_hold_where_nothing_else_is_said():
    async with (
        listening(EmulatorConfig(port=0)) as url,
        aiohttp.ClientSession(url, headers=headers("rpa_emulator")) as client,
    ):
        codes = []
        for _ in range(3):
            async with client.post(f"/v2/{FLUX}/purge-queue") as answer:
                codes.append(answer.status)

    assert codes == [200, 200, 429]


def test_a_limit_of_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match="'runs' is not one of"):
        EmulatorConfig(limits={"runs": (1, 1)})


async def change_limit(client, **limit):
    async with client.post("/admin/limits", json=limit) as answer:
        return answer.status


async def test_a_limit_can_be_changed_while_it_is_kept(client):
    first = [await submit(client) for _ in range(4)]

    assert await change_limit(client, operation="run", per_window=5, concurrent=None) == 200

    assert first == [200, 200, 200, 429]
    assert [await submit(client) for _ in range(3)] == [200, 200, 429]


async def test_a_changed_limit_holds_for_whoever_comes_later_and_is_lifted_by_null(client):
    await change_limit(client, operation="run", per_window=1, concurrent=None)
    other = [await submit(client, headers=headers(KEYS[1])) for _ in range(2)]

    await change_limit(client, operation="run", per_window=None, concurrent=None)

    assert other == [200, 429]
    assert [await submit(client) for _ in range(9)] == [200] * 9


@pytest.mark.parametrize(
    "limit",
    [
        {"operation": "run"},
        {"operation": "walk", "per_window": 1, "concurrent": None},
        {"operation": "run", "per_window": "1", "concurrent": None},
    ],
)
async def test_what_is_no_limit_is_refused(client, limit):
    assert await change_limit(client, **limit) == 400
