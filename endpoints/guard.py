"""Fetch what others name (webhooks, artifacts) from the public internet, and from nowhere else.

A URL is judged three times:

    check_literal   as it is written, without the network: when it is handed in
    check           by what its name resolves to at that moment, so that who hands it in is told
    connecting      by the very addresses that sockets are opened to, at each hop of a redirect

Only the last one protects: DNS may answer otherwise the next time. It stands where aiohttp
resolves a name and where it opens a socket, so an address taken from its cache, or read out of a
URL in some other way than here, is judged too. A kept-alive connection was judged when it opened.

Hosts that the setting PRESSROOM_ALLOWED_HOSTS names may be anywhere, and have connections of their
own: none is ever lent to a host that is not named.

`ipaddress` classifies, with what it misses added. A NAT64 prefix of a network's own is not
recognised: nothing tells it from any other public address.
"""

import asyncio
import re
import socket
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import aiohttp
import httpx
from aiohttp.abc import ResolveResult
from httpx_aiohttp import AiohttpTransport

from endpoints.client import CONNECT_SECONDS, KEEPALIVE_SECONDS, SUBMIT_SECONDS

RESOLVE_SECONDS = 5.0

_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535
_NAME = re.compile(r"(?!.{254})[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")  # what DNS can be asked
_PRIVATE_ENDINGS = frozenset({"localhost", "local", "internal"})
_IPV6_INTERNET = IPv6Network("2000::/3")  # all that IANA gives out
_NAT64 = IPv6Network("64:ff9b::/96")  # the public address of a site, where only IPv6 is spoken
# Global for `ipaddress`, in some Python of ours at least, and no place for a web server.
_NOT_PUBLIC = tuple(
    ip_network(block)
    for block in (
        "192.0.0.0/24",  # .9 is the nearest router (RFC 7723), .192 Oracle's metadata
        "192.88.99.0/24",  # the nearest 6to4 relay
        "168.63.129.16/32",  # Azure's host, which gives a machine its secrets
        "3fff::/20",  # documentation, unknown before Python 3.13
    )
)


class ForbiddenAddress(Exception):
    """The host is not on the public internet, and not allowed; nothing was sent to it."""

    def __init__(self, host: str, address: str | None = None) -> None:
        super().__init__(host, address)
        self.host = host
        self.address = address  # None: refused for its name alone

    def __str__(self) -> str:
        where = self.host if self.address in {None, self.host} else f"{self.host} ({self.address})"
        return f"{where} is not on the public internet; PRESSROOM_ALLOWED_HOSTS may name it"


class UnknownHost(Exception):
    """No address of the host was found, this time."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(host, reason)
        self.host = host
        self.reason = reason

    def __str__(self) -> str:
        return f"no address of {self.host} was found: {self.reason}"


class Guard:
    """Says which URLs may be fetched.

    Args:
        allowed_hosts: each `host` (any port) or `host:port`, in any case. A host is a name or an
            IP address; an IPv6 address with a port stands in brackets.

    Raises:
        ValueError: an entry is none of these.
    """

    def __init__(self, allowed_hosts: Collection[str]) -> None:
        self._allowed = frozenset(_read_entry(entry) for entry in allowed_hosts)

    def allows(self, url: str) -> bool:
        """Whether the setting names the host of `url`."""
        try:
            return self._names(_read_url(url))
        except ValueError:
            return False

    def check_literal(self, url: str) -> None:
        """Judge `url` as it is written.

        Raises:
            ForbiddenAddress: its host is a private address, in whatever form, or a private name.
            ValueError: no http(s) URL, no host, or a user or password in it.
        """
        target = _read_url(url)
        if self._names(target):
            return
        if target.address is not None:
            _require_public(target.host, target.address)
        elif target.host.rpartition(".")[2] in _PRIVATE_ENDINGS:
            raise ForbiddenAddress(target.host)

    async def check(self, url: str) -> None:
        """Judge `url` as it is written, and by each address that its host has now.

        Raises:
            ForbiddenAddress: as `check_literal`, or one of the addresses is private.
            UnknownHost: it has none, or DNS took longer than `RESOLVE_SECONDS`.
            ValueError: as `check_literal`.
        """
        self.check_literal(url)
        target = _read_url(url)
        if target.address is not None or self._names(target):
            return
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                await _PublicResolver().resolve(target.host, target.port, socket.AF_UNSPEC)
        except TimeoutError as error:
            reason = f"no answer within {RESOLVE_SECONDS:.0f} s"
            raise UnknownHost(target.host, reason) from error
        except OSError as error:
            raise UnknownHost(target.host, error.strerror or str(error)) from error

    def _names(self, target: "_Target") -> bool:
        return not self._allowed.isdisjoint({(target.key, target.port), (target.key, None)})


def open_guarded_http(guard: Guard) -> httpx.AsyncClient:
    """An httpx client for what others name: no request leaves it that `guard` forbids.

    A request raises `ForbiddenAddress`, which is no httpx error, if it or a redirect of it leads
    to such an address; a URL that is none is an `httpx.UnsupportedProtocol`.

    Must be called on the event loop that will use it.
    """
    allowed = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
    public = aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=KEEPALIVE_SECONDS,
        resolver=_PublicResolver(),
        socket_factory=_open_public_socket,
    )
    return httpx.AsyncClient(
        transport=_GuardedTransport(guard, allowed=_carry(allowed), public=_carry(public)),
        # httpx would keep what any server sets, for ever.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        timeout=httpx.Timeout(SUBMIT_SECONDS, connect=CONNECT_SECONDS, pool=None),
        trust_env=False,
    )


class _GuardedTransport(httpx.AsyncBaseTransport):
    """Chooses the connections for each request. httpx hands in every hop of a redirect anew."""

    def __init__(
        self, guard: Guard, *, allowed: AiohttpTransport, public: AiohttpTransport
    ) -> None:
        self._guard = guard
        self._allowed = allowed
        self._public = public

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        try:
            self._guard.check_literal(url)
        except ValueError as error:
            raise httpx.UnsupportedProtocol(str(error), request=request) from error
        transport = self._allowed if self._guard.allows(url) else self._public
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._allowed.aclose()
        await self._public.aclose()


class _PublicResolver(aiohttp.ThreadedResolver):
    """Refuses a name if any of its addresses is private: the public ones may be bait."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answers = await super().resolve(host, port, family)
        for answer in answers:
            _require_public(host, ip_address(answer["host"]))
        return answers


def _open_public_socket(addr_info: aiohttp.AddrInfoType) -> socket.socket:
    """What aiohttp opens each socket with, wherever it has the address from."""
    family, kind, protocol, _, (host, *_) = addr_info
    _require_public(str(host), ip_address(host))
    return socket.socket(family, kind, protocol)


def _carry(connector: aiohttp.TCPConnector) -> AiohttpTransport:
    # Not trust_env: a proxy would be told to connect, by name, and judge nothing.
    session = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )
    return AiohttpTransport(client=session)


def _require_public(host: str, address: IPv4Address | IPv6Address) -> None:
    if not _is_public(address):
        raise ForbiddenAddress(host, str(address))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False  # of one network card
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            embedded = IPv4Address(address.packed[-4:])
        if embedded is not None:
            return _is_public(embedded)
        if address not in _IPV6_INTERNET:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in block for block in _NOT_PUBLIC)
    )


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a URL leads."""

    host: str  # lower case, without the dot at its end
    port: int
    address: IPv4Address | IPv6Address | None  # if the host is one, in whatever form

    @property
    def key(self) -> str:
        """The same for each form of an address."""
        return self.host if self.address is None else str(self.address)


def _read_url(url: str) -> _Target:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError("not a URL") from None  # its text may show a part of a password
    if parsed.scheme not in _PORTS:
        raise ValueError("neither an http nor an https URL")
    if parsed.userinfo:
        raise ValueError("a URL with a user or a password in it")
    return _read_target(parsed, default_port=_PORTS[parsed.scheme])


def _read_entry(entry: str) -> tuple[str, int | None]:
    text = entry.strip()
    with suppress(ValueError):
        text = f"[{IPv6Address(text)}]"
    if text.endswith(":") or not set("/?#@").isdisjoint(text):
        raise ValueError(f"{entry!r} is neither host nor host:port")
    try:
        parsed = httpx.URL(f"//{text}")  # without a scheme: `http` would make `:80` no port at all
        target = _read_target(parsed, default_port=_LAST_PORT)
    except (ValueError, httpx.InvalidURL) as error:
        raise ValueError(f"{entry!r} is neither host nor host:port: {error}") from error
    return target.key, parsed.port


def _read_target(url: httpx.URL, *, default_port: int) -> _Target:
    host = url.raw_host.decode("ascii").rstrip(".")
    port = default_port if url.port is None else url.port
    address = _read_address(host)
    if address is None and not _NAME.fullmatch(host):
        raise ValueError("not the name of a host" if host else "no host")
    if not 0 < port <= _LAST_PORT:
        raise ValueError(f"{port} is no port")
    return _Target(host, port, address)


def _read_address(host: str) -> IPv4Address | IPv6Address | None:
    with suppress(ValueError):
        return ip_address(host)
    try:
        # What getaddrinfo reads as an address: 2130706433, 0x7f.1, 0177.0.0.1
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
