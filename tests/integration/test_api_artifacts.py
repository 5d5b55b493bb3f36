"""Files over HTTP: by key and by link, whole and in part, and what a browser is told of them."""

import asyncio
import time
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from models.artifact import Artifact, ArtifactState, get_artifact
from models.base import new_id
from models.key import Scope
from models.transitions import NewJob, enqueue_jobs
from tests.integration.conftest import FLUX, client_of, complete

CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)


@pytest.fixture
def add_file(client, database, settings):
    """Adds a stored file of a job of the client's key, without an upstream."""

    async def add(**options):
        job_id, artifact_id = new_id(), new_id()
        path = settings.data_dir / "store" / "ab" / artifact_id.hex
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(options.pop("content", CONTENT))
        async with database.begin() as session:
            key_id = await session.scalar(text("SELECT id FROM api_keys WHERE name = 'tests'"))
            await enqueue_jobs(session, [NewJob(id=job_id, endpoint=FLUX, input={}, key_id=key_id)])
            facts = {
                "state": ArtifactState.STORED,
                "store_key": f"ab/{artifact_id.hex}",
                "media_type": "image/png",
                "sha256": artifact_id.hex * 2,
                "size_bytes": SIZE,
                **options,
            }
            session.add(
                Artifact(
                    id=artifact_id,
                    job_id=job_id,
                    position=0,
                    endpoint=FLUX,
                    field="output.image_url",
                    source_url="https://upstream.example/1.png",
                    expires_at=await session.scalar(text("SELECT now() + interval '7 days'")),
                    **facts,
                )
            )
            await session.flush()
            return await get_artifact(session, artifact_id)

    assert client  # whose key owns the jobs
    return add


async def link_to(client, artifact, **asked):
    response = await client.post(f"/api/v1/artifacts/{artifact.id}/link", json=asked)
    assert response.status_code == 200, response.text
    return httpx.URL(response.json()["url"]).raw_path.decode()


@pytest.fixture(params=["by key", "by link"])
async def file(request, client, gateway, add_file):
    """A stored file, and a client and a path that open it."""
    artifact = await add_file()
    if request.param == "by key":
        return artifact, client, f"/api/v1/artifacts/{artifact.id}/content"
    return artifact, gateway, await link_to(client, artifact)


# Bytes


async def test_a_file_is_served_whole_with_what_it_is(file):
    artifact, reader, path = file

    response = await reader.get(path)

    assert (response.status_code, response.content) == (200, CONTENT)
    assert response.headers["content-type"] == "image/png"
    assert response.headers["content-length"] == str(SIZE)
    assert response.headers["etag"] == f'"{artifact.sha256}"'
    assert response.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-199", 100, 200),
        ("bytes=5000-", 5000, SIZE),
        ("bytes=-100", SIZE - 100, SIZE),
        ("bytes=-99999999", 0, SIZE),
        (f"bytes=0-{SIZE * 10}", 0, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
    ],
)
async def test_a_range_is_served_as_it_was_asked_for(file, asked, start, end):
    _, reader, path = file

    response = await reader.get(path, headers={"Range": asked})

    assert (response.status_code, response.content) == (206, CONTENT[start:end])
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert response.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 1}", "bytes=-0"])
async def test_a_range_beyond_the_end_is_416_and_says_how_long_the_file_is(file, asked):
    _, reader, path = file

    response = await reader.get(path, headers={"Range": asked})

    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{SIZE}"
    assert response.json()["status"] == 416


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-6", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-" + "9" * 40, "bytes=--1"],
)
async def test_what_is_no_single_range_is_passed_over(file, asked):
    _, reader, path = file

    response = await reader.get(path, headers={"Range": asked})

    assert (response.status_code, len(response.content)) == (200, SIZE)


@pytest.mark.parametrize(
    ("if_range", "status"),
    [("{etag}", 206), ('"other"', 200), ("W/{etag}", 200), ("Wed, 21 Oct 2026 07:28:00 GMT", 200)],
)
async def test_a_range_of_another_version_is_the_whole_file(file, if_range, status):
    artifact, reader, path = file
    etag = f'"{artifact.sha256}"'

    response = await reader.get(
        path, headers={"Range": "bytes=0-9", "If-Range": if_range.format(etag=etag)}
    )

    assert response.status_code == status


@pytest.mark.parametrize(
    ("seen", "status"),
    [("{etag}", 304), ("W/{etag}", 304), ('"a", {etag}', 304), ("*", 304), ('"a"', 200), ("", 200)],
)
async def test_a_file_that_is_had_already_is_not_sent_again(file, seen, status):
    artifact, reader, path = file

    response = await reader.get(
        path, headers={"If-None-Match": seen.format(etag=f'"{artifact.sha256}"')}
    )

    assert response.status_code == status
    assert response.content == (CONTENT if status == 200 else b"")
    assert response.headers["etag"] == f'"{artifact.sha256}"'


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}, {"Range": "bytes=999999-"}])
async def test_a_head_tells_of_the_whole_file_and_sends_none_of_it(file, headers):
    _, reader, path = file

    response = await reader.head(path, headers=headers)

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str(SIZE)
    assert response.headers["content-type"] == "image/png"


async def test_an_empty_file_is_served_and_has_no_ranges(client, add_file):
    artifact = await add_file(content=b"", size_bytes=0)
    path = f"/api/v1/artifacts/{artifact.id}/content"

    whole = await client.get(path)
    part = await client.get(path, headers={"Range": "bytes=0-"})

    assert (whole.status_code, whole.content) == (200, b"")
    assert part.status_code == 416


# What a browser is told


@pytest.mark.parametrize(
    ("media_type", "served", "disposition"),
    [
        ("image/png", "image/png", "inline"),
        ("video/mp4", "video/mp4", "inline"),
        ("image/svg+xml", "image/svg+xml", "attachment"),
        ("text/html", "text/html", "attachment"),
        ("application/xhtml+xml", "application/xhtml+xml", "attachment"),
        ("application/pdf", "application/pdf", "attachment"),
        ("IMAGE/SVG+XML", "IMAGE/SVG+XML", "attachment"),
        ("image/svg+xml; charset=utf-8", "image/svg+xml; charset=utf-8", "attachment"),
        (None, "application/octet-stream", "attachment"),
    ],
)
async def test_nothing_that_is_served_can_run_in_a_browser(
    file, database, media_type, served, disposition
):
    artifact, reader, path = file
    async with database.begin() as session:
        (await get_artifact(session, artifact.id)).media_type = media_type

    response = await reader.get(path)

    assert response.headers["content-type"].partition("; charset")[0] == served.partition(";")[0]
    assert response.headers["content-disposition"] == disposition
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]
    assert "default-src 'none'" in response.headers["content-security-policy"]


# Links


async def test_a_link_opens_without_a_key_and_runs_out(client, gateway, add_file, monkeypatch):
    artifact = await add_file()
    path = await link_to(client, artifact, expires_seconds=60)

    before = await gateway.get(path)
    later = time.time() + 61
    monkeypatch.setattr("gateway.files.time.time", lambda: later)
    after = await gateway.get(path)

    assert before.status_code == 200
    assert after.status_code == 410
    assert after.headers["content-type"] == "application/problem+json"
    assert "run out" in after.json()["detail"]


async def test_a_link_for_good_has_no_end(client, gateway, add_file, monkeypatch):
    path = await link_to(client, await add_file(), expires_seconds=0)
    monkeypatch.setattr("gateway.files.time.time", lambda: 2.0**40)

    assert "until" not in path
    assert (await gateway.get(path)).status_code == 200


async def test_a_link_that_was_changed_opens_nothing(client, gateway, add_file):
    artifact, other = await add_file(), await add_file()
    path = await link_to(client, artifact, expires_seconds=60)
    start, _, until = path.partition("?until=")
    _, _, _, signature, name = start.split("/")
    changed = [
        f"/files/{other.id}/{signature}/{name}?until={until}",
        f"/files/{artifact.id}/{signature[:-1]}-/{name}?until={until}",
        f"/files/{artifact.id}/{signature}/{name}?until={int(until) + 1}",
        f"/files/{artifact.id}/{signature}/{name}?until=0",
        f"/files/{artifact.id}/{signature}/{name}?until=",
        f"/files/{artifact.id}/{signature}/{name}?until=x",
        f"/files/{artifact.id}/{signature}/{name}",
        f"/thumbnails/{artifact.id}/{signature}/{name}?until={until}",
        f"/files/{artifact.id}/%C3%BC/{name}?until={until}",
        f"/files/{artifact.id}/%00/{name}?until={until}",
        f"/files/x/{signature}/{name}?until={until}",
        f"/files/{new_id()}/{signature}/{name}",
    ]

    answers = {one: (await gateway.get(one)).status_code for one in changed}

    assert answers == dict.fromkeys(changed, 404)
    assert (await gateway.get(f"/files/{artifact.id}/{signature}/x.exe?until={until}")).is_success


@pytest.mark.parametrize(
    ("asked", "status"),
    [({"expires_seconds": -1}, 422), ({"expires_seconds": 10**10}, 422), ({"until": 1}, 422)],
)
async def test_a_link_that_cannot_be_is_refused(client, add_file, asked, status):
    artifact = await add_file()

    response = await client.post(f"/api/v1/artifacts/{artifact.id}/link", json=asked)

    assert response.status_code == status


async def test_a_file_by_its_id_wants_a_key(gateway, add_file):
    artifact = await add_file()

    for path in ("", "/content"):
        response = await gateway.get(f"/api/v1/artifacts/{artifact.id}{path}")
        assert response.status_code == 401


# What is not there


async def test_a_file_that_is_not_stored_has_no_link_and_says_what_it_is(client, add_file):
    artifact = await add_file(
        state=ArtifactState.PENDING, store_key=None, sha256=None, media_type=None
    )

    described = (await client.get(f"/api/v1/artifacts/{artifact.id}")).json()
    linked = await client.post(f"/api/v1/artifacts/{artifact.id}/link", json={})
    content = await client.get(f"/api/v1/artifacts/{artifact.id}/content")

    assert (described["state"], described["url"]) == ("pending", None)
    assert linked.json()["url"] is None
    assert content.status_code == 404
    assert "pending" in content.json()["detail"]


async def test_a_file_that_is_gone_from_the_store_is_404_with_a_reason(file, settings):
    artifact, reader, path = file
    (settings.data_dir / "store" / artifact.store_key).unlink()

    response = await reader.get(path)

    assert response.status_code == 404
    assert "missing from the store" in response.json()["detail"]


@pytest.mark.parametrize("path", ["", "/content"])
@pytest.mark.parametrize(("artifact_id", "status"), [(str(uuid4()), 404), ("x", 422)])
async def test_an_artifact_that_is_not_there_is_not_found(client, path, artifact_id, status):
    response = await client.get(f"/api/v1/artifacts/{artifact_id}{path}")

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


# Lists


async def test_files_are_listed_by_job_and_state_in_pages_the_newest_first(client, add_file):
    files = [await add_file() for _ in range(5)]
    waiting = await add_file(
        state=ArtifactState.PENDING, store_key=None, sha256=None, media_type=None
    )

    async def listed(**params):
        reply = (await client.get("/api/v1/artifacts", params=params)).json()
        return [one["id"] for one in reply["artifacts"]], reply["next"]

    newest_first = [str(one.id) for one in [*files, waiting][::-1]]
    assert await listed() == (newest_first, None)
    assert await listed(job=str(files[2].job_id)) == ([str(files[2].id)], None)
    assert await listed(state="pending") == ([str(waiting.id)], None)
    first, cursor = await listed(limit=4)
    await add_file()
    second, end = await listed(limit=4, cursor=cursor)
    assert first + second == newest_first
    assert end is None


async def test_another_key_sees_no_file_and_operate_sees_all(gateway_app, issue, add_file):
    artifact = await add_file()
    paths = ["", "/content"]

    async def statuses(scope):
        key, _ = await issue(scope.value, scope)
        async with client_of(gateway_app, key) as reader:
            listed = (await reader.get("/api/v1/artifacts")).json()["artifacts"]
            of_job = await reader.get("/api/v1/artifacts", params={"job": str(artifact.job_id)})
            answers = [
                (await reader.get(f"/api/v1/artifacts/{artifact.id}{path}")).status_code
                for path in paths
            ]
            linked = await reader.post(f"/api/v1/artifacts/{artifact.id}/link", json={})
            return len(listed), len(of_job.json()["artifacts"]), *answers, linked.status_code

    assert await statuses(Scope.RUN) == (0, 0, 404, 404, 404)
    assert await statuses(Scope.READ) == (0, 0, 404, 404, 404)
    assert await statuses(Scope.OPERATE) == (1, 1, 200, 200, 200)


# From an upstream to a reader


@pytest.mark.usefixtures("emulator")
async def test_a_generated_picture_opens_by_the_links_that_its_job_names(client, gateway, runtime):
    body = {"endpoint": FLUX, "input": {"prompt": "a fox"}}
    job_id = (await client.post("/api/v1/jobs", json=body)).json()["id"]
    await complete(runtime, job_id)

    job = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    [file] = job["artifacts"]
    picture = await gateway.get(httpx.URL(file["url"]).raw_path.decode())
    small = await gateway.get(httpx.URL(file["thumbnail_url"]).raw_path.decode())

    assert job["output"]["image_url"] == file["url"]
    assert file["url"].startswith("http://gateway.test/files/")
    assert (picture.headers["content-type"], len(picture.content)) == (
        file["media_type"],
        file["size_bytes"],
    )
    assert small.headers["content-type"] == "image/webp"
    assert small.content[8:12] == b"WEBP"
    assert small.headers["etag"] != picture.headers["etag"]


async def test_many_read_one_file_at_once(file):
    _, reader, path = file

    responses = await asyncio.gather(*(reader.get(path) for _ in range(30)))

    assert {response.content for response in responses} == {CONTENT}
