"""One request: what is sent again, when, and what its failures become."""

import datetime as dt
from email.utils import format_datetime

import httpx
import pytest

from pressroom import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    Pressroom,
    PressroomError,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
)


def problem(status, headers=None, **more):
    body = {"title": "Refused", "status": status, "detail": "why", **more}
    return httpx.Response(status, json=body, headers=headers)


def keys(script):
    return [request.headers["Idempotency-Key"] for request in script.requests]


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("too slow"),
        httpx.ReadTimeout("silent"),
        httpx.RemoteProtocolError("cut off"),
        httpx.Response(429),
        httpx.Response(502, text="<html>"),
        httpx.Response(503),
        httpx.Response(504),
    ],
    ids=str,
)
def test_a_submit_is_sent_again_as_it_was(script, facts, failure):
    gateway = script([failure, failure, httpx.Response(202, json=facts())])

    job = gateway.client().submit("flux", {"prompt": "a fox"})

    assert job.id == "job-1"
    assert len(gateway.requests) == 3
    assert len(set(keys(gateway))) == 1
    assert len({request.content for request in gateway.requests}) == 1


async def test_an_async_submit_is_sent_again_as_it_was(script, facts):
    gateway = script([httpx.ReadTimeout("silent"), httpx.Response(202, json=facts())])

    job = await gateway.async_client().submit("flux", {"prompt": "a fox"})

    assert job.id == "job-1"
    assert len(set(keys(gateway))) == 1
    assert len(gateway.clock.slept) == 1


def test_each_submit_without_a_key_has_a_new_one(script, facts):
    gateway = script(lambda _: httpx.Response(202, json=facts()))
    client = gateway.client()

    client.submit("flux", {"prompt": "a fox"})
    client.submit("flux", {"prompt": "a fox"}, idempotency_key=None)
    client.submit("flux", {"prompt": "a fox"}, idempotency_key="order 17")

    assert len(set(keys(gateway))) == 3
    assert keys(gateway)[2] == "order 17"


@pytest.mark.parametrize("key", ["", " a", "a\n", "ä", "x" * 256])
def test_a_key_that_no_header_can_carry_is_refused_here(script, key):
    gateway = script([])

    with pytest.raises(InvalidRequest, match="printable"):
        gateway.client().submit("flux", {}, idempotency_key=key)


def test_only_what_is_said_is_sent(script, facts):
    gateway = script([httpx.Response(202, json=facts())])

    gateway.client().submit(
        "flux", {"prompt": "ä"}, webhook="http://x", policy={"ttl": 1}, cache=False, on_unknown=None
    )

    [request] = gateway.requests
    assert request.url == "http://gateway/base/api/v1/jobs"
    assert request.headers["Authorization"] == "Bearer prk_1"
    assert gateway.bodies() == [
        {
            "endpoint": "flux",
            "input": {"prompt": "ä"},
            "webhook": "http://x",
            "policy": {"ttl": 1},
            "cache": False,
        }
    ]


def test_an_option_that_there_is_not_is_refused_here(script):
    with pytest.raises(TypeError, match="webhok"):
        script([]).client().submit("flux", {}, webhok="http://x")


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, "\ud800"], ids=repr)
def test_an_input_that_is_no_json_is_refused_here(script, value):
    with pytest.raises(InvalidRequest, match="no JSON"):
        script([]).client().submit("flux", {"prompt": value})


def test_the_pauses_grow_to_a_bound_and_the_tries_end(script):
    gateway = script(lambda _: httpx.Response(503))

    with pytest.raises(Unavailable):
        gateway.client().submit("flux", {})

    slept = gateway.clock.slept
    assert len(gateway.requests) == 9
    assert all(
        full / 2 <= pause <= full
        for pause, full in zip(slept, (0.5, 1, 2, 4, 8, 15, 15, 15), strict=True)
    )


def test_no_retries_are_none(script):
    gateway = script([httpx.Response(503)])

    with pytest.raises(Unavailable):
        gateway.client(retries=0).submit("flux", {})

    assert gateway.clock.slept == []


def test_a_retry_after_is_waited_for(script, facts):
    gateway = script(
        [httpx.Response(429, headers={"Retry-After": "70"}), httpx.Response(202, json=facts())]
    )

    gateway.client().submit("flux", {})

    assert gateway.clock.slept == [70]


def test_a_retry_after_may_be_a_date(script, facts):
    at = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=60), usegmt=True)
    gateway = script(
        [httpx.Response(503, headers={"Retry-After": at}), httpx.Response(202, json=facts())]
    )

    gateway.client().submit("flux", {})

    [slept] = gateway.clock.slept
    assert 50 < slept <= 60


def test_a_retry_after_that_is_too_long_is_the_callers_to_wait(script):
    gateway = script([problem(429, {"Retry-After": "3600"})])

    with pytest.raises(RateLimited) as caught:
        gateway.client().submit("flux", {})

    assert caught.value.retry_after == 3600
    assert gateway.clock.slept == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (413, TooLarge),
        (418, PressroomError),
        (422, InvalidRequest),
        (500, Unavailable),
    ],
)
def test_a_refusal_is_an_error_of_its_kind_at_once(script, status, kind):
    gateway = script([problem(status)])

    with pytest.raises(PressroomError, match="why") as caught:
        gateway.client().submit("flux", {})

    assert type(caught.value) is kind


def test_what_is_wrong_with_a_request_is_a_list(script):
    gateway = script([problem(422, problems=["width: 7 is less than 64"])])

    with pytest.raises(InvalidRequest, match="why; width: 7") as caught:
        gateway.client().submit("flux", {"width": 7})

    assert caught.value.problems == ["width: 7 is less than 64"]


def test_a_detail_that_is_the_problems_is_not_said_twice(script):
    gateway = script([problem(422, detail="a: no; b: no", problems=["a: no", "b: no"])])

    with pytest.raises(InvalidRequest) as caught:
        gateway.client().submit("flux", {})

    assert str(caught.value) == "a: no; b: no"


def test_a_refusal_that_is_no_problem_json_is_quoted(script):
    gateway = script([httpx.Response(403, text="<html>proxy says no")])

    with pytest.raises(Forbidden, match="proxy says no"):
        gateway.client().submit("flux", {})


def test_an_answer_of_something_else_is_an_error(script):
    gateway = script([httpx.Response(200, text="<html>welcome")])

    with pytest.raises(PressroomError, match="did not answer as Pressroom does"):
        gateway.client().submit("flux", {})


def test_no_answer_names_the_address_and_the_cause(script):
    gateway = script(lambda _: httpx.ConnectError("refused"))

    with pytest.raises(
        Unavailable, match=r"http://gateway/base/api/v1/jobs: ConnectError"
    ) as caught:
        gateway.client(retries=1).submit("flux", {})

    assert isinstance(caught.value.__cause__, httpx.ConnectError)


def test_where_the_gateway_is_may_come_from_the_environment(monkeypatch, script):
    monkeypatch.setenv("PRESSROOM_URL", "http://elsewhere")
    monkeypatch.setenv("PRESSROOM_KEY", "prk_2")
    gateway = script([problem(404)])

    with (
        Pressroom(transport=httpx.MockTransport(gateway)) as client,
        pytest.raises(NotFound),
    ):
        client.job("job-1").refresh()

    [request] = gateway.requests
    assert request.url == "http://elsewhere/api/v1/jobs/job-1"
    assert request.headers["Authorization"] == "Bearer prk_2"


@pytest.mark.parametrize(
    ("url", "key", "wanted"),
    [
        (None, "prk_1", "PRESSROOM_URL"),
        ("gateway:8000", "prk_1", "http"),
        ("http://x", None, "KEY"),
    ],
)
def test_a_client_that_cannot_work_is_not_made(monkeypatch, url, key, wanted):
    monkeypatch.delenv("PRESSROOM_URL", raising=False)
    monkeypatch.delenv("PRESSROOM_KEY", raising=False)

    with pytest.raises(PressroomError, match=wanted):
        Pressroom(url, key)
