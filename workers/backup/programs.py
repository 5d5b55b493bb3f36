"""PostgreSQL's own programs: which there are, and how they are told of the database.

The wheel brings those of its version; for a newer server, others are looked for on the PATH. So
they are where the connection is encrypted: the wheel's are built without TLS.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from workers.backup.errors import BackupRefused
from workers.settings import Settings
from workers.stack.postgres import BIN


@dataclass(frozen=True, slots=True)
class Program:
    """A program that can be run."""

    path: Path
    version: str  # 18.4


def major(version: str) -> int:
    """18 of 18.4, and of 18beta1."""
    return int(re.findall(r"\d+", version)[0])


def find_program(
    name: str, *, version: str, encrypted: bool = False, folders: Sequence[Path] | None = None
) -> Program:
    """A program that is no older than a server, or than the program that wrote a dump.

    Args:
        version: of that.
        encrypted: it will have to speak TLS.
        folders: where to look, in this order; None: in the wheel, then on the PATH.

    Raises:
        BackupRefused: there is none.
    """
    if folders is None:
        folders = [BIN, *(Path(part) for part in os.get_exec_path())]
    found = []
    if encrypted:
        folders = [folder for folder in folders if folder != BIN]
        found.append("our own speaks no TLS")
    for folder in folders:
        path = shutil.which(name, path=str(folder))
        if path is None:
            continue
        said = subprocess.run(  # noqa: S603 -- PostgreSQL's own program
            [path, "--version"], capture_output=True, text=True, check=False
        ).stdout
        number = re.search(r"\) (\S+)", said)
        if number is None:
            continue
        if major(number[1]) >= major(version):
            return Program(Path(path), number[1])
        found.append(f"{path} is {number[1]}")
    there = "; ".join(found) or "there is none"
    raise BackupRefused(
        f"{name} of PostgreSQL {major(version)} or newer was wanted, and {there}: "
        f"install PostgreSQL's client programs of that version, and put {name} on the PATH"
    )


def connect_by(settings: Settings) -> tuple[str, Mapping[str, str]]:
    """The database for `--dbname`, and the environment; a password stands in the latter alone."""
    _, _, rest = settings.database_dsn.partition("://")
    parts = conninfo_to_dict(f"postgresql://{rest}")
    password = parts.pop("password", None)
    secret = {"PGPASSWORD": str(password)} if password else {}
    shown = {name: str(value) for name, value in parts.items()}
    environment = {**os.environ, **secret, "PGAPPNAME": "pressroom backup"}
    return make_conninfo("", **shown), environment
