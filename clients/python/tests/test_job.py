"""Jobs that are followed, their results and files."""

import hashlib
import json
from urllib.parse import parse_qs

import httpx
import pytest

from pressroom import (
    ArtifactUnavailable,
    Conflict,
    GenerationFailed,
    NotFound,
    Unavailable,
    WaitTimeout,
)

PICTURE = b"a fox" * 50_000
STORED = {
    "id": "file-1",
    "state": "stored",
    "url": "http://files/1",
    "sha256": hashlib.sha256(PICTURE).hexdigest(),
    "size_bytes": len(PICTURE),
    "media_type": "image/png",
}
PENDING = {**STORED, "state": "pending", "url": None, "sha256": None, "size_bytes": None}


@pytest.fixture
def never_ends(script, facts, clock):
    """A gateway that holds each poll back for as long as it may."""

    def answer(request):
        clock.now += int(parse_qs(request.url.query.decode()).get("wait", ["0"])[0])
        return httpx.Response(200, json=facts(status="IN_PROGRESS"))

    return script(answer)


def test_a_job_by_its_id_costs_no_request_until_it_is_asked_for(script, facts):
    gateway = script([httpx.Response(200, json=facts(status="IN_QUEUE", state="unknown"))])
    job, other = gateway.client().jobs(["job-1", "job-2"])

    before = (job.id, job.status, len(gateway.requests))
    job.refresh()

    assert before == ("job-1", None, 0)
    assert (job.status, job.state, job.ended) == ("IN_QUEUE", "unknown", False)
    assert repr(other) == "<Job job-2 not asked for yet>"


def test_run_polls_until_the_end(script, facts):
    gateway = script(
        [
            httpx.Response(202, json=facts(status="IN_QUEUE")),
            httpx.Response(200, json=facts(status="IN_PROGRESS")),
            httpx.ReadTimeout("cut off by a proxy"),
            httpx.Response(200, json=facts()),
        ]
    )

    result = gateway.client().run("flux", {"prompt": "a fox"})

    assert (result.job_id, result.cost_usd) == ("job-1", 0.003)
    assert result.output == {"image_url": "http://files/1"}
    assert [request.url.query for request in gateway.requests[1:]] == [b"wait=50"] * 3


def test_a_poll_may_be_held_back_for_longer_than_the_timeout(script, facts):
    gateway = script([httpx.Response(200, json=facts())])

    gateway.client(timeout=7).wait("job-1", 20)

    [request] = gateway.requests
    assert request.extensions["timeout"]["read"] == 27
    assert request.extensions["timeout"]["connect"] == 5


@pytest.mark.parametrize("timeout", [0, 0.3, 20, 120.5])
def test_a_wait_ends_in_time_and_the_job_goes_on(never_ends, timeout):
    started_at = never_ends.clock.now

    with pytest.raises(WaitTimeout, match="goes on") as caught:
        never_ends.client().wait("job-1", timeout)

    assert (caught.value.job_id, caught.value.seconds) == ("job-1", timeout)
    assert never_ends.clock.now - started_at == pytest.approx(timeout)
    assert len(never_ends.requests) < 8


def test_a_gateway_that_holds_nothing_back_is_not_hammered(script, facts):
    gateway = script(lambda _: httpx.Response(200, json=facts(status="IN_QUEUE")))

    with pytest.raises(WaitTimeout):
        gateway.client().wait("job-1", 10)

    assert len(gateway.requests) <= 22


def test_a_wait_without_a_gateway_says_that_the_job_goes_on(script):
    gateway = script(lambda _: httpx.ConnectError("refused"))

    with pytest.raises(Unavailable, match="job job-1 goes on") as caught:
        gateway.client().wait("job-1")

    assert caught.value.job_id == "job-1"


def test_no_retry_is_waited_for_past_the_end_of_a_wait(script, clock):
    gateway = script(lambda _: httpx.ConnectError("refused"))

    with pytest.raises(Unavailable):
        gateway.client().wait("job-1", 3)

    assert sum(clock.slept) <= 3


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "TIMED_OUT"])
def test_a_wait_returns_whatever_the_end_and_a_result_raises(script, facts, status):
    ended = facts(status=status, state="lost", reason="vanished", error="gone")
    gateway = script([httpx.Response(200, json=ended)])
    job = gateway.client().job("job-1")

    job.wait()
    with pytest.raises(
        GenerationFailed, match=r"job job-1 ended lost \(vanished\): gone"
    ) as caught:
        job.result()

    assert (caught.value.state, caught.value.reason) == ("lost", "vanished")
    assert len(gateway.requests) == 1


def test_a_result_waits_for_its_files(script, facts):
    gateway = script(
        [
            httpx.Response(200, json=facts(artifacts=[PENDING])),
            httpx.Response(200, json=facts(artifacts=[PENDING])),
            httpx.Response(200, json=facts(artifacts=[STORED])),
        ]
    )

    result = gateway.client().job("job-1").result()

    assert [file.url for file in result.artifacts] == ["http://files/1"]


@pytest.mark.parametrize(("timeout", "waited"), [(None, 30), (4, 4)])
def test_a_file_that_is_slow_does_not_hold_a_result_for_ever(script, facts, clock, timeout, waited):
    gateway = script(lambda _: httpx.Response(200, json=facts(artifacts=[PENDING])))

    result = gateway.client().job("job-1").result(timeout)

    assert sum(clock.slept) == pytest.approx(waited)
    assert [file.state for file in result.artifacts] == ["pending"]


def test_cancel_and_retry_bring_the_job_up_to_date(script, facts):
    gateway = script(
        [
            httpx.Response(200, json=facts(status="CANCELLED")),
            httpx.Response(200, json=facts(status="IN_QUEUE")),
            httpx.Response(409, json={"detail": "it has not failed"}),
        ]
    )
    job = gateway.client().job("job/1")

    assert job.cancel().ended
    assert not job.retry().ended
    with pytest.raises(Conflict, match="it has not failed"):
        job.retry()
    assert [request.url.raw_path for request in gateway.requests[:2]] == [
        b"/base/api/v1/jobs/job%2F1/cancel",
        b"/base/api/v1/jobs/job%2F1/retry",
    ]


def test_as_completed_gives_each_job_once_in_the_order_of_the_ends(script, facts):
    ends = iter([["b"], [], ["c", "a"]])

    def answer(request):
        ended = next(ends)
        ids = json.loads(request.content)["ids"]
        return httpx.Response(
            200,
            json={
                "jobs": [facts(job_id) for job_id in ended],
                "pending": [job_id for job_id in ids if job_id not in ended],
                "unknown": [],
            },
        )

    gateway = script(answer)
    jobs = gateway.client().jobs("abc")
    jobs[0].facts = facts("a", "IN_QUEUE")

    ended = list(gateway.client().as_completed(jobs))

    assert [job.id for job in ended] == ["b", "c", "a"]
    assert set(map(id, ended)) == set(map(id, jobs))
    assert all(job.status == "COMPLETED" for job in jobs)
    assert [sorted(body["ids"]) for body in gateway.bodies()] == [
        list("abc"),
        list("ac"),
        list("ac"),
    ]


def test_as_completed_asks_for_a_thousand_at_a_time_by_turns(script, facts):
    def answer(request):
        ids = json.loads(request.content)["ids"]
        ended = [job_id for job_id in ids if int(job_id) >= 1000]
        if len(gateway.requests) > 4:
            ended = ids
        body = {"jobs": [facts(job_id) for job_id in ended], "pending": [], "unknown": []}
        return httpx.Response(200, json=body)

    gateway = script(answer)
    jobs = gateway.client().jobs(map(str, range(2500)))

    ended = [job.id for job in gateway.client().as_completed(jobs)]

    assert sorted(ended, key=int) == [job.id for job in jobs]
    assert ended[0] == "1000"
    assert {len(body["ids"]) for body in gateway.bodies()} == {1000}
    assert gateway.bodies()[0]["wait"] == 1


def test_as_completed_ends_in_time(script, clock):
    def answer(request):
        body = json.loads(request.content)
        clock.now += body["wait"]
        return httpx.Response(200, json={"jobs": [], "pending": body["ids"], "unknown": []})

    gateway = script(answer)
    client = gateway.client()

    with pytest.raises(WaitTimeout) as caught:
        list(client.as_completed(client.jobs("ab"), timeout=60))

    assert caught.value.job_id in {"a", "b"}


def test_as_completed_says_which_job_there_is_not(script):
    gateway = script([httpx.Response(200, json={"jobs": [], "pending": [], "unknown": ["b"]})])
    client = gateway.client()

    with pytest.raises(NotFound, match="no job b"):
        list(client.as_completed(client.jobs("ab")))


@pytest.fixture
def result(script, facts):
    """A completed job's result, whose file is asked of a gateway that answers so."""

    def make(*answers):
        gateway = script([httpx.Response(200, json=facts(artifacts=[STORED])), *answers])
        return gateway.client().job("job-1").result(), gateway

    return make


def test_a_file_is_saved_whole(result, tmp_path):
    made, gateway = result(
        httpx.Response(200, json=PENDING),
        httpx.Response(200, json=STORED),
        httpx.Response(503),
        httpx.Response(200, content=PICTURE),
    )

    path = made.artifacts[0].save(tmp_path / "fox.png")

    assert path.read_bytes() == PICTURE
    assert [file.name for file in tmp_path.iterdir()] == ["fox.png"]
    assert gateway.requests[-1].url.path == "/base/api/v1/artifacts/file-1/content"
    assert gateway.requests[-1].headers["Accept-Encoding"] == "identity"


def test_a_download_that_breaks_off_begins_again(result, tmp_path):
    class Broken(httpx.SyncByteStream):
        def __iter__(self):
            yield PICTURE[:1000]
            raise httpx.ReadError("reset")

    made, _ = result(
        httpx.Response(200, json=STORED),
        httpx.Response(200, stream=Broken()),
        httpx.Response(200, content=PICTURE),
    )

    made.artifacts[0].save(tmp_path / "fox.png")

    assert (tmp_path / "fox.png").read_bytes() == PICTURE


def test_a_bucket_that_a_download_leads_to_is_not_told_the_key(result, tmp_path):
    made, gateway = result(
        httpx.Response(200, json=STORED),
        httpx.Response(307, headers={"Location": "http://bucket/fox.png?signature=1"}),
        httpx.Response(200, content=PICTURE),
    )

    made.artifacts[0].save(tmp_path / "fox.png")

    assert gateway.requests[-1].url.host == "bucket"
    assert "Authorization" not in gateway.requests[-1].headers


@pytest.mark.parametrize("content", [PICTURE[:-1], b"A" + PICTURE[1:], b""])
def test_a_file_that_is_not_the_right_one_replaces_nothing(result, tmp_path, content):
    made, _ = result(httpx.Response(200, json=STORED), httpx.Response(200, content=content))
    (tmp_path / "fox.png").write_bytes(b"before")

    with pytest.raises(ArtifactUnavailable, match="bytes and SHA-256"):
        made.artifacts[0].save(tmp_path / "fox.png")

    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


def test_a_file_that_is_lost_is_not_waited_for(result, tmp_path):
    expired = {**PENDING, "state": "expired", "error": "HTTP 404"}
    made, _ = result(httpx.Response(200, json=expired))

    with pytest.raises(ArtifactUnavailable, match=r"expired \(HTTP 404\)"):
        made.artifacts[0].save(tmp_path / "fox.png")

    assert list(tmp_path.iterdir()) == []


def test_a_file_is_waited_for_no_longer_than_said(script, facts, clock, tmp_path):
    gateway = script(
        lambda request: httpx.Response(
            200, json=PENDING if "artifacts" in request.url.path else facts(artifacts=[PENDING])
        )
    )
    [file] = gateway.client().job("job-1").result(timeout=0.1).artifacts
    clock.slept.clear()

    with pytest.raises(ArtifactUnavailable, match="it is pending"):
        file.save(tmp_path / "fox.png", timeout=5)

    assert sum(clock.slept) == pytest.approx(5)


async def test_the_async_client_does_the_same(script, facts, tmp_path):
    gateway = script(
        [
            httpx.Response(202, json=facts(status="IN_QUEUE")),
            httpx.Response(200, json=facts(status="IN_PROGRESS")),
            httpx.Response(200, json=facts(artifacts=[PENDING])),
            httpx.Response(200, json=facts(artifacts=[STORED])),
            httpx.Response(200, json=STORED),
            httpx.Response(200, content=PICTURE),
            httpx.Response(200, json=facts("b")),
            httpx.Response(200, json=facts("b", "FAILED")),
            httpx.Response(200, json={"jobs": [facts("c")], "pending": [], "unknown": []}),
        ]
    )

    async with gateway.async_client() as client:
        result = await client.run("flux", {"prompt": "a fox"})
        path = await result.artifacts[0].save(tmp_path / "fox.png")
        retried = await client.job("b").retry()
        cancelled = await client.job("b").cancel()
        ended = [job.id async for job in client.as_completed(client.jobs("c"))]

    assert path.read_bytes() == PICTURE
    assert (retried.status, cancelled.status) == ("COMPLETED", "FAILED")
    assert ended == ["c"]
