"""Postgres that takes nothing but TLS: everything that has the URL goes there, or says why not.

The server is Debian's: the wheel's is built without TLS.
"""

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from gateway.cli.doctor import examine
from gateway.cli.main import make_cli
from models.database import Database
from models.migrate import find_version, migrate
from tests.certificates import Authority
from tests.conftest import free_port
from workers.backup.errors import BackupRefused
from workers.backup.folder import open_backup
from workers.backup.make import make_backup
from workers.backup.programs import find_program
from workers.backup.restore import Options, restore_backup
from workers.settings import Settings
from workers.stack import postgres

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
SECRET = "canary"

needs_server = pytest.mark.skipif(not SERVERS, reason="Debian's postgresql is not installed")


class Server:
    """Its superuser comes by the socket, whoever else by TLS and with a password."""

    def __init__(self, folder: Path) -> None:
        programs = SERVERS[-1].parent
        self.authority = Authority(folder)
        self.port = free_port()
        data = folder / "data"
        pair = self.authority.issue("server", "127.0.0.1")
        folder.chmod(0o755)
        for path in (folder, pair.key):
            shutil.chown(path, postgres.server_user() or path.owner())
        run = {**postgres.identity(), "cwd": "/"}
        subprocess.run(
            [programs / "initdb", "-U", "postgres", "-A", "trust", "-D", data],
            check=True,
            capture_output=True,
            **run,
        )
        (data / "pg_hba.conf").write_text(
            "local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": folder,
            "ssl": "on",
            "ssl_cert_file": pair.certificate,
            "ssl_key_file": pair.key,
            "fsync": "off",
        }
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self.process = subprocess.Popen(
            [programs / "postgres", "-D", data, *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **run,
        )
        self.folder = folder

    def make_databases(self) -> None:
        deadline = time.monotonic() + 30
        while (connection := self._connect()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with connection:
            connection.execute(f"CREATE ROLE pressroom LOGIN PASSWORD '{SECRET}'")
            for name in ("one", "two"):
                connection.execute(f"CREATE DATABASE {name} OWNER pressroom")

    def _connect(self) -> psycopg.Connection[tuple[object, ...]] | None:
        try:
            return psycopg.connect(
                host=str(self.folder), port=self.port, user="postgres", autocommit=True
            )
        except psycopg.OperationalError:
            return None

    def url(self, options: str, *, name: str = "one") -> str:
        return f"postgresql://pressroom:{SECRET}@127.0.0.1:{self.port}/{name}?{options}"

    def verified(self, *, name: str = "one") -> str:
        ca = quote(str(self.authority.ca), safe="")
        return self.url(f"sslmode=verify-full&sslrootcert={ca}", name=name)


@pytest.fixture(scope="module")
def server():
    with tempfile.TemporaryDirectory(prefix="pressroom-tls-") as folder:
        server = Server(Path(folder))
        try:
            server.make_databases()
            yield server
        finally:
            server.process.send_signal(signal.SIGINT)
            server.process.wait(30)


@needs_server
async def test_migrations_sessions_checks_and_backups_all_go_by_tls(server, tmp_path):
    settings = Settings(data_dir=tmp_path, database_url=server.verified())
    for one in (settings, Settings(database_url=server.verified(name="two"))):
        await asyncio.to_thread(migrate, one.database_dsn)
    database = Database(settings.database_dsn, name="tests")
    async with database.begin() as session:
        encrypted = await session.scalar(
            text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        )
        await session.execute(text("INSERT INTO settings (name, value) VALUES ('a', '7')"))
    await database.close()

    made = await asyncio.to_thread(
        make_backup, settings, tmp_path / "b", _ignore, with_files=True, with_secret=False
    )
    there = settings.model_copy(
        update={"database_url": Settings(database_url=server.verified(name="two")).database_url}
    )
    await asyncio.to_thread(
        restore_backup, there, open_backup(made.root), Options(), _ignore, agree=lambda _: None
    )

    assert encrypted
    assert [one.problem for one in await examine(settings, only=["PostgreSQL", "schema"])] == [
        None,
        None,
    ]
    copy = Database(there.database_dsn, name="tests")
    async with copy.begin() as session:
        assert await session.scalar(text("SELECT value FROM settings")) == 7
    await copy.close()
    assert len(set(find_version(there.database_dsn))) == 1


def _ignore(_what, _done, _total):
    """Nobody looks at the progress."""


@needs_server
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("sslmode=verify-full&sslrootcert={other}", "certificate verify failed"),
        ("sslmode=verify-full&sslrootcert=/nowhere", 'root certificate file "/nowhere" does not'),
        ("sslmode=disable", "no encryption"),
    ],
)
def test_what_is_wrong_with_tls_is_said_by_doctor_and_at_the_start(
    server, tmp_path, monkeypatch, options, said
):
    url = server.url(options.format(other=Authority(tmp_path, "other").ca))
    monkeypatch.setenv("PRESSROOM_DATABASE_URL", url)

    [found] = asyncio.run(examine(Settings(), only=["PostgreSQL"]))
    started = CliRunner().invoke(make_cli(["run", "migrate"]), ["run", "migrate"])

    assert said in str(found.problem)
    assert started.exit_code == 1
    assert said in " ".join(started.stderr.split())
    assert SECRET not in f"{found.problem} {started.output} {started.stderr}"


def test_our_own_pg_dump_is_not_taken_where_tls_is_wanted():
    with pytest.raises(BackupRefused, match="our own speaks no TLS"):
        find_program("pg_dump", version="18.1", encrypted=True, folders=[postgres.BIN])
