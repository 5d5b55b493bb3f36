"""Who is signed in. The cookie is the key's hash, sealed: it opens nothing but these pages, shows
nothing to who steals it, and needs no server to be kept on.

It ends with the key: revoked, rotated (after the grace that the old secret has), or after a week.
"""

import ipaddress
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import Request, Response
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from gateway.errors import ApiError
from gateway.state import GatewayState, get_state
from gateway.web.addresses import WEB
from models.key import Caller, hash_key

COOKIE = "pressroom_session"
LIVE_SECONDS = 7 * 86_400
WRONG_A_MINUTE = RateLimitItemPerMinute(10)  # keys, from one address

# Counted in this process: 256 bits are not guessed, however many gateways there are to ask.
_wrong = MovingWindowRateLimiter(MemoryStorage())


async def find_visitor(state: GatewayState, request: Request) -> Caller | None:
    """Who is signed in; None if nobody is, or no longer."""
    cookie = request.cookies.get(COOKIE)
    if cookie is None:
        return None
    key_hash = state.runtime.secret.open_session(cookie, live_seconds=LIVE_SECONDS)
    return await state.callers.find(key_hash) if key_hash else None


async def sign_in(state: GatewayState, request: Request, key: str) -> str | None:
    """The cookie of who shows a good key; None: it is none.

    Raises:
        ApiError: 429 too many keys that are none came from there.
    """
    whence = _whence(request)
    if not await _wrong.test(WRONG_A_MINUTE, whence):
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"{WRONG_A_MINUTE.amount} wrong keys came from your address within a minute; "
            "wait a minute",
            headers={"Retry-After": "60"},
        )
    key_hash = hash_key(key.strip())
    if await state.callers.find(key_hash):
        return state.runtime.secret.seal_session(key_hash)
    await _wrong.hit(WRONG_A_MINUTE, whence)
    return None


def set_cookie(response: Response, request: Request, cookie: str) -> None:
    public = urlsplit(get_state(request).runtime.settings.public_url or "")
    # A proxy that ends TLS may not say so, but the settings do.
    over_tls = request.url.scheme == "https" or (
        public.scheme == "https" and public.hostname == request.url.hostname
    )
    # Lax: a link that somebody sent opens its page. What changes anything goes by POST from our own
    # pages (login.py), or by the socket of a page, whose id no other site can know.
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=LIVE_SECONDS,
        path=WEB,
        httponly=True,
        samesite="lax",
        secure=over_tls,
    )


def clear_cookie(response: Response) -> None:
    response.delete_cookie(COOKIE, path=WEB, httponly=True, samesite="lax")


def _whence(request: Request) -> str:
    """The address; of IPv6 the network, of which one host has as many addresses as it likes."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    prefix = 64 if address.version == 6 else 32  # noqa: PLR2004 -- of IP
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))
