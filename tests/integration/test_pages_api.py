"""What pages are told where the API cannot be asked."""

import pytest
from starlette.requests import Request

from gateway.web.api import Api, Refused, SignedOut
from gateway.web.sessions import COOKIE
from models.errors import DatabaseUnavailable
from models.key import Scope, hash_key

GONE = "gone away"


@pytest.fixture
async def api(gateway_app, issue):
    """As who is signed in with a key that reads."""
    key, _ = await issue("looker", Scope.READ)
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
