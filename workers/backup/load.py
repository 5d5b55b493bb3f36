"""Read a dump into a connection's own transaction.

pg_restore writes the dump out as SQL, and what it writes is run here, so that loading, migrating
and taking over what the present database knows are one transaction: all of it is done, or nothing.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import psycopg

from workers.backup.errors import BackupDamaged
from workers.backup.folder import Backup, Report
from workers.backup.programs import Program

LINES_AT_ONCE = 500
END_OF_DATA = b"\\.\n"
# Of servers of one version only; it is off anyway.
UNWANTED = b"SET transaction_timeout"


def load_dump(
    connection: "psycopg.Connection[object]", backup: Backup, pg_restore: Program, report: Report
) -> None:
    """Make the backup's tables, with their rows, in the transaction of the connection.

    Raises:
        BackupDamaged: pg_restore cannot read the dump.
    """
    statements: list[bytes] = []
    done, total = 0, sum(backup.manifest.rows.values())
    with _write_out(backup, pg_restore) as lines, connection.cursor() as cursor:
        for line in lines:
            if line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n"):
                _run(cursor, statements)
                for count in _copy_rows(cursor, line, lines):
                    done += count
                    report("restoring rows", done, total)
            elif not line.startswith((b"\\", UNWANTED)):  # `\restrict` is for psql
                statements.append(line)
    with connection.cursor() as cursor:  # pg_restore ended well: this is all of it
        report("making indexes", total, total)
        _run(cursor, statements)


@contextmanager
def _write_out(backup: Backup, pg_restore: Program) -> Iterator[IO[bytes]]:
    command = [
        str(pg_restore.path),
        "--file=-",
        f"--schema={backup.manifest.schema}",
        "--no-owner",
        "--no-privileges",
        str(backup.dump),
    ]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(  # noqa: S603 -- PostgreSQL's own program
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 -- asked for
        try:
            yield process.stdout
        except BaseException:
            process.kill()
            raise
        if process.wait():
            said.seek(0)
            reason = said.read().decode(errors="replace").strip()
            raise BackupDamaged(f"pg_restore cannot read {backup.dump}: {reason}")


def _run(cursor: "psycopg.Cursor[object]", statements: list[bytes]) -> None:
    if statements:
        cursor.execute(b"".join(statements))
        statements.clear()


def _copy_rows(
    cursor: "psycopg.Cursor[object]", statement: bytes, lines: IO[bytes]
) -> Iterator[int]:
    """Rows in COPY's text format, a line each; yields how many were sent, now and then."""
    with cursor.copy(statement) as copy:
        batch: list[bytes] = []
        for line in lines:
            if line == END_OF_DATA:
                break
            batch.append(line)
            if len(batch) == LINES_AT_ONCE:
                copy.write(b"".join(batch))
                yield len(batch)
                batch.clear()
        copy.write(b"".join(batch))
        yield len(batch)
