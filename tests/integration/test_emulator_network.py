"""The emulator's network can be cut: what was open is reset, what is new is refused."""

import asyncio

import aiohttp
import pytest

from endpoints.emulator import EmulatorConfig, listening

CUT_SECONDS = 0.4


async def cut(url, seconds):
    """On a connection of its own."""
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{url}/admin/network", json={"cut_seconds": seconds}) as answer,
    ):
        return answer.status, await answer.json()


async def is_refused(url):
    try:
        async with aiohttp.ClientSession() as client, client.get(f"{url}/healthz"):
            return False
    except aiohttp.ClientConnectorError:
        return True


async def wait_until_refused(url, *, refused):
    async with asyncio.timeout(10):
        while await is_refused(url) is not refused:  # noqa: ASYNC110 -- a port tells nobody
            await asyncio.sleep(0.02)


async def test_a_cut_network_refuses_connections_and_comes_back_on_the_same_port():
    async with listening(EmulatorConfig(port=0)) as url:
        answered = await cut(url, CUT_SECONDS)

        await wait_until_refused(url, refused=True)
        await wait_until_refused(url, refused=False)

    assert answered == (200, {"cut_seconds": CUT_SECONDS})


async def test_a_cut_network_resets_the_calls_that_are_under_way():
    async with listening(EmulatorConfig(port=0)) as url, aiohttp.ClientSession() as client:
        await client.post(f"{url}/admin/faults", json={"kind": "hang"})
        headers = {"Authorization": "Bearer rpa_emulator"}
        path = f"{url}/v2/black-forest-labs-flux-1-schnell/health"
        asked = asyncio.ensure_future(client.get(path, headers=headers))
        await asyncio.sleep(0)
        await cut(url, CUT_SECONDS)

        with pytest.raises(aiohttp.ClientConnectionError):
            await asyncio.wait_for(asked, 10)


async def test_jobs_go_on_while_the_network_is_cut():
    config = EmulatorConfig(port=0, execution_seconds=0.1, spread=0)
    headers = {"Authorization": "Bearer rpa_emulator"}
    body = {"input": {"prompt": "fox", "width": 256, "height": 256}}
    async with listening(config) as url:
        async with aiohttp.ClientSession(headers=headers) as client:
            await client.post(f"{url}/v2/black-forest-labs-flux-1-schnell/run", json=body)
        await cut(url, CUT_SECONDS)
        await wait_until_refused(url, refused=True)
        await wait_until_refused(url, refused=False)
        async with aiohttp.ClientSession() as client, client.get(f"{url}/admin/ledger") as answer:
            ledger = await answer.json()

    assert ledger["jobs"] == 1


@pytest.mark.parametrize("seconds", [0, -1, 1e9, "long", None])
async def test_a_cut_of_no_sensible_length_is_refused(seconds):
    async with listening(EmulatorConfig(port=0)) as url:
        status, said = await cut(url, seconds)

    assert status == 400
    assert "cut_seconds" in said["error"]


async def test_the_emulator_can_be_stopped_in_the_middle_of_a_cut():
    async with listening(EmulatorConfig(port=0)) as url:
        await cut(url, 60)
        await wait_until_refused(url, refused=True)
        stopping_at = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() - stopping_at < 5
