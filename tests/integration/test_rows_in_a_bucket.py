"""Rows of a specification that stand in a bucket, read over HTTP as S3 answers."""

import asyncio

import pytest
from aiohttp import web

from workers.store import CannotFetch, fetch_url

ROWS = b"prompt\n" + b"a fox\n" * 1000


@pytest.fixture
async def bucket(monkeypatch):
    """A server that has one object, as S3 has it: `rows/foxes.tsv` of the bucket `shop`."""
    asked = []

    async def answer(request):
        asked.append((request.method, request.path, request.headers.get("Authorization", "")))
        if request.path == "/shop/rows/foxes.tsv":
            return web.Response(
                body=ROWS,
                headers={"ETag": '"1"', "Last-Modified": "Sat, 28 Nov 2026 00:00:00 GMT"},
            )
        if request.path.startswith("/secret/"):
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{runner.addresses[0][1]}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield asked
    await runner.cleanup()


async def fetch(url, path, *, most_bytes=10_000_000):
    await asyncio.to_thread(fetch_url, url, path, most_bytes=most_bytes)


async def test_an_object_is_copied_with_the_credentials_of_the_environment(bucket, tmp_path):
    await fetch("s3://shop/rows/foxes.tsv", tmp_path / "rows.tsv")

    assert (tmp_path / "rows.tsv").read_bytes() == ROWS
    [(method, path, authorization)] = bucket
    assert (method, path) == ("GET", "/shop/rows/foxes.tsv")
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=key/")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://shop/rows/owls.tsv", "there is no such object"),
        ("s3://secret/rows.tsv", "403"),
        ("s3://shop", "s3://BUCKET/KEY was wanted"),
    ],
)
@pytest.mark.usefixtures("bucket")
async def test_what_is_not_to_be_had_is_said(tmp_path, url, said):
    with pytest.raises(CannotFetch, match=said):
        await fetch(url, tmp_path / "rows.tsv")


@pytest.mark.usefixtures("bucket")
async def test_no_more_is_taken_than_is_said(tmp_path):
    with pytest.raises(CannotFetch, match="more than 1,000 bytes"):
        await fetch("s3://shop/rows/foxes.tsv", tmp_path / "rows.tsv", most_bytes=1000)
