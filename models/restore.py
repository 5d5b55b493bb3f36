"""What a restored database takes over from the one that it replaces, so that nothing is paid twice.

    What the backup does not know of is kept as it is now.
    What was sent to the upstream since is kept as it is now: its attempts, how it ended, its files.
    What never left is as it was then.

The tables that are replaced stand in a schema of their own until the transaction that restores
ends, so each of these rules is a statement over both. If it fails anywhere, all is as it was.

A job of the backup of which the present database cannot tell whether it was sent since (it is
gone, empty or damaged) may have been paid for already: the lanes that would send it are paused.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Table, insert, text

from models.announcement import Announcement
from models.artifact import Artifact
from models.attempt import Attempt
from models.audit import Action, Actor, AuditLine
from models.base import Base, new_id
from models.batch import Batch, BatchRequest
from models.budget import Budget, BudgetChange, BudgetPeriod
from models.campaign import Campaign
from models.delivery import Delivery
from models.endpoint_stats import EndpointStats
from models.event import Event
from models.fairness import Charge, Flow
from models.handle import Handle
from models.job import Job
from models.key import ApiKey
from models.lane import Lane, StageName
from models.pulse import Pulse
from models.reservation import Reservation
from models.schedule import Schedule
from models.schedule_run import ScheduleRun
from models.setting import Setting
from models.shelf import ShelvedJob
from models.size_stats import SizeStats
from models.snapshot import find_schema_version

ASIDE = "pressroom_before"
LOCK = 7_305_846_015  # of the restore that runs: another is refused
LOCK_WAIT = "10s"
VERSIONS_TABLE = "alembic_version"

# Of what the present database knows nothing is taken over here: the backup's rows stand.
AS_IN_THE_BACKUP = (Charge, Flow, Pulse, SizeStats)
# All the others are looked at in `carry_over`.
CARRIED = (
    Announcement,
    ApiKey,
    Artifact,
    Attempt,
    AuditLine,
    Batch,
    BatchRequest,
    Budget,
    BudgetChange,
    BudgetPeriod,
    Campaign,
    Delivery,
    EndpointStats,
    Event,
    Handle,
    Job,
    Lane,
    Reservation,
    Schedule,
    ScheduleRun,
    Setting,
    ShelvedJob,
)

# An attempt that may have been taken, and billed: as hints see it (transitions.follow_hints).
_MAY_BE_BILLED = "coalesce(answer, 'unknown') IN ('accepted', 'unknown', 'fault')"


@dataclass(frozen=True, slots=True)
class Held:
    """Jobs of an endpoint that may have been sent since the backup, and wait for an operator."""

    endpoint: str
    jobs: int


@dataclass(frozen=True, slots=True)
class Carried:
    """What was taken over from the present database."""

    newer_jobs: int = 0  # which the backup did not know
    later_jobs: int = 0  # which it knew, and which were sent, or ended, since
    attempts: int = 0  # of the ledger, which it did not know
    ledger_damaged: bool = False  # the present one lacks attempts that the backup knows


def find_others(connection: Connection) -> list[str]:
    """Programs that use this database now, by the names that they gave."""
    return list(
        connection.scalars(
            text("""
                SELECT DISTINCT application_name FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()
                  AND application_name LIKE 'pressroom %' ORDER BY 1
            """)
        )
    )


def hold_off_others(connection: Connection) -> bool:
    """Whether this is the only restore, until the transaction ends; tables in use are not waited
    for beyond some seconds.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
    taken = connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": LOCK})
    return bool(taken)


def find_strange_tables(connection: Connection) -> list[str]:
    """Tables beside ours that are not ours."""
    return sorted(set(_list_tables(connection)) - set(Base.metadata.tables) - {VERSIONS_TABLE})


def find_missing_tables(connection: Connection) -> list[str]:
    """Tables of ours, as this program's version has them, that are not there."""
    return sorted(set(Base.metadata.tables) - set(_list_tables(connection)))


def knows_version(version: str | None) -> bool:
    """Whether this program has the migration; if not, a newer one made those tables."""
    scripts = ScriptDirectory.from_config(_alembic())
    return version is None or version in {one.revision for one in scripts.walk_revisions()}


def migrate_within(connection: Connection) -> None:
    """Bring the tables to the newest version, in the transaction that is under way."""
    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _list_tables(connection: Connection) -> Sequence[str]:
    return connection.scalars(
        text("""
            SELECT relname FROM pg_class
            WHERE relnamespace = to_regnamespace(quote_ident(current_schema()))
              AND relkind IN ('r', 'p')
              AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass
                              AND objid = pg_class.oid AND deptype = 'e')
        """)
    ).all()


def set_aside(connection: Connection) -> None:
    """Make room: our tables, and the functions beside them, go to a schema of their own."""
    connection.execute(text(f"CREATE SCHEMA {ASIDE}"))
    for table in _list_tables(connection):
        connection.execute(text(f'ALTER TABLE "{table}" SET SCHEMA {ASIDE}'))
    functions = connection.scalars(
        text("""
            SELECT CAST(CAST(oid AS regprocedure) AS text) FROM pg_proc
            WHERE pronamespace = to_regnamespace(quote_ident(current_schema()))
              AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass
                              AND objid = pg_proc.oid AND deptype = 'e')
        """)
    ).all()
    for function in functions:
        connection.execute(text(f"ALTER ROUTINE {function} SET SCHEMA {ASIDE}"))


def drop_aside(connection: Connection) -> None:
    connection.execute(text(f"DROP SCHEMA {ASIDE} CASCADE"))


def carry_over(connection: Connection) -> Carried:
    """Take over from the tables set aside; both are at the newest version."""
    # What is copied was news when it happened.
    for table in ("jobs", "artifacts"):
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    damaged = bool(
        connection.scalar(
            text(f"""
                SELECT EXISTS (SELECT FROM attempts WHERE NOT EXISTS (
                    SELECT FROM {ASIDE}.attempts AS present
                    WHERE present.job_id = attempts.job_id AND present.lease = attempts.lease))
            """)  # noqa: S608 -- constants
        )
    )
    newer, later = _choose_jobs(connection)

    # Keys that were revoked or rotated since stay so, whatever else goes back.
    _copy(connection, ApiKey)
    _copy(
        connection,
        Campaign,
        update="total = greatest(campaigns.total, excluded.total),"
        " expanded = greatest(campaigns.expanded, excluded.expanded)",
    )
    # Money that was spent since is spent. A name that is another's by now is that one's.
    connection.execute(
        text(f"""
            UPDATE budgets SET removed_at = now()
            WHERE removed_at IS NULL AND EXISTS (
                SELECT FROM {ASIDE}.budgets AS present
                WHERE present.name = budgets.name AND present.id <> budgets.id
                  AND present.removed_at IS NULL)
        """)  # noqa: S608 -- a constant
    )
    for model in (Budget, BudgetChange, BudgetPeriod, Announcement):
        _copy(connection, model)
    _carry_schedules(connection)
    _copy(connection, EndpointStats)
    _copy(connection, Lane)
    connection.execute(
        text(f"DELETE FROM batch_requests WHERE batch_id IN (SELECT id FROM {ASIDE}.batches)")  # noqa: S608 -- constants
    )
    _copy(connection, Batch)
    _copy(connection, BatchRequest)

    _copy(connection, Job, where="id IN (SELECT id FROM kept_jobs)")
    connection.execute(text("DELETE FROM shelved_jobs WHERE job_id IN (SELECT id FROM kept_jobs)"))
    _copy(connection, ShelvedJob, where="job_id IN (SELECT id FROM kept_jobs)")
    attempts = _carry_attempts(connection)
    _copy(
        connection,
        Reservation,
        where="""EXISTS (SELECT FROM attempts
            WHERE attempts.job_id = present.job_id AND attempts.lease = present.lease)""",
    )
    connection.execute(text("DELETE FROM artifacts WHERE job_id IN (SELECT id FROM kept_jobs)"))
    # EXISTS, for an OR of two IN is a scan for each row once they outgrow the memory of a hash.
    kept = "EXISTS (SELECT FROM kept_jobs WHERE id = present.job_id)"
    _copy(
        connection,
        Artifact,
        where=f"""{kept} OR state = 'stored' AND EXISTS (
            SELECT FROM artifacts AS own WHERE own.id = present.id AND own.state <> 'stored')""",
    )
    _copy(
        connection,
        Delivery,
        where=f"""{kept} OR EXISTS (
            SELECT FROM jobs WHERE id = present.job_id AND finished_at IS NOT NULL)""",
    )
    _copy(connection, Handle, where="job_id IN (SELECT id FROM jobs)")
    _copy(
        connection,
        Event,
        where="""NOT EXISTS (
            SELECT FROM events AS own
            WHERE own.job_id = present.job_id
              AND own.at = present.at AND own.type = present.type)""",
        update=None,
    )
    _copy(connection, AuditLine, update=None)
    # Of settings the backup's come back; but who restores within maintenance does not end it.
    _copy(connection, Setting, where="name = 'maintenance'")
    connection.execute(
        text("""
            UPDATE campaigns SET completed_at = NULL WHERE completed_at IS NOT NULL AND EXISTS (
                SELECT FROM jobs WHERE campaign_id = campaigns.id AND finished_at IS NULL)
        """)
    )
    for table in ("jobs", "artifacts"):
        connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))
    return Carried(newer_jobs=newer, later_jobs=later, attempts=attempts, ledger_damaged=damaged)


def _carry_schedules(connection: Connection) -> None:
    """As they are now: what is decided of a fire stays so."""
    connection.execute(
        text(f"""
            DELETE FROM schedules AS gone USING {ASIDE}.schedules AS present
            WHERE gone.name = present.name AND gone.id <> present.id
        """)  # noqa: S608 -- constants
    )
    _copy(connection, Schedule)
    _copy(connection, ScheduleRun)


def _choose_jobs(connection: Connection) -> tuple[int, int]:
    """Which jobs are kept as they are now: those that are new, and those that are further on."""
    connection.execute(
        text(f"""
            CREATE TEMPORARY TABLE kept_jobs ON COMMIT DROP AS
            SELECT present.id, jobs.id IS NULL AS newer
            FROM {ASIDE}.jobs AS present LEFT JOIN jobs ON jobs.id = present.id
            WHERE jobs.id IS NULL
               OR jobs.finished_at IS NULL AND (
                    present.upstream_id IS NOT NULL
                    OR EXISTS (SELECT FROM {ASIDE}.attempts
                               WHERE job_id = present.id AND {_MAY_BE_BILLED}))
               OR EXISTS (
                    SELECT FROM {ASIDE}.attempts AS sent
                    WHERE sent.job_id = present.id AND {_MAY_BE_BILLED} AND NOT EXISTS (
                        SELECT FROM attempts
                        WHERE attempts.job_id = sent.job_id AND attempts.lease = sent.lease))
        """)  # noqa: S608 -- constants
    )
    connection.execute(text("CREATE UNIQUE INDEX ON kept_jobs (id)"))
    connection.execute(text("ANALYZE kept_jobs"))
    row = connection.execute(
        text(
            "SELECT count(*) FILTER (WHERE newer), count(*) FILTER (WHERE NOT newer) FROM kept_jobs"
        )
    ).one()
    return int(row[0]), int(row[1])


def _carry_attempts(connection: Connection) -> int:
    """The ledger is the sum of both: what either knows is true. Returns how many were added."""
    before = int(connection.scalar(text("SELECT count(*) FROM attempts")) or 0)
    facts = _columns(Attempt)[len(("job_id", "lease", "number", "endpoint", "sent_at")) :]
    _copy(
        connection,
        Attempt,
        where="job_id IN (SELECT id FROM jobs)",
        update=", ".join(f"{name} = coalesce(attempts.{name}, excluded.{name})" for name in facts),
    )
    return int(connection.scalar(text("SELECT count(*) FROM attempts")) or 0) - before


def _copy(
    connection: Connection, model: type[Base], *, where: str = "true", update: str | None = ""
) -> None:
    """Copy rows of a table set aside, `present`; of those that are here, too, the present one wins.

    Args:
        update: what else is done with those; None: nothing.
    """
    table = _table(model)
    columns = _columns(model)
    keys = [column.name for column in table.primary_key.columns]
    if update == "":
        update = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in keys)
    listed = ", ".join(f'"{name}"' for name in columns)
    conflict = f"DO UPDATE SET {update}" if update else "DO NOTHING"
    connection.execute(
        text(f"""
            INSERT INTO {table.name} ({listed})
            SELECT {listed} FROM {ASIDE}.{table.name} AS present WHERE {where}
            ON CONFLICT ({", ".join(f'"{key}"' for key in keys)}) {conflict}
        """)  # noqa: S608 -- names of our own columns
    )


def _table(model: type[Base]) -> Table:
    return Base.metadata.tables[model.__tablename__]


def _columns(model: type[Base]) -> list[str]:
    return [column.name for column in _table(model).columns]


def hold_untold(connection: Connection, *, carried: Carried | None) -> list[Held]:
    """Pause the submit lanes of what may have been sent since, and schedules that may have run;
    None: of everything that waits, and all of them.
    """
    held = count_untold(connection, carried=carried)
    told = "(SELECT id FROM schedules LIMIT 0)"
    if carried is not None:
        told = f"(SELECT id FROM {ASIDE}.schedules)"  # noqa: S608 -- constants
    connection.execute(
        text(f"""
            UPDATE schedules SET paused_at = now(),
                problem = 'it comes from a backup, and may have run since that was made'
            WHERE paused_at IS NULL AND id NOT IN {told}
        """)  # noqa: S608 -- constants
    )
    connection.execute(
        text("""
            INSERT INTO lanes (stage, endpoint, paused, paused_at, paused_reason)
            SELECT :stage, endpoint, true, now(),
                'restored from a backup: what waits may have been sent since'
            FROM unnest(CAST(:endpoints AS text[])) AS endpoint
            ON CONFLICT (stage, endpoint) DO UPDATE SET paused = true,
                paused_at = excluded.paused_at, paused_reason = excluded.paused_reason,
                paused_until = NULL  -- or it would go on by itself
        """),
        {"stage": StageName.SUBMIT, "endpoints": [one.endpoint for one in held]},
    )
    return held


def count_untold(connection: Connection, *, carried: Carried | None) -> list[Held]:
    """Jobs, and requests of batches, that would be sent, and of which nothing is known since."""
    untold_job = untold_batch = "true"
    if carried is not None and not carried.ledger_damaged:
        untold_job = f"NOT EXISTS (SELECT FROM {ASIDE}.jobs AS job WHERE job.id = jobs.id)"
        untold_batch = (
            f"NOT EXISTS (SELECT FROM {ASIDE}.batches AS batch WHERE batch.id = batches.id)"
        )
    rows = connection.execute(
        text(f"""
            SELECT endpoint, count(*) FROM (
                SELECT endpoint FROM jobs
                WHERE state IN ('queued', 'submitting', 'unknown') AND {untold_job}
                UNION ALL
                SELECT batches.endpoint FROM batches
                JOIN batch_requests ON batch_requests.batch_id = batches.id
                WHERE state = 'finalized' AND finalized_at IS NULL AND input IS NOT NULL
                  AND {untold_batch}
            ) AS waiting GROUP BY endpoint ORDER BY endpoint
        """)  # noqa: S608 -- constants
    )
    return [Held(endpoint, int(jobs)) for endpoint, jobs in rows]


def mend_events(connection: Connection) -> None:
    """Place restored events before those that are still to come.

    Their places are numbers of transactions, and another server may not have come so far: then all
    are numbered anew.
    """
    ahead = connection.scalar(
        text("""
            SELECT EXISTS (SELECT FROM events WHERE transaction >=
                CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint))
        """)
    )
    if ahead:
        rest = ", ".join(name for name in _columns(Event) if name not in {"transaction", "number"})
        connection.execute(
            text("CREATE TEMPORARY TABLE old_events ON COMMIT DROP AS SELECT * FROM events")
        )
        connection.execute(text("TRUNCATE events"))
        connection.execute(
            text(f"""
                INSERT INTO events (transaction, number, {rest})
                SELECT 0, row_number() OVER (ORDER BY at, number), {rest} FROM old_events
            """)  # noqa: S608 -- names of our own columns
        )
    connection.execute(
        text("""
            SELECT setval(pg_get_serial_sequence('events', 'number'), greatest(
                (SELECT max(number) FROM events), 1))
        """)
    )


def note_restore(connection: Connection, by: Actor, *, taken_at: dt.datetime) -> None:
    """Its line in the audit log."""
    connection.execute(
        insert(AuditLine).values(
            id=new_id(),
            actor=by.name,
            source=by.source,
            action=Action.DATABASE_RESTORE.value,
            target="database",
            after={"taken_at": taken_at.isoformat()},
        )
    )


def analyze(connection: Connection) -> None:
    """Tell the planner what the new tables hold; the claims depend on it."""
    for table in sorted(Base.metadata.tables):
        connection.execute(text(f"ANALYZE {table}"))


def find_present(connection: Connection) -> tuple[str | None, str, str]:
    """Version of the tables that are there, their schema, and PostgreSQL's version."""
    row = connection.execute(
        text("SELECT current_schema(), current_setting('server_version')")
    ).one()
    return find_schema_version(connection), row[0], row[1].split()[0]


def find_newest(connection: Connection) -> dt.datetime | None:
    """When the newest job was handed in; None: there is none."""
    found: dt.datetime | None = connection.scalar(text("SELECT max(created_at) FROM jobs"))
    return found


def use_schema(connection: Connection, schema: str) -> None:
    """Names without a schema mean those in this one, until the connection is closed."""
    connection.execute(text(f'SET search_path TO "{schema}"'))
