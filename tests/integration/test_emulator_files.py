"""The emulator's downloads: real files, whole or in part, for seven days."""

import io

import aiohttp
import pytest
from PIL import Image

from endpoints.emulator import Clock, EmulatorConfig, listening

KEY = {"Authorization": "Bearer rpa_emulator"}
FLUX = "/v2/black-forest-labs-flux-1-schnell"
WEEK = 7 * 24 * 3600


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


async def generate(client, clock, path=FLUX, **values):
    """Return the output of a job, once it has completed."""
    body = {"input": {"prompt": "A red fox in fresh snow", **values}}
    async with client.post(f"{path}/run", json=body) as answer:
        job_id = (await answer.json())["id"]
    clock.skip(20)
    async with client.get(f"{path}/status/{job_id}") as answer:
        return (await answer.json())["output"]


async def test_an_image_can_be_downloaded_without_a_key_in_the_asked_size(client, clock):
    output = await generate(client, clock, width=512, height=768, image_format="png")

    async with aiohttp.ClientSession() as anybody, anybody.get(output["image_url"]) as answer:
        content = await answer.read()

    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.size, picture.format) == ((512, 768), "PNG")
    assert answer.headers["Content-Type"] == "image/png"
    assert int(answer.headers["Content-Length"]) == len(content)


async def test_head_tells_the_length_and_type_without_the_content(client, clock):
    output = await generate(client, clock)

    async with client.get(output["image_url"]) as answer:
        content = await answer.read()
    async with client.head(output["image_url"]) as head:
        assert int(head.headers["Content-Length"]) == len(content)
        assert head.headers["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("asked", "code", "part"),
    [
        ("bytes=0-99", 206, slice(0, 100)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-10", 206, slice(-10, None)),
        ("bytes=99999999-", 416, slice(0, 0)),
        ("lines=1-2", 200, slice(None)),
    ],
)
async def test_a_range_is_answered_with_that_part(client, clock, asked, code, part):
    output = await generate(client, clock)
    async with client.get(output["image_url"]) as answer:
        whole = await answer.read()

    async with client.get(output["image_url"], headers={"Range": asked}) as answer:
        assert answer.status == code
        assert await answer.read() == whole[part]


async def test_a_file_is_gone_after_seven_days_and_not_before(client, clock):
    output = await generate(client, clock)
    clock.skip(WEEK - 60)
    async with client.head(output["image_url"]) as answer:
        kept = answer.status
    clock.skip(120)
    async with client.head(output["image_url"]) as answer:
        gone = answer.status

    assert (kept, gone) == (200, 404)


async def test_the_same_request_gives_the_same_bytes_and_another_seed_gives_others(client, clock):
    contents = []
    for seed in (1, 1, 2):
        output = await generate(client, clock, seed=seed)
        async with client.get(output["image_url"]) as answer:
            contents.append(await answer.read())

    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


async def test_links_start_with_the_public_url_if_there_is_one(clock):
    config = EmulatorConfig(
        port=0, spread=0, execution_seconds=10, public_url="http://emulator.test:8900/"
    )
    async with (
        listening(config, clock=clock) as url,
        aiohttp.ClientSession(url, headers=KEY) as client,
    ):
        output = await generate(client, clock)

    assert output["image_url"].startswith("http://emulator.test:8900/files/")


async def test_an_image_comes_as_base64_text_if_that_was_asked_for(client, clock):
    output = await generate(
        client,
        clock,
        "/v2/google-nano-banana-2-edit",
        images=["https://example.com/fox.png"],
        enable_base64_output=True,
    )

    assert "image_url" not in output
    assert output["image"].startswith("iVBOR")  # a PNG
