"""Webhooks out: signed, the same each time, tried for a day, and to the public internet alone."""

import asyncio
import contextlib
import socket
import struct
from uuid import UUID

import orjson
import pytest
from aiohttp import web
from sqlalchemy import select, text
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from models.delivery import (
    Delivery,
    DeliveryKind,
    DeliveryState,
    NewDelivery,
    add_deliveries,
    wake_deliveries,
)
from models.key import Scope
from models.lane import StageName
from tasks import webhook as webhook_task
from tasks.generate import KEPT
from tasks.notify import NOTIFY
from tasks.webhook import GIVE_UP_SECONDS, WAITS_SECONDS, WEBHOOK
from tests.integration.conftest import FLUX, client_of, complete
from workers.app import make_app
from workers.lane import LaneRun
from workers.runtime import open_runtime


@pytest.fixture
async def settings(settings, receiver):
    """The receiver is named as a private host that may be reached."""
    return settings.model_copy(
        update={"allowed_hosts": (receiver.host,), "public_url": "http://gateway.test"}
    )


async def hand_in(client, url, **options):
    body = {"endpoint": FLUX, "input": {"prompt": "a fox"}, "webhook": url, **options}
    response = await client.post("/api/v1/jobs", json=body)
    assert response.status_code == 202, response.text
    return response.json()["id"]


async def hand_in_and_end(client, url):
    """A job that has ended, without an upstream."""
    job_id = await hand_in(client, url)
    assert (await client.post(f"/api/v1/jobs/{job_id}/cancel")).is_success
    return job_id


async def send(runtime):
    return await LaneRun(runtime, WEBHOOK, FLUX).run()


async def make_due(database):
    async with database.begin() as session:
        await session.execute(text("UPDATE deliveries SET next_at = now()"))


async def wait_seconds(database):
    """How long until the one delivery is tried again."""
    async with database.begin() as session:
        return float(
            await session.scalar(text("SELECT extract(epoch FROM next_at - now()) FROM deliveries"))
        )


async def deliveries_of(client, job_id):
    return (await client.get(f"/api/v1/jobs/{job_id}/deliveries")).json()["deliveries"]


@pytest.fixture
def secret_of(runtime):
    def of(key_id, version=1):
        return runtime.secret.webhook_secret(key_id, version)

    return of


@pytest.fixture
async def shop(gateway_app, issue):
    """A client of a key, and the key's id."""
    key, key_id = await issue("shop", Scope.RUN)
    async with client_of(gateway_app, key) as client:
        yield client, key_id


async def test_while_traces_are_off_a_webhook_bears_what_its_producer_sent(
    client, runtime, receiver
):
    sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for header in (sent, "no trace"):
        client.headers["traceparent"] = header
        await hand_in_and_end(client, receiver.url)

    await send(runtime)

    bore = [headers.get("traceparent") for headers, _ in receiver.requests]
    assert sorted(bore, key=str) == [sent, None]


@pytest.mark.usefixtures("emulator")
async def test_a_webhook_is_signed_and_tells_what_status_would(shop, runtime, receiver, secret_of):
    client, key_id = shop
    job_id = await hand_in(client, receiver.url)
    await complete(runtime, job_id)

    assert await send(runtime) == 1

    [(headers, body)] = receiver.requests
    assert Webhook(secret_of(key_id)).verify(body, headers) == orjson.loads(body)
    status = (await client.get(f"/v2/{FLUX}/status/{job_id}")).json()
    assert orjson.loads(body) == status
    assert status["status"] == "COMPLETED"
    assert status["output"]["image_url"].startswith("http://gateway.test/files/")
    assert headers["Content-Type"] == "application/json"
    [delivery] = await deliveries_of(client, job_id)
    assert (delivery["state"], delivery["tries"], delivery["http_status"]) == ("delivered", 1, 200)
    assert delivery["webhook_id"] == headers["webhook-id"]
    assert delivery["delivered_at"]


async def test_a_body_that_was_changed_or_another_keys_secret_does_not_verify(
    shop, runtime, receiver, secret_of, issue
):
    client, key_id = shop
    _, other_id = await issue("other", Scope.RUN)
    await hand_in_and_end(client, receiver.url)
    await send(runtime)
    [(headers, body)] = receiver.requests

    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(key_id)).verify(body.replace(b"CANCELLED", b"COMPLETED"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(other_id)).verify(body, headers)


async def test_a_renewed_secret_signs_from_then_on(shop, runtime, receiver, secret_of, database):
    client, key_id = shop
    await hand_in_and_end(client, receiver.url)
    async with database.begin() as session:
        await session.execute(text("UPDATE api_keys SET webhook_version = 2"))

    await send(runtime)

    [(headers, body)] = receiver.requests
    Webhook(secret_of(key_id, 2)).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(key_id)).verify(body, headers)


async def test_nothing_is_sent_before_the_job_has_ended(shop, runtime, receiver):
    client, _ = shop
    job_id = await hand_in(client, receiver.url)

    assert await send(runtime) == 0
    [delivery] = await deliveries_of(client, job_id)
    replayed = await client.post(f"/api/v1/deliveries/{delivery['id']}/replay")

    assert delivery["state"] == "waiting"
    assert replayed.status_code == 409
    assert receiver.requests == []


# What does not get through


def reset(request):
    """Close the connection as a crash does."""
    transport = request.transport
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return web.Response()


async def hang(_request):
    await asyncio.sleep(60)
    return web.Response()


def redirect(request):
    return web.Response(status=302, headers={"Location": f"http://{request.host}/elsewhere"})


def odd(_request):
    """In an encoding that is no text's, and with bytes that Postgres takes for none."""
    return web.Response(
        status=500, body=b"\x00\xff\xfe", headers={"Content-Type": "text/plain; charset=hex"}
    )


def zipped(_request):
    return web.Response(status=500, body=b"nonsense", headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    ("answer", "http_status", "said"),
    [
        (lambda _: web.Response(status=500, text="out of paper"), 500, "out of paper"),
        (lambda _: web.Response(status=404), 404, "HTTP 404"),
        (lambda _: web.Response(status=410), 410, "HTTP 410"),
        (redirect, 302, "HTTP 302"),
        (odd, 500, "HTTP 500"),
        (zipped, 500, "HTTP 500"),
        (hang, None, "no answer within 1 s"),
        (reset, None, "reset"),
    ],
)
async def test_what_is_no_2xx_is_tried_again_later_with_the_same_id_and_said(  # noqa: PLR0917
    shop, runtime, receiver, database, monkeypatch, answer, http_status, said
):
    monkeypatch.setattr(webhook_task, "ACT_SECONDS", 1.0)
    client, _ = shop
    job_id = await hand_in_and_end(client, receiver.url)
    receiver.answer = answer

    await send(runtime)

    [failed] = await deliveries_of(client, job_id)
    assert (failed["state"], failed["tries"]) == ("pending", 1)
    assert failed["http_status"] == http_status
    assert said in failed["error"]
    assert await wait_seconds(database) == pytest.approx(WAITS_SECONDS[0], rel=0.3)
    assert await send(runtime) == 0  # not before its time
    receiver.answer = lambda _: web.Response(status=204)
    await make_due(database)
    await send(runtime)
    [delivered] = await deliveries_of(client, job_id)
    assert (delivered["state"], delivered["tries"]) == ("delivered", 2)
    assert delivered["error"] is None
    assert len(set(receiver.ids())) == 1
    assert len({body for _, body in receiver.requests}) == 1
    assert len(receiver.requests) == 2  # no redirect was followed


async def test_an_answer_without_an_end_is_not_read_to_its_end(
    shop, runtime, receiver, monkeypatch
):
    sent = 0

    async def endless(request):
        nonlocal sent
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while sent < 1_000_000_000:
                await response.write(b"x" * 65_536)
                sent += 65_536
        return response

    monkeypatch.setattr(webhook_task, "ACT_SECONDS", 10.0)
    client, _ = shop
    job_id = await hand_in_and_end(client, receiver.url)
    receiver.answer = endless

    await send(runtime)

    [failed] = await deliveries_of(client, job_id)
    assert (failed["http_status"], failed["tries"]) == (500, 1)
    assert len(failed["error"]) < 300
    assert sent < 100_000_000


async def test_the_waits_grow_and_after_a_day_it_is_given_up_until_it_is_replayed(
    shop, runtime, receiver, database
):
    client, _ = shop
    job_id = await hand_in_and_end(client, receiver.url)
    receiver.answer = lambda _: web.Response(status=503)
    waits = []
    for _ in range(len(WAITS_SECONDS) + 2):
        await send(runtime)
        waits.append(await wait_seconds(database))
        await make_due(database)

    wanted = [*WAITS_SECONDS, WAITS_SECONDS[-1], WAITS_SECONDS[-1]]
    assert waits == pytest.approx(wanted, rel=0.25)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE deliveries SET pending_at = now() - make_interval(secs => :age)"),
            {"age": GIVE_UP_SECONDS - 60},
        )
    await send(runtime)
    [given_up] = await deliveries_of(client, job_id)
    assert (given_up["state"], given_up["next_at"]) == ("failed", None)
    await make_due(database)
    assert await send(runtime) == 0
    listed = (await client.get("/api/v1/deliveries", params={"state": "failed"})).json()
    assert [one["id"] for one in listed["deliveries"]] == [given_up["id"]]

    receiver.answer = lambda _: web.Response()
    replayed = await client.post(f"/api/v1/deliveries/{given_up['id']}/replay")
    await send(runtime)

    assert (replayed.json()["state"], replayed.json()["tries"]) == ("pending", 0)
    [delivered] = await deliveries_of(client, job_id)
    assert (delivered["state"], delivered["tries"]) == ("delivered", 1)
    assert len(set(receiver.ids())) == 1


async def test_a_replay_of_one_that_was_delivered_is_sent_again_with_its_id(
    shop, runtime, receiver, secret_of
):
    client, key_id = shop
    job_id = await hand_in_and_end(client, receiver.url)
    await send(runtime)
    [delivered] = await deliveries_of(client, job_id)

    replayed = (await client.post(f"/api/v1/deliveries/{delivered['id']}/replay")).json()
    await send(runtime)

    assert (replayed["state"], replayed["delivered_at"]) == ("pending", None)
    first, second = receiver.requests
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1]
    Webhook(secret_of(key_id)).verify(second[1], second[0])


async def test_one_that_is_being_sent_is_not_sent_twice_by_a_replay(shop, runtime, receiver):
    client, _ = shop
    release = asyncio.Event()

    async def slow(_request):
        await release.wait()
        return web.Response()

    receiver.answer = slow
    job_id = await hand_in_and_end(client, receiver.url)
    sending = asyncio.create_task(send(runtime))
    await asyncio.wait_for(receiver.received.wait(), 10)
    [delivery] = await deliveries_of(client, job_id)

    replayed = await client.post(f"/api/v1/deliveries/{delivery['id']}/replay")
    again = await send(runtime)
    release.set()
    await sending

    assert replayed.status_code == 200
    assert (again, len(receiver.requests)) == (0, 1)
    assert (await deliveries_of(client, job_id))[0]["state"] == "delivered"


async def test_a_retried_job_tells_of_its_new_end(shop, runtime, receiver, database):
    client, _ = shop
    job_id = await hand_in_and_end(client, receiver.url)
    await send(runtime)
    async with database.begin() as session:
        await session.execute(text("UPDATE jobs SET state = 'failed', reason = 'upstream_failed'"))
    await client.post(f"/api/v1/jobs/{job_id}/retry")
    assert await send(runtime) == 0

    await client.post(f"/api/v1/jobs/{job_id}/cancel")
    await send(runtime)

    assert [orjson.loads(body)["status"] for _, body in receiver.requests] == ["CANCELLED"] * 2
    assert len(set(receiver.ids())) == 1


# Where it may go


PRIVATE = ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "::ffff:192.168.0.1"]


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_turns_private_after_it_was_handed_in_is_not_called(
    shop, runtime, receiver, monkeypatch, address
):
    port = receiver.host.partition(":")[2]
    answers = {"at hand-in": "93.184.215.14", "at sending": address}
    moment = "at hand-in"
    asked = []

    async def resolve(_loop, host, port, *_, **__):
        asked.append((moment, host))
        given = answers[moment]
        family = socket.AF_INET6 if ":" in given else socket.AF_INET
        place = (given, port, 0, 0) if ":" in given else (given, port)
        return [(family, socket.SOCK_STREAM, 6, "", place)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    client, _ = shop
    job_id = await hand_in_and_end(client, f"http://rebinding.example:{port}/hook")
    moment = "at sending"

    await send(runtime)

    [failed] = await deliveries_of(client, job_id)
    assert failed["state"] == "pending"
    assert "public internet" in failed["error"]
    assert receiver.requests == []
    assert {when for when, _ in asked} == {"at hand-in", "at sending"}


async def test_an_address_is_refused_once_the_setting_allows_it_no_more(shop, settings, receiver):
    client, _ = shop
    job_id = await hand_in_and_end(client, receiver.url)
    strict = settings.model_copy(update={"allowed_hosts": ()})

    async with open_runtime(strict, make_app(strict), name="strict") as runtime:
        await send(runtime)

    [failed] = await deliveries_of(client, job_id)
    assert "public internet" in failed["error"]
    assert receiver.requests == []


# Others


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # Celery's own
async def test_a_receiver_that_hangs_holds_up_no_celery_notification(
    shop, runtime, receiver, database
):
    client, _ = shop
    release = asyncio.Event()

    async def slow(_request):
        await release.wait()
        return web.Response()

    receiver.answer = slow
    job_id = UUID(await hand_in(client, receiver.url))
    async with database.begin() as session:
        request = {**dict.fromkeys(KEPT), "id": str(job_id), "root_id": str(job_id)}
        await add_deliveries(
            session,
            [NewDelivery(job_id=job_id, endpoint=FLUX, kind=DeliveryKind.CELERY, request=request)],
        )
    await client.post(f"/api/v1/jobs/{job_id}/cancel")
    sending = asyncio.create_task(send(runtime))
    await asyncio.wait_for(receiver.received.wait(), 10)

    notified = await LaneRun(runtime, NOTIFY, FLUX).run()

    assert not sending.done()
    assert notified == 1
    async with database.begin() as session:
        states = await session.execute(select(Delivery.kind, Delivery.state))
        assert dict(states.all()) == {
            DeliveryKind.CELERY: DeliveryState.DELIVERED,
            DeliveryKind.WEBHOOK: DeliveryState.PENDING,
        }
    release.set()
    await sending


async def test_one_receiver_that_fails_takes_nothing_from_another(shop, runtime, receiver):
    client, _ = shop
    receiver.answer = lambda request: web.Response(status=500 if "bad" in request.path else 200)
    bad = [await hand_in_and_end(client, f"{receiver.url}/bad") for _ in range(3)]
    good = [await hand_in_and_end(client, f"{receiver.url}/good") for _ in range(3)]

    assert await send(runtime) == 6

    states = {one: (await deliveries_of(client, one))[0]["state"] for one in bad + good}
    assert states == dict.fromkeys(bad, "pending") | dict.fromkeys(good, "delivered")


async def test_a_cancel_wakes_its_webhook_and_the_lane_is_rung(shop, runtime, receiver, database):
    client, _ = shop
    job_id = UUID(await hand_in(client, receiver.url))

    async with database.begin() as session:
        assert await wake_deliveries(session, ended=[job_id], hold_seconds=0) == {}
    await client.post(f"/api/v1/jobs/{job_id}/cancel")

    async with database.begin() as session:
        row = (await session.scalars(select(Delivery))).one()
    assert (row.state, row.kind) == (DeliveryState.PENDING, DeliveryKind.WEBHOOK)
    keys = await runtime.redis.keys("*webhook*")
    assert any(StageName.WEBHOOK.encode() in key for key in keys)


async def test_deliveries_are_listed_in_pages_and_are_ones_own(shop, gateway_app, issue, receiver):
    client, _ = shop
    jobs = [await hand_in(client, receiver.url) for _ in range(5)]
    other_key, _ = await issue("other", Scope.RUN)
    operate_key, _ = await issue("operator", Scope.OPERATE)
    async with client_of(gateway_app, other_key) as other:
        await hand_in(other, receiver.url)

    first = (await client.get("/api/v1/deliveries", params={"limit": 3})).json()
    await hand_in(client, receiver.url)
    second = (
        await client.get("/api/v1/deliveries", params={"limit": 3, "cursor": first["next"]})
    ).json()
    async with client_of(gateway_app, operate_key) as operator:
        everybodys = (await operator.get("/api/v1/deliveries")).json()["deliveries"]
    async with client_of(gateway_app, other_key) as other:
        foreign = await other.post(f"/api/v1/deliveries/{first['deliveries'][0]['id']}/replay")
        of_job = await other.get(f"/api/v1/jobs/{jobs[0]}/deliveries")

    listed = [one["job_id"] for one in first["deliveries"] + second["deliveries"]]
    assert listed == jobs[::-1]
    assert second["next"] is None
    assert len(everybodys) == 7
    assert (foreign.status_code, of_job.status_code) == (404, 404)
