"""`/v2`: whatever is sent, the right code and words, and nothing recorded unless it is taken."""

import json

import pytest
from sqlalchemy import text

from models.job import JobState, Route
from tasks.submit import SUBMIT
from tests.integration.conftest import FLUX, find_job, run_until

OWN = "my-own"  # an endpoint that nobody listed: its input may be anything
MB = 1_000_000
FOX = {"input": {"prompt": "a fox"}}


async def send(client, content, *, path="run", endpoint=OWN, kind="application/json"):
    headers = {} if kind is None else {"Content-Type": kind}
    return await client.post(f"/v2/{endpoint}/{path}", content=content, headers=headers)


async def count_rows(database):
    """Of every table that a request may be recorded in."""
    async with database.begin() as session:
        return await session.scalar(
            text("""SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM handles)
                    + (SELECT count(*) FROM deliveries)""")
        )


def assert_refused(response, status):
    assert response.status_code == status, response.text
    body = response.json()
    assert body["status"] == "FAILED"
    assert isinstance(body["error"], str)
    assert body["error"]
    assert None not in body.values()


def nest(levels):
    return b'{"input":' + b'{"a":' * (levels - 1) + b"{}" + b"}" * levels


MALFORMED = {
    "empty": b"",
    "blank": b"  \n",
    "word": b"fox",
    "cut short": b'{"input": {"prompt": "a',
    "two": b'{"input": {}} {}',
    "trailing comma": b'{"input": {},}',
    "single quotes": b"{'input': {}}",
    "null": b"null",
    "array": b'[{"input": {}}]',
    "text": b'"input"',
    "number": b"7",
    "no input": b"{}",
    "null input": b'{"input": null}',
    "array input": b'{"input": []}',
    "text input": b'{"input": "a fox"}',
    "number input": b'{"input": 7}',
    "boolean input": b'{"input": true}',
    "one level too many": nest(200 + 1),
    "far too deep": b'{"input":' * 100_000 + b"}" * 100_000,
    "arrays too deep": b'{"input":{"a":' + b"[" * 100_000,
    "infinite": b'{"input": {"x": 1e400}}',
    "thirty digits": b'{"input": {"x": 123456789012345678901234567890}}',
    "minus thirty digits": b'{"input": {"x": -123456789012345678901234567890}}',
    "five thousand digits": b'{"input": {"x": ' + b"9" * 5000 + b"}}",
    "five thousand digits and more": b'{"input": {"x": 0.'
    + b"9" * 5000
    + b', "y": '
    + b"9" * 30
    + b"}}",
    "not a number": b'{"input": {"x": NaN}}',
    "infinity": b'{"input": {"x": -Infinity}}',
    "no UTF-8": b'{"input": {"x": "\xff"}}',
    "half a pair": b'{"input": {"x": "\\ud800"}}',
    "half a pair in UTF-8": b'{"input": {"x": "\xed\xa0\x80"}}',
    "half a pair as a name": b'{"input": {"\\udfff": 1}}',
    "NUL": b'{"input": {"x": "a\\u0000b"}}',
    "NUL after backslashes": b'{"input": {"x": "\\\\\\\\\\u0000"}}',
    "NUL as a name": b'{"input": {"\\u0000": 1}}',
    "raw NUL": b'{"input": {"x": "a\x00b"}}',
    "byte order mark": b'\xef\xbb\xbf{"input": {}}',
    "UTF-16": '{"input": {}}'.encode("utf-16"),
    "policy of text": b'{"input": {}, "policy": "fast"}',
    "unknown policy": b'{"input": {}, "policy": {"speed": 1}}',
    "policy.ttl too short": b'{"input": {}, "policy": {"ttl": 9999}}',
    "policy.ttl too long": b'{"input": {}, "policy": {"ttl": 604800001}}',
    "policy.ttl of text": b'{"input": {}, "policy": {"ttl": "60000"}}',
    "policy.ttl true": b'{"input": {}, "policy": {"ttl": true}}',
    "policy.ttl broken": b'{"input": {}, "policy": {"ttl": 60000.5}}',
    "policy.executionTimeout too short": b'{"input": {}, "policy": {"executionTimeout": 4999}}',
    "policy.lowPriority of text": b'{"input": {}, "policy": {"lowPriority": "yes"}}',
    "s3Config of text": b'{"input": {}, "s3Config": "s3://mine"}',
    "unknown s3Config": b'{"input": {}, "s3Config": {"secret": "x"}}',
    "s3Config of numbers": b'{"input": {}, "s3Config": {"accessId": 7}}',
}


@pytest.mark.parametrize("path", ["run", "runsync"])
async def test_a_body_that_cannot_be_taken_is_refused_and_leaves_nothing(client, database, path):
    statuses = {}
    for name, content in MALFORMED.items():
        response = await send(client, content, path=path)
        statuses[name] = response.status_code
        if response.status_code == 400:
            assert_refused(response, 400)

    assert statuses == dict.fromkeys(MALFORMED, 400)
    assert await count_rows(database) == 0


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b'{"input": {}, "input": {"x": 1}}', {"x": 1}),  # of two of a name the last counts
        (b'{"input": {"x": 1, "x": 2}}', {"x": 2}),
        (b'{"input": {"x": 18446744073709551615}}', {"x": 2**64 - 1}),
        (b'{"input": {"x": -9223372036854775808}}', {"x": -(2**63)}),
        (
            b'{"input": {"x": "123456789012345678901234567890"}}',
            {"x": "123456789012345678901234567890"},
        ),
        (b'{"input": {"x": "\\\\u0000"}}', {"x": "\\u0000"}),  # six characters, no NUL
        (b'{"input": {"x": "\\ud83e\\udd8a"}}', {"x": "\N{FOX FACE}"}),
        (b'{"input": {"x": "\x7f\xe2\x80\xa8"}}', {"x": "\x7f\u2028"}),
        (b'{"input": {"": {"": []}}, "webhook": null, "policy": null}', {"": {"": []}}),
    ],
)
async def test_what_looks_odd_and_can_be_kept_is_kept_as_it_is(client, runtime, content, values):
    response = await send(client, content)

    assert response.status_code == 200, response.text
    assert (await find_job(runtime, response.json()["id"])).input == values


async def test_what_is_as_deep_as_may_be_is_sent_and_shown(client, runtime, emulator):
    await emulator.post("/admin/custom", json={"endpoint": OWN})
    response = await send(client, nest(199))

    job = await run_until(runtime, response.json()["id"], endpoint=OWN)

    assert job.state is JobState.COMPLETED
    assert (await client.get(f"/v2/{OWN}/status/{job.id}")).status_code == 200


async def test_a_deep_input_of_a_listed_endpoint_is_refused_by_its_schema(client, database):
    deep = b'{"input": {"prompt": ' + b"[" * 190 + b"]" * 190 + b"}}"

    assert_refused(await send(client, deep, endpoint=FLUX), 400)
    assert await count_rows(database) == 0


async def test_every_problem_is_named_at_once(client, database):
    body = {"input": {"promt": "a fox", "width": 1000}}

    response = await client.post(f"/v2/{FLUX}/run", json=body)

    assert_refused(response, 400)
    assert all(word in response.json()["error"] for word in ("prompt", "promt", "width"))
    assert await count_rows(database) == 0


KINDS = {
    "application/json": 200,
    "application/json; charset=utf-8": 200,
    "APPLICATION/JSON": 200,
    "application/vnd.api+json": 200,
    None: 200,
    "text/plain": 415,
    "application/x-www-form-urlencoded": 415,
    "multipart/form-data; boundary=x": 415,
    "": 415,
}


async def test_a_body_says_that_it_is_json(client, database):
    statuses = {}
    for kind in KINDS:
        response = await send(client, json.dumps(FOX).encode(), kind=kind)
        statuses[kind] = response.status_code
        if response.status_code == 415:
            assert_refused(response, 415)

    assert statuses == KINDS
    assert await count_rows(database) == 5


def body_of(size):
    return b'{"input":{"prompt":"' + b"a" * (size - 23) + b'"}}'


async def in_chunks(content):
    for start in range(0, len(content), MB):
        yield content[start : start + MB]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("path", "most"), [("run", 10 * MB), ("runsync?wait=1000", 20 * MB)])
async def test_a_body_of_the_most_bytes_is_taken_and_one_more_is_not(
    client, database, path, most, chunked
):
    statuses = []
    for size in (most, most + 1):
        content = body_of(size)
        assert len(content) == size
        response = await send(client, in_chunks(content) if chunked else content, path=path)
        statuses.append(response.status_code)

    assert statuses == [200, 413]
    assert_refused(response, 413)
    assert f"{most:,}" in response.json()["error"]
    assert await count_rows(database) == 1


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp's advice
async def test_a_body_that_is_too_large_for_run_goes_to_the_upstreams_runsync(
    client, runtime, emulator
):
    await emulator.post("/admin/custom", json={"endpoint": OWN})
    response = await send(client, body_of(20 * MB), path="runsync?wait=1000")

    job = await run_until(runtime, response.json()["id"], endpoint=OWN)

    assert (job.state, job.route) == (JobState.COMPLETED, Route.RUNSYNC)
    operations = (await emulator.get("/admin/stats")).json()["endpoints"][OWN]
    assert operations["runsync"]["requests"] == 1
    assert "run" not in operations
    assert SUBMIT.operation == "run"  # and counts against the same quota


WAITS = ["0", "999", "300001", "-1000", "1e4", "1000.5", "", "forever", "٣٠٠٠", "9" * 400]


async def test_a_wait_out_of_bounds_is_refused_and_enqueues_nothing(client, database):
    job_id = (await client.post(f"/v2/{FLUX}/run", json=FOX)).json()["id"]
    for wait in WAITS:
        runsync = await client.post(f"/v2/{FLUX}/runsync", json=FOX, params={"wait": wait})
        url = f"/v2/{FLUX}/status-sync/{job_id}"
        for response in (runsync, await client.get(url, params={"wait": wait})):
            assert_refused(response, 400)
            assert "wait" in response.json()["error"]

    assert await count_rows(database) == 1


async def test_a_method_or_path_that_is_none_is_refused(client):
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        assert_refused(await client.request(method, f"/v2/{FLUX}/run"), 405)
    for path in ("", "runs", "run/7", "openapi", "status", "status/7/8"):
        assert_refused(await client.get(f"/v2/{FLUX}/{path}"), 404)
