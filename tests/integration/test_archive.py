"""Files of a server that does all that servers do, into a store that does not take everything."""

import hashlib
import io
import os
import time
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web
from obstore.exceptions import GenericError
from PIL import Image
from sqlalchemy import text

from models.artifact import ArtifactState, NewArtifact, add_artifacts, get_artifact, list_artifacts
from models.base import new_id
from models.claims import Download
from models.job import OnUnknown
from models.lane import Claim, StageName, find_lanes
from tasks.archive import (
    ARCHIVE,
    DAMAGED_TRIES,
    FIRST_RETRY_SECONDS,
    LIFE_SHARE,
    LONGEST_RETRY_SECONDS,
    STEADY_RETRY_SECONDS,
    STEADY_TRIES,
    retry_seconds,
)
from tasks.intake import Request, check_request, enqueue
from tests.integration.conftest import FLUX
from workers.app import make_app
from workers.lane import LaneRun
from workers.runtime import open_runtime
from workers.store import read

PAGE = b"<!DOCTYPE html><title>503</title><h1>Try again later</h1>"


def picture(level=90):
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), level).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


class FileServer:
    """Serves what it is told to; a list is served one by one, its last for ever."""

    def __init__(self):
        self.files: dict[str, list[tuple[bytes, int, str]]] = {}
        self.asked: Counter[str] = Counter()
        self.base = ""

    def serve(self, name, *bodies, status=200, media_type="image/png"):
        self.files[name] = [(body, status, media_type) for body in bodies]
        return f"{self.base}/{name}"

    async def answer(self, request):
        name = request.path.removeprefix("/")
        self.asked[name] += 1
        replies = self.files[name]
        body, status, media_type = replies.pop(0) if len(replies) > 1 else replies[0]
        return web.Response(body=body, status=status, content_type=media_type)


@pytest.fixture
async def server():
    server = FileServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def runtime(settings, server):
    allowed = settings.model_copy(update={"allowed_hosts": (server.base.removeprefix("http://"),)})
    async with open_runtime(allowed, make_app(allowed), name="tests") as runtime:
        yield runtime


async def add_file(runtime, url, *, lives_seconds=7 * 86_400.0):
    """A file of a job that has completed; returns its id."""
    request = Request(endpoint=FLUX, input={"prompt": "a fox"})
    job = check_request(runtime.catalogue, request, on_unknown=OnUnknown.FAIL).job
    await enqueue(runtime, [job])
    async with runtime.database.begin() as session:
        await session.execute(
            text("""
                UPDATE jobs SET state = 'completed', finished_at = now(), next_at = NULL
                WHERE id = :id
            """),
            {"id": job.id},
        )
        await add_artifacts(
            session,
            [
                NewArtifact(
                    job_id=job.id,
                    position=0,
                    endpoint=FLUX,
                    field="image_url",
                    source_url=url,
                    lives_seconds=lives_seconds,
                )
            ],
        )
        [artifact] = await list_artifacts(session, job_ids=[job.id])
    return artifact.id


async def find_file(runtime, artifact_id):
    async with runtime.database.begin() as session:
        return await get_artifact(session, artifact_id)


async def archive(runtime, artifact_id, *, tries=1):
    """Run the stage so often, as if the waits between were over."""
    for _ in range(tries):
        await make_due(runtime)
        await LaneRun(runtime, ARCHIVE, FLUX).run()
    return await find_file(runtime, artifact_id)


async def make_due(runtime):
    async with runtime.database.begin() as session:
        await session.execute(text("UPDATE artifacts SET next_at = now() WHERE lease IS NULL"))
        await session.execute(
            text("UPDATE lanes SET closed_until = now() WHERE closed_until IS NOT NULL")
        )


async def seconds_to_next_try(runtime, artifact_id):
    async with runtime.database.begin() as session:
        return float(
            await session.scalar(
                text("SELECT extract(epoch FROM next_at - now()) FROM artifacts WHERE id = :id"),
                {"id": artifact_id},
            )
        )


async def closed_lane(runtime):
    async with runtime.database.begin() as session:
        lanes = await find_lanes(session)
    return next(
        (one for one in lanes if one.stage is StageName.ARCHIVE and one.closed_seconds), None
    )


def spooled(runtime):
    folder = Path(runtime.settings.data_dir) / "spool"
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize("media_type", ["text/html", "image/png"])
async def test_a_page_in_the_place_of_a_picture_is_not_stored_and_the_picture_is(
    runtime, server, media_type
):
    url = server.serve("fox.png", PAGE, media_type=media_type)
    file_id = await add_file(runtime, url)

    refused = await archive(runtime, file_id, tries=DAMAGED_TRIES + 2)
    server.serve("fox.png", picture())
    stored = await archive(runtime, file_id)

    assert (refused.state, refused.sha256) == (ArtifactState.PENDING, None)
    assert "Try again later" in refused.error
    assert (stored.state, stored.media_type, stored.error) == (
        ArtifactState.STORED,
        "image/png",
        None,
    )


async def test_a_picture_cut_off_before_it_was_served_is_awaited_whole(runtime, server):
    whole = picture()
    url = server.serve("fox.png", whole[: len(whole) // 2], whole)
    file_id = await add_file(runtime, url)

    cut = await archive(runtime, file_id)
    stored = await archive(runtime, file_id)

    assert (cut.state, cut.store_key) == (ArtifactState.PENDING, None)
    assert "cannot be decoded" in cut.error
    assert stored.sha256 == hashlib.sha256(whole).hexdigest()
    assert stored.error is None


async def test_what_comes_damaged_again_and_again_is_kept_and_marked(runtime, server):
    """It is what was made, and paid for."""
    damaged = picture()[:-200]
    file_id = await add_file(runtime, server.serve("fox.png", damaged))

    before = await archive(runtime, file_id, tries=DAMAGED_TRIES - 1)
    kept = await archive(runtime, file_id)

    assert before.state is ArtifactState.PENDING
    assert kept.state is ArtifactState.STORED
    assert "cannot be decoded" in kept.error
    assert await read(runtime.store, kept.store_key) == damaged
    assert spooled(runtime) == []


async def test_damaged_bytes_that_are_others_each_time_are_not_what_was_made(runtime, server):
    whole = picture()
    cuts = [whole[: 400 + n] for n in range(20)]
    file_id = await add_file(runtime, server.serve("fox.png", *cuts))

    file = await archive(runtime, file_id, tries=DAMAGED_TRIES + 1)

    assert file.state is ArtifactState.PENDING
    assert server.asked["fox.png"] == DAMAGED_TRIES + 1 + 2  # each of the last two tries twice


async def test_damaged_bytes_are_better_than_none_when_the_url_dies(runtime, server):
    file_id = await add_file(runtime, server.serve("fox.png", picture()[:-200]), lives_seconds=-1.0)

    file = await archive(runtime, file_id)

    assert file.state is ArtifactState.STORED
    assert "cannot be decoded" in file.error


@pytest.mark.parametrize(
    "error",
    [
        GenericError("Generic LocalFileSystem error: No space left on device (os error 28)"),
        PermissionError("Permission denied"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_store_that_refuses_closes_the_lane_and_counts_no_try(
    runtime, server, monkeypatch, error
):
    file_id = await add_file(runtime, server.serve("fox.png", picture()))

    async def refuse(*_args):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr("tasks.archive.write", refuse)
        refused = await archive(runtime, file_id, tries=4)
        closed = await closed_lane(runtime)
    wait = await seconds_to_next_try(runtime, file_id)
    stored = await archive(runtime, file_id)

    assert (refused.state, refused.tries) == (ArtifactState.PENDING, 0)
    assert "did not take it" in refused.error
    assert closed.closed_seconds < 10
    assert "did not take it" in closed.closed_reason
    assert wait <= 0  # the lane is what waits, and no file
    assert (stored.state, stored.tries, stored.error) == (ArtifactState.STORED, 1, None)
    assert await closed_lane(runtime) is None


async def test_a_spool_without_room_closes_the_lane_too(runtime, server, monkeypatch):
    monkeypatch.setattr("endpoints.download.SPARE_BYTES", 2**62)
    file_id = await add_file(runtime, server.serve("fox.png", picture()))

    file = await archive(runtime, file_id)

    assert (file.state, file.tries) == (ArtifactState.PENDING, 0)
    assert "bytes are free" in (await closed_lane(runtime)).closed_reason


async def test_one_file_probes_a_store_that_refused_and_opens_the_lane_for_all(
    runtime, server, monkeypatch
):
    url = server.serve("fox.png", picture())
    files = [await add_file(runtime, url) for _ in range(4)]

    async def refuse(*_args):
        raise GenericError("no room")

    with monkeypatch.context() as broken:
        broken.setattr("tasks.archive.write", refuse)
        await archive(runtime, files[0])
    await make_due(runtime)
    probed = await LaneRun(runtime, ARCHIVE, FLUX).run()
    rest = await LaneRun(runtime, ARCHIVE, FLUX).run()

    assert (probed, rest) == (1, 3)


@pytest.mark.parametrize(("tries", "most"), [(1, 1.5), (12, 90.0), (40, 90.0), (60, 5400.0)])
async def test_a_file_server_that_is_away_is_asked_every_minute_for_a_long_time(
    runtime, server, tries, most
):
    file_id = await add_file(runtime, server.serve("fox.png", b"", status=503))
    async with runtime.database.begin() as session:
        await session.execute(text("UPDATE artifacts SET tries = :n"), {"n": tries - 1})

    file = await archive(runtime, file_id)

    assert (file.state, file.tries) == (ArtifactState.PENDING, tries)
    assert most / 4 < await seconds_to_next_try(runtime, file_id) <= most


async def test_no_wait_is_longer_than_a_small_share_of_the_urls_life(runtime, server):
    url = server.serve("fox.png", b"", status=503)
    file_id = await add_file(runtime, url, lives_seconds=100.0)
    async with runtime.database.begin() as session:
        await session.execute(text("UPDATE artifacts SET tries = 30"))

    await archive(runtime, file_id)

    assert await seconds_to_next_try(runtime, file_id) < 10


async def test_a_url_that_died_without_a_file_is_given_up(runtime, server):
    url = server.serve("fox.png", b"", status=404)
    file_id = await add_file(runtime, url, lives_seconds=-1.0)

    assert (await archive(runtime, file_id)).state is ArtifactState.EXPIRED


async def test_what_dead_workers_spooled_is_swept_by_age(runtime, server):
    folder = Path(runtime.settings.data_dir) / "spool"
    folder.mkdir(parents=True)
    (folder / "old").write_bytes(b"left over")
    hours_ago = time.time() - 7200
    os.utime(folder / "old", (hours_ago, hours_ago))
    (folder / "new").write_bytes(b"another worker's")
    file_id = await add_file(runtime, server.serve("fox.png", picture()))

    await archive(runtime, file_id)

    assert spooled(runtime) == ["new"]


async def test_a_spool_that_cannot_be_a_folder_holds_no_worker_up(runtime, server):
    (Path(runtime.settings.data_dir) / "spool").write_bytes(b"")
    file_id = await add_file(runtime, server.serve("fox.png", picture()))

    file = await archive(runtime, file_id)

    assert (file.state, file.tries) == (ArtifactState.PENDING, 0)
    assert await closed_lane(runtime) is not None


async def test_a_late_end_of_a_lost_lease_writes_nothing(runtime, server):
    file_id = await add_file(runtime, server.serve("fox.png", picture()))
    run = LaneRun(runtime, ARCHIVE, FLUX)
    claim = ARCHIVE.claim
    wanted = Claim(endpoint=FLUX, limit=1, lease=new_id(), lease_seconds=-1.0, proven=True)
    [row] = await claim(runtime, wanted)
    end = await ARCHIVE.act(runtime, row)
    stored = await run.run()

    await ARCHIVE.record(runtime, FLUX, [end])

    file = await find_file(runtime, file_id)
    assert stored == 1
    assert (file.state, file.tries, file.deaths) == (ArtifactState.STORED, 2, 0)


@pytest.mark.parametrize(
    ("tries", "seconds_left", "wait"),
    [
        (1, 7200.0, FIRST_RETRY_SECONDS),
        (2, 7200.0, 2 * FIRST_RETRY_SECONDS),
        (4, 7200.0, 8 * FIRST_RETRY_SECONDS),
        (20, 7200.0, STEADY_RETRY_SECONDS),
        (STEADY_TRIES + 2, 7200.0, 4 * STEADY_RETRY_SECONDS),
        (STEADY_TRIES + 9, 7200.0, 7200.0 * LIFE_SHARE),
        (1000, 1_000_000.0, LONGEST_RETRY_SECONDS),
        (5, 100.0, 5.0),  # its address lives no longer
        (5, 0.1, FIRST_RETRY_SECONDS),
    ],
)
def test_a_download_is_tried_again_soon_at_first_then_each_minute_then_less_and_less(
    monkeypatch, tries, seconds_left, wait
):
    monkeypatch.setattr("tasks.archive.random.uniform", lambda low, high: (low + high) / 2)
    file = Download(new_id(), new_id(), FLUX, new_id(), "", tries, seconds_left)

    assert retry_seconds(file) == pytest.approx(wait)
