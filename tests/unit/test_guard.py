"""What may be fetched for others, by real servers on 127.0.0.1 that must not be reached.

`Internet` stands in for DNS and for the way out: it answers for names, and leads what connects to
a public address to the test's own server. All between, aiohttp's resolving and pooling, is real.
"""

import asyncio
import pickle
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from endpoints.download import DownloadFailed, download
from endpoints.guard import ForbiddenAddress, Guard, UnknownHost, open_guarded_http

PUBLIC = "93.184.215.14"
ALSO_PUBLIC = "93.184.215.15"
QUERY = "?token=SECRET"


class Server:
    """Keeps the requests that reached it."""

    def __init__(self) -> None:
        self.requests: list[web.BaseRequest] = []
        self.location: str | None = None  # where `/moved` is now
        self.port = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.BaseRequest) -> web.Response:
        await request.read()
        self.requests.append(request)
        if self.location and request.path == "/moved":
            return web.Response(status=307, headers={"Location": self.location})
        return web.Response(text="hello", headers={"Set-Cookie": "who=me"})


@asynccontextmanager
async def serving():
    server = Server()
    runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture
async def server():
    async with serving() as one:
        yield one


class Internet:
    """Names with their addresses, and one server behind every public address."""

    def __init__(self, port: int, connect: Callable[..., Awaitable[None]]) -> None:
        self.answers: dict[str, list[list[str]]] = {}  # of a name, in turn; the last one stays
        self.asked: list[str] = []  # names
        self.connected: list[str] = []  # addresses
        self._port = port
        self._connect = connect

    async def getaddrinfo(self, host, port, **options):
        self.asked.append(host)
        answers = self.answers.get(host)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6, options["type"], socket.IPPROTO_TCP, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, options["type"], socket.IPPROTO_TCP, "", (address, port))
            for address in addresses
        ]

    async def sock_connect(self, sock, address):
        self.connected.append(address[0])
        if not IPv4Address(address[0]).is_loopback:
            address = ("127.0.0.1", self._port)
        await self._connect(sock, address)


@pytest.fixture
async def internet(server, monkeypatch):
    loop = asyncio.get_running_loop()
    one = Internet(server.port, loop.sock_connect)
    monkeypatch.setattr(loop, "getaddrinfo", one.getaddrinfo)
    monkeypatch.setattr(loop, "sock_connect", one.sock_connect)
    return one


# As it is written


@pytest.mark.parametrize(
    "host",
    [
        # the usual form, at the edges of each block
        *("0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0"),
        *("100.127.255.255", "127.0.0.1", "127.255.255.255", "169.254.0.1", "169.254.169.254"),
        *("172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255", "192.0.0.1"),
        *("192.0.0.9", "192.0.0.192", "192.0.2.1", "192.88.99.1", "168.63.129.16"),
        *("198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
        *("224.0.1.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "100.100.100.200"),
        # what getaddrinfo reads as one
        *("2130706433", "017700000001", "0x7f000001", "0x7f.1", "127.1", "127.0.1", "0"),
        *("0177.0.1", "0x7f.0x0.0x0.0x1", "0X7F.1", "00000177.1", "3232235521", "0xa9fea9fe"),
        *("127.0.0.1.", "127.1.", "2130706433.."),
        "127。0。0。1",
        # IPv6
        *("[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[fe80::1]", "[fe80::1%25eth0]", "[fe80::1%eth0]"),
        *("[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[ff0e::1]", "[100::1]"),
        *("[2001::1]", "[2001:0:7f00:1::1]", "[2001:2::1]", "[2001:db8::1]", "[3fff::1]"),
        *("[4000::1]", "[5f00::1]", "[2606:4700::1111%251]"),
        # IPv4 within IPv6
        *("[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[::ffff:100.64.0.1]", "[::ffff:224.0.1.1]"),
        *("[::ffff:0:127.0.0.1]", "[::127.0.0.1]", "[::8.8.8.8]", "[2002:7f00:1::1]"),
        *("[2002:a9fe:a9fe::]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]"),
        "[64:ff9b:1::808:808]",
        # names
        *("localhost", "LocalHost", "localhost.", "localhost..", "a.localhost", "printer.local"),
        *("metadata.google.internal", "METADATA.google.INTERNAL.", "internal", "local"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_is_private_as_written_is_refused(scheme, host):
    with pytest.raises(ForbiddenAddress, match="PRESSROOM_ALLOWED_HOSTS") as caught:
        Guard([]).check_literal(f"{scheme}://{host}:8080/path{QUERY}")

    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        *("1.0.0.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"),
        *("126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255"),
        *("172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "168.63.129.15"),
        *("198.17.255.255", "198.20.0.0", "223.255.255.255", "134744072", "0x8.0x8.0x8.0x8"),
        *("[2606:4700::1111]", "[2a00:1450::1]", "[::ffff:8.8.8.8]", "[64:ff9b::8.8.8.8]"),
        *("[2002:808:808::1]", "example.com", "EXAMPLE.com.", "bücher.example", "a_b.example"),
        *("localhost.example", "notlocalhost", "internal.example", "my-local", "1.2.3.4.example"),
    ],
)
def test_what_is_public_as_written_passes(host):
    Guard([]).check_literal(f"https://{host}/path{QUERY}")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "http"),
        ("example.com/SECRET", "http"),
        ("//example.com/SECRET", "http"),
        ("ftp://example.com/SECRET", "http"),
        ("file:///etc/SECRET", "http"),
        ("gopher://127.0.0.1:6379/SECRET", "http"),
        (" http://127.0.0.1/SECRET", "http"),
        ("http://", "no host"),
        ("http:///SECRET", "no host"),
        ("http:SECRET", "no host"),
        ("http://./SECRET", "no host"),
        ("http://:80/SECRET", "no host"),
        ("http://[::1/SECRET", "not a URL"),
        ("http://example.com:SECRET/", "not a URL"),
        ("http://exa\nmple.com/SECRET", "not a URL"),
        ("http://１２７.0.0.1/SECRET", "not a URL"),  # noqa: RUF001
        ("http://0177.0.0.1/SECRET", "not a URL"),
        ("http://ⓛocalhost/SECRET", "not a URL"),
        ("http://example.com:0/SECRET", "port"),
        ("http://example.com:65536/SECRET", "port"),
        ("http://127%2e0.0.1/SECRET", "name of a host"),
        ("http://%6cocalhost/SECRET", "name of a host"),
        ("http://local host/SECRET", "name of a host"),
        ("http://localhost%00.example/SECRET", "name of a host"),
        ("http://a..b/SECRET", "name of a host"),
        (f"http://{'a' * 64}.example/SECRET", "name of a host"),
        ("http://" + "a." * 127 + "a/SECRET", "name of a host"),
        ("http://SECRET@example.com/", "password"),
        ("http://me:SECRET@example.com/", "password"),
        ("http://:SECRET@example.com/", "password"),
        ("http://example.com\\@127.0.0.1/SECRET", "password"),
        ("http://me:SECRET@allowed.example/", "password"),
    ],
)
def test_what_is_no_url_to_fetch_is_a_value_error_that_keeps_its_secrets(url, reason):
    guard = Guard(["allowed.example"])

    with pytest.raises(ValueError, match=reason) as caught:
        guard.check_literal(url)

    assert "SECRET" not in str(caught.value)
    assert not guard.allows(url)


def spell(address: IPv4Address, form: int) -> str:
    """One of the ways in which the C library reads an address."""
    octets = address.packed
    number = int(address)
    return [
        str(address),
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(map(hex, octets)),
        f"0{octets[0]:o}.0{octets[1]:o}.0{number & 0xFFFF:o}",  # four are no URL for httpx
        f"{octets[0]}.{number & 0xFFFFFF}",
        f"{octets[0]}.{octets[1]:#x}.{number & 0xFFFF}.",
        f"[::ffff:{address}]",
        f"[64:ff9b::{address}]",
        f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
    ][form]


@given(
    base=st.sampled_from(["10.0.0.0", "127.0.0.0", "0.0.0.0", "224.0.0.0"]),
    rest=st.integers(0, 2**24 - 1),
    form=st.integers(0, 10),
)
def test_no_spelling_hides_a_private_address(base, rest, form):
    url = f"http://{spell(IPv4Address(base) + rest, form)}/"

    with pytest.raises(ForbiddenAddress):
        Guard([]).check_literal(url)


@given(rest=st.text(), host=st.text(alphabet="01789abfx.:[]%@-_ /\\"))
@example(rest="", host="[" + "1" * 200 + "]")
def test_whatever_is_handed_in_ends_in_one_of_its_two_words(rest, host):
    for url in (rest, f"http://{host}", f"http://{host}{rest}", f"https://a{rest}"):
        try:
            Guard([]).check_literal(url)
        except (ForbiddenAddress, ValueError):
            continue
        assert url.lower().startswith(("http:", "https:"))


# What the setting names


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        ("minio", "http://minio/", True),
        ("minio", "https://minio:9000/x?y", True),
        (" MinIO. ", "http://mINIo./", True),
        ("minio", "http://minio.example/", False),
        ("minio", "http://a.minio/", False),
        ("minio", "ftp://minio/", False),
        ("minio:9000", "http://minio:9000/", True),
        ("minio:9000", "http://minio:9001/", False),
        ("minio:9000", "http://minio/", False),
        ("minio:80", "http://minio/", True),
        ("minio:80", "https://minio/", False),
        ("minio:443", "https://minio/", True),
        ("bücher.internal", "http://xn--bcher-kva.internal/", True),
        ("127.0.0.1", "http://127.0.0.1:1234/", True),
        ("127.0.0.1", "http://2130706433/", True),
        ("127.0.0.1", "http://127.0.0.2/", False),
        ("127.0.0.1", "http://localhost/", False),
        ("127.0.0.1:80", "http://127.0.0.1:81/", False),
        ("::1", "http://[::1]:81/", True),
        ("[::1]", "http://[0::1]:81/", True),
        ("[::1]:80", "http://[::1]/", True),
        ("[::1]:80", "http://[::1]:81/", False),
        ("fd00:0::A", "http://[fd00::a]/", True),
    ],
)
def test_the_setting_names_hosts_and_ports(entry, url, allowed):
    guard = Guard(["other.internal", entry])

    assert guard.allows(url) is allowed
    assert not Guard([]).allows(url)


@pytest.mark.parametrize("url", ["http://localhost:9000/", "http://10.0.0.1/", "http://[::1]/"])
def test_what_the_setting_names_may_be_private(url):
    Guard(["localhost", "10.0.0.1", "::1"]).check_literal(url)

    with pytest.raises(ForbiddenAddress):
        Guard(["localhost:1", "10.0.0.2", "::2"]).check_literal(url)


@pytest.mark.parametrize(
    "entry",
    [
        *("", " ", ":80", "http://minio", "minio/", "minio:", "me@minio", "minio:port", "minio:0"),
        *("minio:65536", "*.internal", "a b", "minio,other", "10.0.0.0/8", "[::1", "::1:80:x"),
    ],
)
def test_an_entry_that_names_no_host_is_an_error(entry):
    with pytest.raises(ValueError, match="host"):
        Guard(["minio", entry])


@pytest.mark.parametrize(
    "error",
    [
        ForbiddenAddress("db.example", "10.0.0.1"),
        ForbiddenAddress("localhost"),
        UnknownHost("db.example", "no answer within 5 s"),
    ],
)
def test_the_errors_can_be_sent_home(error):
    again = pickle.loads(pickle.dumps(error))

    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


# By what its name resolves to


async def test_a_name_of_public_addresses_passes(internet):
    internet.answers["files.example"] = [[PUBLIC, "2606:4700::1111"]]

    await Guard([]).check("https://files.example/x")

    assert internet.asked == ["files.example"]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "::1", "64:ff9b::7f00:1"])
@pytest.mark.parametrize("others", [[], [PUBLIC]])
async def test_a_name_with_a_private_address_is_refused(internet, address, others):
    internet.answers["files.example"] = [[*others, address]]

    with pytest.raises(ForbiddenAddress) as caught:
        await Guard([]).check(f"https://files.example/x{QUERY}")

    assert (caught.value.host, caught.value.address) == ("files.example", address)
    assert f"files.example ({address})" in str(caught.value)
    assert "SECRET" not in str(caught.value)


async def test_a_name_without_addresses_is_unknown(internet):
    with pytest.raises(UnknownHost, match=r"nowhere\.example.*not known"):
        await Guard([]).check(f"https://nowhere.example/x{QUERY}")

    assert internet.asked == ["nowhere.example"]


async def test_a_name_that_is_slow_to_resolve_is_unknown(monkeypatch):
    async def never(*_args: Any, **_options: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("endpoints.guard.RESOLVE_SECONDS", 0.05)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)

    async with asyncio.timeout(5):
        with pytest.raises(UnknownHost, match="no answer within"):
            await Guard([]).check("https://files.example/x")


async def test_an_allowed_name_and_an_address_are_not_asked_for(internet):
    guard = Guard(["minio.internal"])

    await guard.check("http://minio.internal/x")
    await guard.check(f"http://{PUBLIC}/x")
    with pytest.raises(ForbiddenAddress):
        await guard.check("http://127.0.0.1/x")
    with pytest.raises(ValueError, match="http"):
        await guard.check("ftp://files.example/x")

    assert internet.asked == []


# By what is connected to


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "localhost", "[::ffff:127.0.0.1]", "[::1]"],
)
async def test_a_private_address_gets_no_request(server, host):
    async with open_guarded_http(Guard([])) as http:
        with pytest.raises(ForbiddenAddress) as caught:
            await http.post(f"http://{host}:{server.port}/hook{QUERY}", content=b"{}")

    assert server.requests == []
    assert "SECRET" not in str(caught.value)


async def test_an_allowed_host_is_reached_wherever_it_is(server):
    async with open_guarded_http(Guard(["127.0.0.1"])) as http:
        response = await http.post(f"{server.base}/hook", content=b"{}")

    assert response.text == "hello"
    assert [request.path for request in server.requests] == ["/hook"]


async def test_another_port_of_an_allowed_host_gets_no_request(server):
    async with open_guarded_http(Guard([f"127.0.0.1:{server.port + 1}"])) as http:
        with pytest.raises(ForbiddenAddress):
            await http.get(server.base)

    assert server.requests == []


async def test_a_public_name_is_reached(server, internet):
    internet.answers["files.example"] = [[PUBLIC]]

    async with open_guarded_http(Guard([])) as http:
        response = await http.get("http://files.example/x")

    assert response.text == "hello"
    assert internet.connected == [PUBLIC]
    assert [request.host for request in server.requests] == ["files.example"]


async def test_a_public_address_is_reached_without_a_name(server, internet):
    async with open_guarded_http(Guard([])) as http:
        await http.get(f"http://{PUBLIC}/x")

    assert internet.connected == [PUBLIC]
    assert len(server.requests) == 1


async def test_a_name_without_addresses_is_an_httpx_error(internet):
    async with open_guarded_http(Guard([])) as http:
        with pytest.raises(httpx.TransportError):
            await http.get("http://nowhere.example/x")

    assert internet.connected == []


async def test_a_name_that_turns_private_after_its_check_gets_no_request(server, internet):
    internet.answers["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
    guard = Guard([])
    url = f"http://rebind.example:{server.port}/hook"

    await guard.check(url)
    async with open_guarded_http(guard) as http:
        with pytest.raises(ForbiddenAddress) as caught:
            await http.post(url, content=b"{}")

    assert caught.value.address == "127.0.0.1"
    assert internet.asked == ["rebind.example"] * 2
    assert (internet.connected, server.requests) == ([], [])


@pytest.mark.parametrize("answer", [[PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], ["::1", PUBLIC]])
async def test_a_name_of_public_and_private_addresses_gets_no_request(server, internet, answer):
    internet.answers["files.example"] = [answer]

    async with open_guarded_http(Guard([])) as http:
        for _ in range(2):  # the second time from aiohttp's cache, if it were kept
            with pytest.raises(ForbiddenAddress):
                await http.get(f"http://files.example:{server.port}/x")

    assert (internet.connected, server.requests) == ([], [])


# Redirects


async def test_an_allowed_host_cannot_lead_to_a_private_one(server):
    async with serving() as private, open_guarded_http(Guard([f"127.0.0.1:{server.port}"])) as http:
        server.location = f"{private.base}/secret"
        with pytest.raises(ForbiddenAddress):
            await http.post(f"{server.base}/moved", content=b"{}", follow_redirects=True)

        assert len(server.requests) == 1
        assert private.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "inside.example", "localhost", "2130706433"])
async def test_a_public_host_cannot_lead_to_a_private_one(server, internet, host):
    internet.answers = {"files.example": [[PUBLIC]], "inside.example": [["127.0.0.1"]]}
    async with serving() as private, open_guarded_http(Guard([])) as http:
        server.location = f"http://{host}:{private.port}/secret"
        with pytest.raises(ForbiddenAddress):
            await http.get("http://files.example/moved", follow_redirects=True)

        assert len(server.requests) == 1
        assert private.requests == []


async def test_redirects_among_public_and_allowed_hosts_are_followed(server, internet):
    internet.answers = {"files.example": [[PUBLIC]], "cdn.example": [[ALSO_PUBLIC]]}
    async with serving() as store, open_guarded_http(Guard([f"127.0.0.1:{store.port}"])) as http:
        server.location = "http://cdn.example/x"
        one = await http.get("http://files.example/moved", follow_redirects=True)
        server.location = f"{store.base}/x"
        other = await http.get("http://files.example/moved", follow_redirects=True)

        assert (one.text, other.text) == ("hello", "hello")
        assert internet.connected == [PUBLIC, ALSO_PUBLIC, "127.0.0.1"]
        assert len(store.requests) == 1


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "http://me:pw@files.example/x"])
async def test_a_redirect_to_no_url_to_fetch_is_an_httpx_error(server, internet, location):
    internet.answers["files.example"] = [[PUBLIC]]
    server.location = location

    async with open_guarded_http(Guard([])) as http:
        with pytest.raises(httpx.UnsupportedProtocol):
            await http.get("http://files.example/moved", follow_redirects=True)

    assert len(server.requests) == 1


# Kept connections, and what else a client takes from its surroundings


async def test_connections_are_kept_but_never_lent_to_a_host_that_is_not_allowed(server, internet):
    internet.answers = {
        "files.example": [[PUBLIC]],
        "store.example": [["127.0.0.1"]],
        "inside.example": [["127.0.0.1"]],
    }
    async with open_guarded_http(Guard(["store.example", "127.0.0.1:1"])) as http:
        for _ in range(2):
            await http.get("http://files.example/x")
            await http.get(f"http://store.example:{server.port}/x")
        assert internet.connected == [PUBLIC, "127.0.0.1"]

        for host in ("inside.example", "127.0.0.1"):
            with pytest.raises(ForbiddenAddress):
                await http.get(f"http://{host}:{server.port}/x")

    assert len(server.requests) == 4
    assert internet.connected == [PUBLIC, "127.0.0.1"]


async def test_a_port_that_is_not_allowed_is_judged_although_the_other_is(server, internet):
    """Both kinds of connection may be open to one name: it is judged by where each leads."""
    internet.answers["store.example"] = [["127.0.0.1"]]

    async with open_guarded_http(Guard([f"store.example:{server.port}"])) as http:
        await http.get(f"http://store.example:{server.port}/x")
        async with serving() as private:
            with pytest.raises(ForbiddenAddress):
                await http.get(f"http://store.example:{private.port}/x")
            assert private.requests == []


@pytest.mark.parametrize("names", [["HTTP_PROXY", "ALL_PROXY"], ["http_proxy", "all_proxy"]])
async def test_no_proxy_of_the_environment_is_used(server, internet, monkeypatch, names):
    internet.answers["files.example"] = [[PUBLIC]]
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    async with serving() as proxy:
        for name in names:
            monkeypatch.setenv(name, proxy.base)
        async with open_guarded_http(Guard(["127.0.0.1"])) as http:
            await http.get("http://files.example/x")
            await http.get(f"{server.base}/x")

        assert proxy.requests == []
        assert len(server.requests) == 2


async def test_no_cookie_is_kept(server):
    async with open_guarded_http(Guard(["127.0.0.1"])) as http:
        for _ in range(2):
            response = await http.get(server.base)

        assert response.headers["Set-Cookie"] == "who=me"
        assert not http.cookies
    assert [request.headers.get("Cookie") for request in server.requests] == [None, None]


# If what stands before it were fooled


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_a_url_that_is_read_otherwise_by_aiohttp_gets_no_request(server, monkeypatch, host):
    monkeypatch.setattr(Guard, "check_literal", lambda _guard, _url: None)

    async with open_guarded_http(Guard([])) as http:
        with pytest.raises(ForbiddenAddress):
            await http.get(f"http://{host}:{server.port}/x")

    assert server.requests == []


async def test_the_socket_is_judged_wherever_its_address_is_from(server, internet, monkeypatch):
    internet.answers["rebind.example"] = [["127.0.0.1"]]
    monkeypatch.setattr("endpoints.guard._PublicResolver", aiohttp.ThreadedResolver)

    async with open_guarded_http(Guard([])) as http:
        with pytest.raises(ForbiddenAddress):
            await http.get(f"http://rebind.example:{server.port}/x")

    assert internet.asked == ["rebind.example"]
    assert (internet.connected, server.requests) == ([], [])


# Downloads


async def test_a_download_from_a_private_address_fails_and_says_so(server, tmp_path):
    async with open_guarded_http(Guard([])) as http:
        with pytest.raises(DownloadFailed, match="PRESSROOM_ALLOWED_HOSTS") as caught:
            await download(http, f"{server.base}/x{QUERY}", tmp_path / "file")

    assert server.requests == []
    assert "127.0.0.1" in str(caught.value)
    assert "SECRET" not in str(caught.value)


async def test_a_download_that_is_led_to_a_private_address_fails(server, tmp_path):
    async with serving() as private, open_guarded_http(Guard([f"127.0.0.1:{server.port}"])) as http:
        server.location = f"{private.base}/secret"
        with pytest.raises(DownloadFailed, match="PRESSROOM_ALLOWED_HOSTS"):
            await download(http, f"{server.base}/moved", tmp_path / "file")

        assert private.requests == []


async def test_a_download_from_an_allowed_host_is_a_file(server, tmp_path):
    async with open_guarded_http(Guard(["127.0.0.1"])) as http:
        got = await download(http, f"{server.base}/x", tmp_path / "file")

    assert got.size_bytes == len("hello")
    assert (tmp_path / "file").read_text() == "hello"
