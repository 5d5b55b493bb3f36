"""Files fetched from servers that keep their word, and from some that do not."""

import asyncio
import base64
import hashlib
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from endpoints.client import open_transport
from endpoints.download import DiskRefused, Downloaded, DownloadFailed, download

CONTENT = bytes(range(256)) * 4_000  # a megabyte: several chunks


@asynccontextmanager
async def serving(answer):
    """A server whose every path is answered by `answer`; gives its base URL."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def http():
    async with httpx.AsyncClient(transport=open_transport()) as client:
        yield client


async def test_a_file_is_on_disk_with_its_hash_size_and_declared_type(http, tmp_path):
    async def answer(_request):
        return web.Response(body=CONTENT, content_type="image/png", charset="utf-8")

    async with serving(answer) as base:
        got = await download(http, f"{base}/fox.png", tmp_path / "fox")

    assert got == Downloaded(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "image/png")
    assert (tmp_path / "fox").read_bytes() == CONTENT


async def test_a_file_of_unannounced_length_is_taken_whole(http, tmp_path):
    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(CONTENT), 100_000):
            await response.write(CONTENT[start : start + 100_000])
        return response

    async with serving(answer) as base:
        got = await download(http, base, tmp_path / "file")

    assert got.sha256 == hashlib.sha256(CONTENT).hexdigest()


async def test_a_redirect_is_followed(http, tmp_path):
    async def answer(request):
        if request.path == "/moved":
            raise web.HTTPFound("/here")
        return web.Response(body=CONTENT)

    async with serving(answer) as base:
        got = await download(http, f"{base}/moved", tmp_path / "file")

    assert got.size_bytes == len(CONTENT)


async def test_an_encoded_body_is_kept_decoded_although_its_length_is_of_the_encoded(
    http, tmp_path
):
    async def answer(_request):
        response = web.Response(body=CONTENT)
        response.enable_compression(web.ContentCoding.gzip)  # unasked for
        return response

    async with serving(answer) as base:
        got = await download(http, base, tmp_path / "file")

    assert got.size_bytes == len(CONTENT)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_breaks_off_is_no_file(http, tmp_path, chunked):
    async def answer(request):
        response = web.StreamResponse()
        if not chunked:
            response.content_length = len(CONTENT)
        await response.prepare(request)
        await response.write(CONTENT[:1000])
        request.transport.close()
        return response

    async with serving(answer) as base:
        with pytest.raises(DownloadFailed):
            await download(http, base, tmp_path / "file")


async def test_an_empty_body_is_no_file(http, tmp_path):
    async def answer(_request):
        return web.Response(body=b"")

    async with serving(answer) as base:
        with pytest.raises(DownloadFailed, match="empty"):
            await download(http, base, tmp_path / "file")


@pytest.mark.parametrize("announced", [False, True])
async def test_a_file_above_the_limit_is_not_taken_even_if_its_length_is_not_said(
    http, tmp_path, monkeypatch, announced
):
    monkeypatch.setattr("endpoints.download.MAX_FILE_BYTES", len(CONTENT) // 2)

    async def answer(request):
        response = web.StreamResponse()
        if announced:
            response.content_length = len(CONTENT)
        await response.prepare(request)
        await response.write(CONTENT)
        return response

    async with serving(answer) as base:
        with pytest.raises(DownloadFailed, match="at most"):
            await download(http, base, tmp_path / "file")

    assert announced is not (tmp_path / "file").exists()


async def test_a_disk_without_room_is_not_the_files_fault_and_is_not_filled(
    http, tmp_path, monkeypatch
):
    monkeypatch.setattr("endpoints.download.SPARE_BYTES", 2**62)

    async def answer(_request):
        return web.Response(body=CONTENT)

    async with serving(answer) as base:
        with pytest.raises(DiskRefused, match="bytes are free"):
            await download(http, base, tmp_path / "file")

    assert not (tmp_path / "file").exists()


async def test_a_write_that_fails_half_way_is_not_the_files_fault(http, monkeypatch):
    monkeypatch.setattr("endpoints.download.SPARE_BYTES", -(2**62))  # of /dev, which is tiny

    async def answer(_request):
        return web.Response(body=CONTENT)

    async with serving(answer) as base:
        with pytest.raises(DiskRefused, match="No space left on device"):
            await download(http, base, Path("/dev/full"))


async def test_a_folder_that_is_none_is_not_the_files_fault(http, tmp_path):
    (tmp_path / "taken").write_bytes(b"")

    async def answer(_request):
        return web.Response(body=CONTENT)

    async with serving(answer) as base:
        with pytest.raises(DiskRefused):
            await download(http, base, tmp_path / "taken" / "file")


@pytest.mark.parametrize("status", [204, 206, 403, 404, 500])
async def test_any_status_but_200_is_no_file_whatever_the_body(http, tmp_path, status):
    async def answer(_request):
        return web.Response(status=status, body=None if status == 204 else CONTENT)

    async with serving(answer) as base:
        with pytest.raises(DownloadFailed, match=f"HTTP {status}"):
            await download(http, base, tmp_path / "file")


@pytest.mark.parametrize("headers_first", [False, True])
async def test_a_server_that_drips_holds_nothing_for_ever(
    http, tmp_path, monkeypatch, headers_first
):
    monkeypatch.setattr("endpoints.download.DOWNLOAD_SECONDS", 0.2)

    async def answer(request):
        response = web.StreamResponse()
        response.content_length = 1_000_000
        if headers_first:
            await response.prepare(request)
        while True:
            await asyncio.sleep(0.02)
            if headers_first:
                await response.write(b".")

    async with serving(answer) as base:
        with pytest.raises(DownloadFailed, match="not complete after"):
            await download(http, base, tmp_path / "file")


async def test_a_reply_that_is_no_http_is_no_file(http, tmp_path):
    async def answer(_reader, writer):
        writer.write(b"220 mail.example.org ESMTP\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    with pytest.raises(DownloadFailed):
        await download(http, f"http://127.0.0.1:{port}/file", tmp_path / "file")

    server.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/nobody-listens",
        "http://nowhere.invalid/file",
        "ftp://127.0.0.1/file",
        "http://[::1",
        "http://",
        "file:///etc/hostname",
        "no URL",
        "",
    ],
)
async def test_a_url_that_leads_nowhere_is_no_file(http, tmp_path, url):
    with pytest.raises(DownloadFailed):
        await download(http, url, tmp_path / "file")


@pytest.mark.parametrize(
    ("url", "content", "media_type"),
    [
        (
            "data:image/png;base64," + base64.b64encode(CONTENT).decode(),
            CONTENT,
            "image/png",
        ),
        ("data:image/png;name=fox.png;base64,Zm94", b"fox", "image/png"),
        ("data:;base64,Zm9%34", b"fox", None),
        ("data:,a%20fox", b"a fox", None),
        ("data:text/plain;charset=utf-8,a,b", b"a,b", "text/plain"),
    ],
)
async def test_a_data_url_is_its_own_file(http, tmp_path, url, content, media_type):
    got = await download(http, url, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == content
    assert got == Downloaded(hashlib.sha256(content).hexdigest(), len(content), media_type)


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,Zm9",
        "data:image/png;base64,Zm94!",
        "data:image/png;base64,füchse",
        "data:,",
    ],
)
async def test_a_data_url_that_cannot_be_read_is_no_file(http, tmp_path, url):
    with pytest.raises(DownloadFailed):
        await download(http, url, tmp_path / "file")
