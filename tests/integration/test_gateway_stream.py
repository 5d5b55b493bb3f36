"""`/stream`: each piece is handed out once, and a client that asks until the end comes to one."""

import asyncio
import time

import orjson
import pytest
from aiohttp import web
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import text

from endpoints.catalogue import Operation
from gateway.upstream_api import stream
from models.artifact import NewArtifact, add_artifacts
from models.base import new_id
from models.interventions import begin_streaming, cancel_jobs
from models.job import JobState, Reason
from models.key import Scope
from models.lane import StageName
from models.setting import put_setting
from models.transitions import (
    NewJob,
    accept,
    claim_submissions,
    end,
    enqueue_jobs,
    lose_sight,
    move_jobs,
)
from tests.integration.conftest import client_of, find_job, run_until

QWEN = "qwen3-32b-awq"
CUSTOM = "my-own-model"
ASKED_MOST = 200
PIECE = {"status": "IN_PROGRESS", "stream": [{"output": "a"}]}


class Upstream:
    """An upstream that hands out the replies that it is given, one a request, the last for ever."""

    def __init__(self):
        self.replies = []
        self.asked = 0

    async def handle(self, _request):
        self.asked += 1
        status, body = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return web.Response(status=status, body=content, content_type="application/json")

    def say(self, *replies):
        self.replies = [reply if isinstance(reply, tuple) else (200, reply) for reply in replies]


@pytest.fixture
async def upstream(settings):
    upstream = Upstream()
    app = web.Application()
    app.router.add_get("/v2/{endpoint}/stream/{job}", upstream.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", settings.emulator_port).start()
    yield upstream
    await runner.cleanup()


@pytest.fixture(autouse=True)
async def _quick(runtime, monkeypatch):
    """News is waited for a little; Redis has been there for long."""
    monkeypatch.setattr(stream, "NEWS_SECONDS", 0.1)
    monkeypatch.setattr(stream, "LOOK_SECONDS", 0.01)
    await runtime.redis.set(f"{runtime.settings.redis_prefix}quota:since", 0)


@pytest.fixture
async def key(issue):
    return await issue("streams", Scope.RUN)


@pytest.fixture
async def reader(gateway_app, key):
    async with client_of(gateway_app, key[0]) as client:
        yield client


@pytest.fixture
def make_job(runtime, key):
    """Makes a job of the reader's in a state, with what the state implies."""

    async def make(state=JobState.IN_QUEUE, **facts):
        job = NewJob(id=new_id(), endpoint=CUSTOM, input={}, key_id=key[1])
        async with runtime.database.begin() as session:
            await enqueue_jobs(session, [job])
        if state is JobState.QUEUED:
            return job.id
        async with runtime.database.begin() as session:
            [row] = await claim_submissions(
                session, endpoint=CUSTOM, limit=1, lease=new_id(), lease_seconds=60, proven=True
            )
            if state is JobState.UNKNOWN:
                await move_jobs(
                    session, [lose_sight(row.id, row.lease, error="no reply", due_in=60)]
                )
            elif state is JobState.IN_QUEUE:
                await move_jobs(
                    session, [accept(row.id, row.lease, upstream_id="up-1", due_in=600)]
                )
            elif state is not JobState.SUBMITTING:
                facts = {"upstream_id": "up-1", **facts}
                await move_jobs(session, [end(row.id, row.lease, state=state, **facts)])
        return job.id

    return make


async def ask(client, job_id, *, endpoint=CUSTOM):
    response = await client.get(f"/v2/{endpoint}/stream/{job_id}")
    assert response.status_code == 200, response.text
    reply = response.json()
    assert reply["id"] == str(job_id)
    return reply["status"], [piece["output"] for piece in reply["stream"]]


async def read_to_the_end(client, job_id, *, endpoint=CUSTOM):
    """As the vendor's Python client does: until an end comes with nothing; (pieces, end)."""
    pieces = []
    for _ in range(ASKED_MOST):
        status, new = await ask(client, job_id, endpoint=endpoint)
        pieces += new
        if status in {"COMPLETED", "FAILED", "TIMED_OUT"} and not new:
            return pieces, status
    raise AssertionError(f"after {ASKED_MOST} requests there is no end: {pieces}")


async def poll_is_due(runtime, job_id):
    async with runtime.database.begin() as session:
        return await session.scalar(
            text("SELECT next_at <= now() FROM jobs WHERE id = :id"), {"id": job_id}
        )


@pytest.mark.usefixtures("emulator")
async def test_each_piece_of_a_real_job_comes_once_and_then_an_end(reader, runtime):
    body = {"input": {"prompt": "Tell me about foxes.", "max_tokens": 200}}
    job_id = (await reader.post(f"/v2/{QWEN}/run", json=body)).json()["id"]

    reading = asyncio.create_task(read_to_the_end(reader, job_id, endpoint=QWEN))
    job = await run_until(runtime, job_id, endpoint=QWEN)
    pieces, status = await reading
    assert job.output is not None

    assert status == "COMPLETED"
    said = [token for choice in job.output[0]["choices"] for token in choice["tokens"]]
    assert "".join(map(str, pieces)).replace(" ", "") == "".join(said).replace(" ", "")
    assert (await find_job(runtime, job_id)).streamed == len(pieces) > 1
    assert await ask(reader, job_id, endpoint=QWEN) == ("COMPLETED", [])


async def test_while_pieces_remain_the_job_is_in_progress_and_its_end_says_nothing_more(
    reader, upstream, make_job
):
    job_id = await make_job(JobState.COMPLETED, output=["a", "b", "c"])
    upstream.say(
        {"status": "IN_PROGRESS", "stream": [{"output": "a"}]},
        {"status": "IN_PROGRESS", "stream": [{"output": "b"}]},
        {"status": "COMPLETED", "stream": [{"output": "c"}]},
        {"status": "COMPLETED", "stream": []},
    )

    replies = [await ask(reader, job_id) for _ in range(4)]

    assert replies == [
        ("IN_PROGRESS", ["a"]),
        ("IN_PROGRESS", ["b"]),
        ("COMPLETED", ["c"]),
        ("COMPLETED", []),
    ]


async def test_a_job_that_has_ended_upstream_is_in_progress_until_we_know_how(
    reader, runtime, upstream, make_job
):
    job_id = await make_job()
    upstream.say({"status": "COMPLETED", "stream": [{"output": "a"}]})

    assert await ask(reader, job_id) == ("IN_PROGRESS", ["a"])
    assert await poll_is_due(runtime, job_id)
    assert await runtime.redis.exists(f"{runtime.settings.redis_prefix}bell:poll:{CUSTOM}")


@pytest.mark.parametrize(
    "found",
    [
        {"status": "IN_QUEUE", "stream": []},
        {"status": "IN_PROGRESS", "stream": []},
        {"status": "IN_PROGRESS"},
        (500, b"oops"),
        (429, b""),
        (401, b""),
    ],
)
async def test_a_job_that_goes_on_is_asked_for_no_sooner(
    reader, runtime, upstream, make_job, *, monkeypatch, found
):
    monkeypatch.setattr(stream, "NEWS_SECONDS", 60.0)
    job_id = await make_job()
    upstream.say(found, found, PIECE)

    assert await ask(reader, job_id) == ("IN_PROGRESS", ["a"])
    assert not await poll_is_due(runtime, job_id)


@pytest.mark.parametrize(
    "found",
    [
        {"status": "COMPLETED", "stream": []},
        {"id": "up-1", "status": "FAILED", "error": "x"},
        [],
        (404, b""),
    ],
)
async def test_a_job_that_may_have_ended_is_asked_for_now_and_once(
    reader, gateway_app, runtime, upstream, *, make_job, monkeypatch, found
):
    monkeypatch.setattr(stream, "NEWS_SECONDS", 60.0)
    job_id = await make_job()
    upstream.say(found, found, PIECE)
    rung = []
    bells = gateway_app.state.gateway.runtime.bells
    ring = bells.ring

    async def note(stage, endpoint, **options):
        rung.append((stage, endpoint))
        return await ring(stage, endpoint, **options)

    monkeypatch.setattr(bells, "ring", note)

    assert await ask(reader, job_id) == ("IN_PROGRESS", ["a"])
    assert rung == [(StageName.POLL, CUSTOM)]
    assert await poll_is_due(runtime, job_id)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.SUBMITTING, JobState.UNKNOWN])
async def test_a_job_that_the_upstream_is_not_known_to_have_waits(
    reader, upstream, make_job, state
):
    job_id = await make_job(state)

    assert await ask(reader, job_id) == ("IN_QUEUE", [])
    assert upstream.asked == 0


async def test_a_request_is_held_for_news_and_answered_with_them_at_once(
    reader, upstream, make_job, monkeypatch
):
    monkeypatch.setattr(stream, "NEWS_SECONDS", 60.0)
    job_id = await make_job()
    nothing = {"status": "IN_PROGRESS", "stream": []}
    upstream.say(*[nothing] * 5, PIECE)

    async with asyncio.timeout(10):
        assert await ask(reader, job_id) == ("IN_PROGRESS", ["a"])

    assert upstream.asked == 6


async def test_a_request_is_held_no_longer_than_clients_wait_however_slow_the_upstream(
    reader, upstream, make_job, monkeypatch
):
    monkeypatch.setattr(stream, "NEWS_SECONDS", 0.2)
    job_id = await make_job()
    upstream.say({"status": "IN_PROGRESS", "stream": []})
    handle = upstream.handle

    async def answer_slowly(request):
        await asyncio.sleep(0.15)
        return await handle(request)

    monkeypatch.setattr(upstream, "handle", answer_slowly)
    began = time.monotonic()

    await ask(reader, job_id)

    assert time.monotonic() - began < 3


async def test_word_of_an_end_comes_while_a_request_is_held(
    reader, runtime, upstream, make_job, monkeypatch
):
    monkeypatch.setattr(stream, "NEWS_SECONDS", 60.0)
    job_id = await make_job(JobState.QUEUED)
    asking = asyncio.create_task(ask(reader, job_id))

    async with runtime.database.begin() as session:
        await cancel_jobs(session, job_ids=[job_id])

    async with asyncio.timeout(10):
        assert await asking == ("FAILED", [])
    assert upstream.asked == 0


# Ends


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        (JobState.FAILED, Reason.UPSTREAM_FAILED, "FAILED"),
        (JobState.TIMED_OUT, Reason.TTL_PASSED, "TIMED_OUT"),
        (JobState.CANCELLED, Reason.CANCELLED, "FAILED"),
    ],
)
async def test_a_job_without_a_result_ends_with_why(
    reader, upstream, make_job, *, state, reason, said
):
    job_id = await make_job(state, reason=reason)

    response = await reader.get(f"/v2/{CUSTOM}/stream/{job_id}")

    assert response.json().keys() == {"id", "status", "stream", "error"}
    assert (response.json()["status"], response.json()["stream"]) == (said, [])
    assert response.json()["error"]
    assert upstream.asked == 0


@pytest.mark.parametrize(
    ("output", "pieces"),
    [
        (["a", "b"], ["a", "b"]),
        ("a text", ["a text"]),
        ({"text": "a"}, [{"text": "a"}]),
        ([], []),
        (None, []),
        (0, [0]),
    ],
)
async def test_a_result_that_is_gone_upstream_is_handed_out_once_from_what_is_stored(
    reader, upstream, make_job, output, pieces
):
    job_id = await make_job(JobState.COMPLETED, output=output)
    upstream.say((404, {"error": "job not found"}))

    first, again = await ask(reader, job_id), await ask(reader, job_id)

    assert first == ("COMPLETED", pieces)
    assert again == ("COMPLETED", [])


async def test_a_result_that_was_streamed_is_not_handed_out_again_from_what_is_stored(
    reader, upstream, make_job
):
    job_id = await make_job(JobState.COMPLETED, output=["a"])
    upstream.say({"status": "COMPLETED", "stream": [{"output": "a"}]}, (404, b""))

    assert await read_to_the_end(reader, job_id) == (["a"], "COMPLETED")


async def test_of_many_who_ask_at_once_one_is_handed_the_stored_result(reader, upstream, make_job):
    job_id = await make_job(JobState.COMPLETED, output=["a", "b"])
    upstream.say((404, b""))

    replies = await asyncio.gather(*(ask(reader, job_id) for _ in range(10)))

    assert sorted(pieces for _, pieces in replies if pieces) == [["a", "b"]]


async def test_the_stored_result_is_begun_once(runtime, make_job):
    job_id = await make_job(JobState.COMPLETED, output=["a", "b"])

    async with runtime.database.begin() as session:
        begun = [await begin_streaming(session, job_id, pieces=2) for _ in range(2)]

    assert begun == [True, False]
    assert (await find_job(runtime, job_id)).streamed == 2


async def test_a_result_of_ours_is_handed_out_though_the_upstream_is_away(
    reader, make_job, monkeypatch
):
    monkeypatch.setattr(stream, "NEWS_SECONDS", 0.05)
    job_id = await make_job(JobState.COMPLETED, output=["a"])

    assert await read_to_the_end(reader, job_id) == (["a"], "COMPLETED")


@pytest.mark.parametrize(
    "found",
    [
        (500, b""),
        (405, b""),
        (401, b""),
        (200, b"<html>"),
        {"status": "IN_PROGRESS", "stream": []},
        {"status": "WHATEVER_COMES_NEXT", "stream": []},
    ],
)
async def test_whatever_the_upstream_says_of_a_completed_job_there_is_an_end(
    reader, upstream, make_job, found
):
    job_id = await make_job(JobState.COMPLETED, output=["a"])
    upstream.say(found)

    assert await read_to_the_end(reader, job_id) == (["a"], "COMPLETED")


async def test_a_slip_of_the_upstream_does_not_hand_out_the_pieces_that_it_still_has(
    reader, upstream, make_job
):
    job_id = await make_job(JobState.COMPLETED, output=["a"])
    upstream.say(
        (500, b""),
        {"status": "COMPLETED", "stream": [{"output": "a"}]},
        {"status": "COMPLETED", "stream": []},
    )

    assert await read_to_the_end(reader, job_id) == (["a"], "COMPLETED")


@pytest.mark.parametrize(
    "parts",
    [
        [[{"output": "a"}, {"output": "b"}], [{"output": "c"}], []],
        [b'{"output": "a"}\n{"output": "b"}\n', b'{"output": "c"}\n', b""],
        [["a"], ["b", "c"], []],
    ],
)
async def test_replies_without_a_status_are_read_to_the_last(reader, upstream, make_job, parts):
    job_id = await make_job(JobState.COMPLETED, output=["a", "b", "c"])
    upstream.say(*parts)

    assert await read_to_the_end(reader, job_id) == (["a", "b", "c"], "COMPLETED")


async def test_a_file_that_we_keep_is_handed_out_by_our_own_address(
    reader, runtime, upstream, make_job
):
    url = "https://image.upstream.test/a.jpg"
    job_id = await make_job(JobState.COMPLETED, output={"image_url": url, "cost": 0.1})
    async with runtime.database.begin() as session:
        await add_artifacts(
            session,
            [
                NewArtifact(
                    job_id=job_id,
                    position=0,
                    endpoint=CUSTOM,
                    field="image_url",
                    source_url=url,
                    lives_seconds=60,
                )
            ],
        )
        await session.execute(
            text("UPDATE artifacts SET state = 'stored', sha256 = 'ab', store_key = 'ab/ab.jpg'")
        )
    upstream.say((404, b""))

    _, [piece] = await ask(reader, job_id)

    assert piece["image_url"].startswith("http://gateway.test/files/")
    assert piece["cost"] == 0.1


# Who may ask, and how often


@pytest.mark.parametrize("job_id", ["nonsense", "%00", "00000000-0000-0000-0000-000000000000"])
async def test_what_is_no_job_is_not_found(reader, job_id):
    response = await reader.get(f"/v2/{CUSTOM}/stream/{job_id}")

    assert response.status_code == 404
    assert response.json()["status"] == "FAILED"


async def test_another_keys_job_is_not_found_and_its_pieces_stay(
    gateway_app, issue, upstream, make_job
):
    job_id = await make_job()
    upstream.say(PIECE)
    other, _ = await issue("other", Scope.RUN)

    async with client_of(gateway_app, other) as others:
        refused = await others.get(f"/v2/{CUSTOM}/stream/{job_id}")

    assert refused.status_code == 404
    assert upstream.asked == 0


async def test_a_post_is_answered_as_a_get(reader, upstream, make_job):
    job_id = await make_job()
    upstream.say(PIECE)

    response = await reader.post(f"/v2/{CUSTOM}/stream/{job_id}")

    assert response.json()["stream"] == [{"output": "a"}]


async def test_without_redis_no_piece_is_taken_and_the_client_told_to_come_again(
    reader, gateway_app, upstream, make_job, monkeypatch
):
    async def take(*_args, **_options):
        raise RedisConnectionError("no Redis")

    job_id = await make_job()
    monkeypatch.setattr(gateway_app.state.gateway.runtime.quota, "take", take)

    response = await reader.get(f"/v2/{CUSTOM}/stream/{job_id}")

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert "Redis" in response.json()["error"]
    assert upstream.asked == 0


async def test_beyond_the_upstreams_limit_a_request_is_refused_and_no_piece_taken(
    reader, runtime, gateway_app, upstream, *, make_job, monkeypatch
):
    monkeypatch.setattr("workers.permit.PATIENCE_SECONDS", 0.05)
    async with runtime.database.begin() as session:
        limits = {CUSTOM: {"stream": {"per_10_seconds": 1}}}
        await put_setting(session, name="limits", value=limits)
    await gateway_app.state.gateway.runtime.operator.get(fresh=True)
    job_id = await make_job()
    upstream.say(PIECE)
    await ask(reader, job_id)

    response = await reader.get(f"/v2/{CUSTOM}/stream/{job_id}")

    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) >= 1
    assert upstream.asked == 1
    assert (await runtime.quota.usage(Operation.STREAM, CUSTOM)).at_once == 0


async def test_who_has_gone_is_handed_no_piece_that_another_is_to_have(
    gateway_app, key, upstream, make_job, monkeypatch
):
    monkeypatch.setattr(stream, "NEWS_SECONDS", 60.0)
    job_id = await make_job()
    upstream.say({"status": "IN_PROGRESS", "stream": []})
    gone = asyncio.Event()
    sent = []

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": f"/v2/{CUSTOM}/stream/{job_id}",
        "raw_path": b"",
        "query_string": b"",
        "scheme": "http",
        "server": ("gateway.test", 80),
        "headers": [(b"authorization", f"Bearer {key[0]}".encode())],
    }
    asking = asyncio.create_task(gateway_app(scope, receive, send))
    async with asyncio.timeout(10):
        while not upstream.asked:  # noqa: ASYNC110 -- another connection's
            await asyncio.sleep(0.01)
        gone.set()
        await asking
    upstream.say(PIECE)

    async with client_of(gateway_app, key[0]) as other:
        assert await ask(other, job_id) == ("IN_PROGRESS", ["a"])
