"""Against a real gateway, with workers and an upstream behind it (`conftest.py` says where).

It should be an emulator: some forty images are made.
"""

import hashlib
import uuid

import pytest

from pressroom import (
    AsyncPressroom,
    Conflict,
    InvalidRequest,
    NotFound,
    Pressroom,
    Result,
    Unauthorized,
    WaitTimeout,
)

IMAGE = "black-forest-labs-flux-1-schnell"
SECONDS = 60


@pytest.fixture
def client(gateway):
    with Pressroom(*gateway) as client:
        yield client


def prompt(text="a fox"):
    """An input that nobody had before."""
    return {"prompt": f"{text} {uuid.uuid4()}"}


def test_an_image_is_made_and_its_file_is_the_one_that_was_stored(client, tmp_path):
    result = client.run(IMAGE, prompt(), timeout=SECONDS)

    [file] = result.artifacts
    path = file.save(tmp_path / "fox")
    assert file.state == "stored"
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert result.cost_usd is not None
    assert result.output


def test_the_same_key_and_input_are_one_job(client):
    key, given = str(uuid.uuid4()), prompt()

    first = client.submit(IMAGE, given, idempotency_key=key)
    second = client.submit(IMAGE, given, idempotency_key=key)

    assert first.id == second.id
    with pytest.raises(InvalidRequest):
        client.submit(IMAGE, prompt(), idempotency_key=key)


def test_an_input_that_is_wrong_is_told_what_is(client):
    with pytest.raises(InvalidRequest) as caught:
        client.submit(IMAGE, {"prompt": 7})

    assert caught.value.problems


def test_a_key_that_there_is_not_is_refused(gateway):
    with Pressroom(gateway[0], "prk_wrong") as client, pytest.raises(Unauthorized):
        client.submit(IMAGE, prompt())


def test_a_job_that_there_is_not_is_not_found(client):
    with pytest.raises(NotFound):
        client.job(uuid.uuid4()).refresh()


def test_a_wait_that_is_over_leaves_the_job_to_be_waited_for_again(client):
    job = client.submit(IMAGE, prompt())

    with pytest.raises(WaitTimeout):
        client.wait(job.id, 0)

    assert client.job(job.id).result(SECONDS).job_id == job.id


def test_a_completed_job_is_not_retried(client):
    job = client.submit(IMAGE, prompt()).wait(SECONDS)

    with pytest.raises(Conflict):
        job.retry()


def test_a_job_that_is_cancelled_ends(client):
    job = client.submit(IMAGE, prompt())

    job.cancel()

    assert job.wait(SECONDS).status in {"CANCELLED", "COMPLETED"}


def test_many_come_in_order_and_a_second_run_finds_them(client):
    inputs = [prompt(f"fox {n}") for n in range(12)]
    key = str(uuid.uuid4())

    first = list(client.map(IMAGE, inputs, key=key, in_flight=5))
    second = list(client.map(IMAGE, inputs, key=key, progress=False))

    assert [result.job_id for result in first] == [result.job_id for result in second]
    for result, given in zip(first, inputs, strict=True):
        assert client.job(result.job_id).refresh().facts["input"] == given


def test_one_input_that_is_wrong_stops_no_other(client):
    inputs = [prompt(), {"prompt": 7}, prompt()]

    outcomes = list(client.map(IMAGE, inputs, return_exceptions=True))

    assert [type(outcome) for outcome in outcomes] == [Result, InvalidRequest, Result]


def test_jobs_come_as_they_end(client):
    jobs = [client.submit(IMAGE, prompt()) for _ in range(4)]

    ended = list(client.as_completed(client.jobs(job.id for job in jobs), timeout=SECONDS))

    assert {job.id for job in ended} == {job.id for job in jobs}
    assert all(job.status == "COMPLETED" for job in ended)


async def test_the_async_client_does_the_same(gateway, tmp_path):
    async with AsyncPressroom(*gateway) as client:
        result = await client.run(IMAGE, prompt(), timeout=SECONDS)
        path = await result.artifacts[0].save(tmp_path / "fox")
        many = [made async for made in client.map(IMAGE, [prompt(), prompt()])]

    assert path.stat().st_size == result.artifacts[0].size_bytes
    assert len({made.job_id for made in many}) == 2
