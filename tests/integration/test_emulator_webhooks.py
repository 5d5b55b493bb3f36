"""The emulator's webhooks: sent, tried again, stormed and withheld."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from endpoints.emulator import Clock, EmulatorConfig, listening

KEY = {"Authorization": "Bearer rpa_emulator"}
FLUX = "/v2/black-forest-labs-flux-1-schnell"


class Receiver:
    """Somebody's webhook: what came, and the HTTP statuses that it answers with, in turn."""

    def __init__(self):
        self.bodies: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.answers = []
        self.url = ""

    async def take(self, request):
        await self.bodies.put(await request.json())
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    async def next_body(self):
        async with asyncio.timeout(20):
            return await self.bodies.get()


@pytest.fixture
async def receiver():
    """A receiver on a free port."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    receiver.url = f"http://{host}:{port}/hook"
    yield receiver
    await runner.cleanup()


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


async def submit(client, receiver):
    """Return the id of a new job with a webhook."""
    body = {"input": {"prompt": "fox"}, "webhook": receiver.url}
    async with client.post(f"{FLUX}/run", json=body) as answer:
        return (await answer.json())["id"]


async def skip(client, seconds):
    """Move the emulated clock on, and let what is due happen."""
    await client.post("/admin/clock", json={"skip_seconds": seconds})


async def counted(client, **expected):
    """Wait until the emulator has counted these webhooks, and return all its counts."""
    async with asyncio.timeout(20):
        while True:
            async with client.get("/admin/stats") as answer:
                counts = (await answer.json())["webhooks"]
            if expected.items() <= counts.items():
                return counts


async def test_a_webhook_is_the_status_reply_of_the_completed_job(client, receiver):
    job_id = await submit(client, receiver)
    await skip(client, 20)

    body = await receiver.next_body()

    async with client.get(f"{FLUX}/status/{job_id}") as answer:
        assert body == await answer.json()
    assert body["status"] == "COMPLETED"
    assert await counted(client, sent=1) == {"sent": 1, "failed": 0, "given_up": 0}


async def test_a_webhook_is_sent_by_itself_when_nobody_asks(receiver):
    config = EmulatorConfig(port=0, clock_factor=100, spread=0, execution_seconds=5)
    async with (
        listening(config) as url,
        aiohttp.ClientSession(url, headers=KEY) as client,
    ):
        await submit(client, receiver)

        assert (await receiver.next_body())["status"] == "COMPLETED"


async def test_a_refused_webhook_is_tried_twice_more_ten_seconds_apart(client, receiver):
    receiver.answers = [500, 204, 404]
    await submit(client, receiver)
    await skip(client, 20)
    await receiver.next_body()
    for failures in (1, 2):
        await counted(client, failed=failures)
        await skip(client, 9.9)
        assert receiver.bodies.empty()
        await skip(client, 0.2)
        await receiver.next_body()

    counts = await counted(client, given_up=1)
    await skip(client, 100)

    assert counts == {"sent": 0, "failed": 3, "given_up": 1}
    assert receiver.bodies.empty()


async def test_a_storm_sends_copies_and_one_of_them_before_the_end(client, receiver):
    await client.post("/admin/faults", json={"kind": "webhook_storm", "times": 3})
    await submit(client, receiver)
    await skip(client, 0)
    early = await receiver.next_body()
    await skip(client, 20)

    late = [(await receiver.next_body())["status"] for _ in range(3)]

    assert early["status"] == "IN_QUEUE"
    assert late == ["COMPLETED"] * 3
    await counted(client, sent=4)


async def test_a_silent_webhook_never_comes(client, receiver):
    await client.post("/admin/faults", json={"kind": "webhook_silent", "count": 1})
    await submit(client, receiver)
    heard = await submit(client, receiver)
    await skip(client, 20)

    body = await receiver.next_body()
    counts = await counted(client, sent=1)

    assert body["id"] == heard
    assert counts["sent"] == 1


@pytest.mark.parametrize("told", [True, False])
async def test_a_failure_is_told_only_if_the_emulator_was_set_to(clock, receiver, told):
    config = EmulatorConfig(port=0, spread=0, execution_seconds=10, webhook_on_failure=told)
    async with (
        listening(config, clock=clock) as url,
        aiohttp.ClientSession(url, headers=KEY) as client,
    ):
        await client.post("/admin/faults", json={"kind": "fail_job", "count": 1})
        await submit(client, receiver)
        await submit(client, receiver)
        await skip(client, 20)
        await counted(client, sent=2 if told else 1)

    statuses = {receiver.bodies.get_nowait()["status"] for _ in range(receiver.bodies.qsize())}
    assert statuses == ({"FAILED", "COMPLETED"} if told else {"COMPLETED"})
