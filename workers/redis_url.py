"""Where Redis is: PRESSROOM_REDIS_URL, in the words of each client that goes there.

    redis://[user:password@]host[:6379][/0]
    rediss://...                                TLS; the server's certificate is verified
    unix:///path[?db=0]
    redis+sentinel://[user:password@]host[:26379],host,...[/0]?service=NAME
    rediss+sentinel://...                       TLS to sentinels and servers alike

Options of TLS are redis-py's: ssl_ca_certs, ssl_certfile with ssl_keyfile, ssl_cert_reqs,
ssl_check_hostname. Sentinels have a login of their own, if any: sentinel_username,
sentinel_password. Celery, kombu and redis-py differ in which options they read of a URL, so none
is handed one: what is not understood here is refused, not left to one of the three.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
PORT = 6379
SENTINEL_PORT = 26379
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
VERIFY = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}
YES_OR_NO = {"true": True, "false": False}
OF_TLS = (*FILES, "ssl_cert_reqs", "ssl_check_hostname")
OF_SENTINEL = ("service", "sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """A parsed one; what it shows of itself holds no password.

    Attributes:
        hosts: of the server, or of the sentinels; empty with a socket.
        socket: its path.
        login: `username` and `password`, as far as they are set; the sentinels' own likewise.
        tls: redis-py's arguments `ssl_...`; None: without TLS.
        service: what the sentinels call the server.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    socket: str | None = None
    database: int = 0
    login: Mapping[str, str] = field(default_factory=dict, repr=False)
    sentinel_login: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Mapping[str, Any] | None = None
    service: str | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """
        Raises:
            ValueError: it is none; the text holds nothing of the URL but names of options.
        """
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"a URL was wanted that begins with {' or '.join(SCHEMES)} and ://")
        sentinel = parts.scheme.endswith("+sentinel")
        tls = parts.scheme.startswith("rediss")
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        wanted = (
            *(OF_TLS if tls else ()),
            *(OF_SENTINEL if sentinel else ()),
            *(("db",) if parts.scheme == "unix" else ()),
        )
        if unknown := sorted(set(options) - set(wanted)):
            raise ValueError(
                f"{parts.scheme}:// has no option {', '.join(unknown)}; "
                f"it has {', '.join(wanted) or 'none'}"
            )
        if sentinel and not options.get("service"):
            raise ValueError("?service= was wanted: what the sentinels call the server")
        login, _, hosts = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        socket = unquote(parts.path) if parts.scheme == "unix" else None
        database = options.get("db", "") if socket else parts.path.strip("/")
        if database and not database.isdecimal():
            raise ValueError("the number of a database was wanted after the host: /0")
        if socket is None and not hosts:
            raise ValueError("a host was wanted after ://")
        return cls(
            hosts=_read_hosts(hosts, SENTINEL_PORT if sentinel else PORT) if not socket else (),
            socket=socket,
            database=int(database or 0),
            login=_login(unquote(username), unquote(password)),
            sentinel_login=_login(
                options.get("sentinel_username"), options.get("sentinel_password")
            ),
            tls=_read_tls(options) if tls else None,
            service=options.get("service"),
        )

    @property
    def files(self) -> dict[str, str]:
        """The certificates and keys that it names, by option."""
        return {name: path for name, path in (self.tls or {}).items() if name in FILES}

    @property
    def server_options(self) -> dict[str, Any]:
        """Arguments of a redis-py client of the server, beside where it is."""
        tls = {} if self.tls is None else {"ssl": True, **self.tls}
        return {"db": self.database, **self.login, **tls}

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """Arguments of a redis-py client of a sentinel, beside where it is."""
        tls = {} if self.tls is None else {"ssl": True, **self.tls}
        return {**self.sentinel_login, **tls}

    @property
    def broker_url(self) -> str:
        """For Celery, whose options of TLS and of Sentinel are settings of its own."""
        login = self._quoted_login()
        if self.socket is not None:
            return f"redis+socket://{login}{quote(self.socket)}?virtual_host={self.database}"
        scheme = "redis" if self.service is None else "sentinel"
        return ";".join(
            f"{scheme}://{login}{_bracketed(host)}:{port}/{self.database}"
            for host, port in self.hosts
        )

    def _quoted_login(self) -> str:
        if not self.login:
            return ""
        username, password = (self.login.get(name, "") for name in ("username", "password"))
        return f"{quote(username, safe='')}:{quote(password, safe='')}@"


def _login(username: str | None, password: str | None) -> dict[str, str]:
    given = {"username": username, "password": password}
    return {name: value for name, value in given.items() if value}


def _read_hosts(text: str, port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for part in text.split(","):
        try:
            split = urlsplit(f"//{part}")
            host, number = split.hostname, split.port
        except ValueError:
            host, number = None, None
        if not host:
            raise ValueError("host:port was wanted, with commas between several sentinels")
        hosts.append((unquote(host), number or port))
    return tuple(hosts)


def _read_tls(options: Mapping[str, str]) -> dict[str, Any]:
    read: dict[str, Any] = {name: options[name] for name in FILES if name in options}
    if ("ssl_certfile" in read) != ("ssl_keyfile" in read):
        raise ValueError("ssl_certfile and ssl_keyfile are set together or not at all")
    read["ssl_cert_reqs"] = _choose(options, "ssl_cert_reqs", VERIFY, "required")
    read["ssl_check_hostname"] = _choose(options, "ssl_check_hostname", YES_OR_NO, "true")
    return read


def _choose(options: Mapping[str, str], name: str, choices: Mapping[str, Any], default: str) -> Any:  # noqa: ANN401 -- as the library has it
    value = options.get(name, default).lower()
    if value not in choices:
        raise ValueError(f"{name} is {' or '.join(choices)}")
    return choices[value]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
