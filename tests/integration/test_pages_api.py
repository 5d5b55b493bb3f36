"""What pages are told where the API cannot be asked."""

import pytest
from starlette.requests import Request

from gateway.web.api import Api, Refused, SignedOut
from gateway.web.playground.run_card import hand_in
from gateway.web.sessions import COOKIE
from models.errors import DatabaseUnavailable
from models.key import Scope, hash_key
from tests.integration.conftest import FLUX

GONE = "gone away"


@pytest.fixture
async def api(gateway_app, issue):
    """As who is signed in with a key that reads."""
    key, _ = await issue("looker", Scope.READ)
    return signed_in(gateway_app, key)


def signed_in(gateway_app, key):
    cookie = gateway_app.state.gateway.runtime.secret.seal_session(hash_key(key))
    return api_of(gateway_app, cookie)


def api_of(app, cookie):
    headers = [(b"host", b"pages.test"), (b"cookie", f"{COOKIE}={cookie}".encode())]
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/web/floor"}
    more = {"query_string": b"", "server": ("pages.test", 80), "client": ("127.0.0.9", 1)}
    return Api(app, Request({**scope, **more, "headers": headers}))


async def test_it_asks_as_who_is_signed_in(api):
    assert (await api.get("/api/v1/jobs"))["jobs"] == []
    with pytest.raises(Refused, match="takes operate"):
        await api.get("/api/v1/keys")


async def test_a_cookie_that_is_none_of_ours_is_signed_out(gateway_app):
    with pytest.raises(SignedOut):
        await api_of(gateway_app, "forged").get("/api/v1/jobs")


async def test_without_a_database_it_says_so(api, gateway_app, monkeypatch):
    async def fail(_hash):
        raise DatabaseUnavailable(GONE)

    monkeypatch.setattr(gateway_app.state.gateway.callers, "find", fail)
    with pytest.raises(Refused, match="database cannot be reached") as refused:
        await api.get("/api/v1/jobs")
    assert refused.value.status == 503


async def test_a_fault_of_ours_is_refused_and_not_raised(api, gateway_app):
    @gateway_app.get("/api/v1/broken")
    async def broken():
        raise ValueError(GONE)

    with pytest.raises(Refused, match="own") as refused:
        await api.get("/api/v1/broken")
    assert refused.value.status == 500


async def test_a_job_whose_answer_is_lost_is_handed_in_again_as_the_same(
    gateway_app, issue, monkeypatch
):
    key, _ = await issue("visitor", Scope.RUN)
    acceptor = gateway_app.state.gateway.acceptor
    accept, names = acceptor.accept, []

    async def lose_the_first(incoming, *, size):
        accepted = await accept(incoming, size=size)
        names.append(incoming[0].idempotency_key)
        if len(names) == 1:
            raise DatabaseUnavailable(GONE)
        return accepted

    monkeypatch.setattr(acceptor, "accept", lose_the_first)
    api = signed_in(gateway_app, key)
    job = await hand_in(api, {"endpoint": "anybodys-own", "input": {"prompt": "a fox"}})
    assert len(names) == 2
    assert len(set(names)) == 1
    assert [one["id"] for one in (await api.get("/api/v1/jobs"))["jobs"]] == [job["id"]]


async def test_a_job_that_is_refused_is_not_handed_in_again(gateway_app, issue, monkeypatch):
    key, _ = await issue("visitor", Scope.RUN)
    api, asked = signed_in(gateway_app, key), []
    post = api.post

    async def count(path, body, **headers):
        asked.append(path)
        return await post(path, body, **headers)

    monkeypatch.setattr(api, "post", count)
    with pytest.raises(Refused, match="width"):
        await hand_in(api, {"endpoint": FLUX, "input": {"prompt": "a fox", "width": 3}})
    assert len(asked) == 1
