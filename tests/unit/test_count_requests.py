"""How the gateway counts a request that nobody waits for any more."""

import pytest

from gateway.metrics import CountRequests
from workers.metrics import REGISTRY

SCOPE = {"type": "http", "method": "GET", "path": "/x"}


def counted(code):
    labels = {"route": "other", "method": "GET", "code": code}
    return REGISTRY.get_sample_value("pressroom_gateway_requests_total", labels) or 0


async def _nothing(*_given):
    return {}


async def leave(_scope, _receive, _send):
    """The browser has gone on: there is nobody to answer."""


async def fail(_scope, _receive, _send):
    raise ValueError("broken")


async def test_a_request_whose_sender_has_gone_is_no_fault():
    gone, faults = counted("499"), counted("500")
    await CountRequests(leave)(SCOPE, _nothing, _nothing)
    assert (counted("499"), counted("500")) == (gone + 1, faults)


async def test_a_request_that_breaks_is_one():
    faults = counted("500")
    with pytest.raises(ValueError, match="broken"):
        await CountRequests(fail)(SCOPE, _nothing, _nothing)
    assert counted("500") == faults + 1
