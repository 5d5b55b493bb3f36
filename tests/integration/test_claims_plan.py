"""Each claim reads its own partial index, with the plan that a prepared statement ends up with.

psycopg prepares what runs often, and Postgres then may plan without knowing the parameters. So what
is explained is the very statement that was sent, as a generic plan, on a table of mixed states.
"""

import functools
import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, text

from models.base import new_id
from models.claims import (
    claim_artifacts,
    claim_cancels,
    claim_deliveries,
    claim_polls,
    extend_lease,
    find_recent_submits,
)
from models.database import Database, empty_tables
from models.fairness import join_line
from models.hold import list_holders, release_for_money, release_for_slots
from models.job import Job, JobState
from models.job_queries import JobFilter, list_jobs
from models.lane import StageName, find_lanes, seconds_until_due
from models.line import count_ahead
from models.transitions import (
    claim_submissions,
    find_orphaned_endpoints,
    give_up_orphans,
    recall_polls,
    resolve_unknown,
    set_aside_jobs,
)

ENDPOINT = "endpoint-3"
JOBS = 20_000

FILL = """
    INSERT INTO endpoint_stats (endpoint) SELECT 'endpoint-' || n FROM generate_series(0, 9) AS n;

    INSERT INTO jobs (id, endpoint, input, state, lease, upstream_id, next_at, finished_at,
                      submitted_at, virtual_start, route)
    SELECT gen_random_uuid(), 'endpoint-' || n % 10, '{"prompt": "a fox"}', state,
        CASE WHEN state = 'submitting' THEN gen_random_uuid() END,
        'upstream-' || n,
        CASE WHEN state <> 'completed' THEN now() + make_interval(secs => n % 600 - 300) END,
        CASE WHEN state = 'completed' THEN now() END,
        now(),
        CASE WHEN n % 600 < 300 THEN n END,
        CASE WHEN n % 500 < 10 THEN 'runsync' ELSE 'run' END
    FROM generate_series(1, :jobs) AS n
    CROSS JOIN LATERAL (SELECT CASE
        WHEN n % 100 < 70 THEN 'completed' WHEN n % 100 < 80 THEN 'queued'
        WHEN n % 100 < 88 THEN 'in_queue' WHEN n % 100 < 96 THEN 'in_progress'
        WHEN n % 100 < 98 THEN 'submitting' ELSE 'unknown' END AS state) AS chosen;

    INSERT INTO artifacts (id, job_id, position, endpoint, field, source_url, expires_at, state,
                           sha256, store_key)
    SELECT gen_random_uuid(), id, 0, endpoint, 'image_url', 'https://x', now(), kept.state,
        CASE WHEN kept.state = 'stored' THEN 'a' END, CASE WHEN kept.state = 'stored' THEN 'b' END
    FROM jobs CROSS JOIN LATERAL (
        SELECT CASE WHEN finished_at IS NULL THEN 'pending' ELSE 'stored' END AS state) AS kept;

    INSERT INTO deliveries (id, job_id, endpoint, kind, request, state)
    SELECT gen_random_uuid(), id, endpoint,
        CASE WHEN ascii(right(CAST(id AS text), 1)) % 2 = 0 THEN 'celery' ELSE 'webhook' END, '{}',
        CASE WHEN finished_at IS NULL THEN 'pending' ELSE 'delivered' END
    FROM jobs;

    INSERT INTO attempts (job_id, lease, number, endpoint, sent_at)
    SELECT id, gen_random_uuid(), 1, endpoint, now() - random() * interval '7 days'
    FROM jobs;
"""


@pytest.fixture(scope="module")
async def filled(services):
    """A database of jobs in every stage, most of them ended, as after a busy day."""
    database = Database(services.database_dsn, name="tests")
    async with database.begin() as session:
        await empty_tables(session)
        for statement in FILL.replace(":jobs", str(JOBS)).split(";\n\n"):
            await session.execute(text(statement))
        await session.execute(text("ANALYZE"))
    yield database
    async with database.begin() as session:
        await empty_tables(session)
    await database.close()


async def explain(database, call):
    """The generic plan of the last statement that `call` sends."""
    sent = []

    def note(_connection, _cursor, statement, _parameters, _context, _many):
        sent.append(statement)

    async with database.begin() as session:
        event.listen(database.engine.sync_engine, "before_cursor_execute", note)
        try:
            await call(session)
        finally:
            event.remove(database.engine.sync_engine, "before_cursor_execute", note)
        await session.rollback()
    statement = sent[-1]
    numbers: dict[str, str] = {}
    statement = re.sub(
        r"%\((\w+)\)s",
        lambda match: numbers.setdefault(match[1], f"${len(numbers) + 1}"),
        statement,
    ).replace("%%", "%")
    async with database.engine.connect() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN (GENERIC_PLAN) {statement}")
        return "\n".join(row[0] for row in rows)


CLAIMS: dict[str, Callable[..., Any]] = {
    "jobs_in_line": claim_submissions,
    "jobs_to_poll": claim_polls,
    "jobs_to_cancel": claim_cancels,
    "artifacts_to_store": claim_artifacts,
    "deliveries_to_send": functools.partial(claim_deliveries, stage=StageName.NOTIFY),
    "webhooks_to_send": functools.partial(claim_deliveries, stage=StageName.WEBHOOK),
}


@pytest.mark.parametrize("index", CLAIMS)
async def test_a_claim_takes_its_rows_from_its_own_index_in_order(filled, index):
    claim = CLAIMS[index]

    plan = await explain(
        filled,
        lambda session: claim(
            session, endpoint=ENDPOINT, limit=100, lease=new_id(), lease_seconds=15.0, proven=True
        ),
    )

    assert f"Index Scan using {index}" in plan
    assert "Seq Scan on jobs" not in plan
    assert "Seq Scan on artifacts" not in plan
    assert "Seq Scan on deliveries" not in plan
    # The only rows sorted are those that were claimed: the index gives the due ones in order.
    due = plan[plan.index("CTE due") : plan.index(index)]
    assert "Sort" not in due, plan


async def test_polls_that_go_first_are_taken_from_an_index_of_their_own(filled):
    plan = await explain(
        filled,
        lambda session: claim_polls(
            session, endpoint=ENDPOINT, limit=100, lease=new_id(), lease_seconds=15.0, proven=True
        ),
    )

    assert "Index Scan using jobs_to_poll_first" in plan


@pytest.mark.parametrize(
    ("index", "sweep"),
    [
        (
            "jobs_orphaned",
            lambda session: give_up_orphans(session, endpoint=ENDPOINT, wait_seconds=30),
        ),
        ("jobs_orphaned", find_orphaned_endpoints),
        ("jobs_suspected", set_aside_jobs),
        (
            "jobs_unresolved",
            lambda session: resolve_unknown(
                session, endpoint=ENDPOINT, longest_seconds=0, max_sends=3, max_attempts=10
            ),
        ),
    ],
)
async def test_a_sweep_looks_only_at_what_is_overdue(filled, index, sweep):
    plan = await explain(filled, sweep)

    assert index in plan
    assert "Seq Scan on jobs" not in plan


async def test_what_joins_the_line_is_found_by_its_own_index_and_its_place_by_that_of_the_line(
    filled,
):
    plan = await explain(filled, lambda session: join_line(session, ENDPOINT))

    assert "jobs_to_join" in plan
    assert "Scan using jobs_in_line" in plan
    assert "Seq Scan on jobs" not in plan


DUE = {"jobs_to_submit": StageName.SUBMIT, **dict(zip(CLAIMS, StageName, strict=True))}
del DUE["jobs_in_line"]


@pytest.mark.parametrize(("index", "stage"), DUE.items())
async def test_when_a_lane_is_next_due_is_one_probe_of_its_index(filled, index, stage):
    plan = await explain(filled, lambda session: seconds_until_due(session, stage, ENDPOINT))

    assert re.search(rf"Index (Only )?Scan using {index}", plan), plan


LIMITS: dict[str, tuple[str, Callable[..., Any]]] = {
    "who holds jobs": ("jobs_refused", list_holders),
    "what money is there for": (
        "jobs_refused",
        lambda session: release_for_money(session, [new_id()]),
    ),
    "what there are slots for": (
        "jobs_refused",
        lambda session: release_for_slots(session, [new_id()]),
    ),
}


@pytest.mark.parametrize("name", LIMITS)
async def test_what_limits_look_at_is_found_by_an_index(filled, name):
    index, call = LIMITS[name]

    plan = await explain(filled, call)

    assert index in plan, plan
    assert "Seq Scan on jobs" not in plan, plan


async def test_a_place_in_line_is_counted_in_the_line_alone(filled):
    job = Job(id=new_id(), endpoint=ENDPOINT, priority=5, virtual_start=7.0)

    plan = await explain(filled, lambda session: count_ahead(session, job))

    # Ranges of the index: what is behind it is not read.
    assert len(re.findall(r"jobs_in_line.*\n +Index Cond: .*priority [>=]", plan)) == 2, plan
    assert re.search(r"Index Cond: .*ROW\(virtual_start, id\) <", plan), plan
    assert "Filter" not in plan, plan


async def test_recalling_polls_looks_only_at_what_is_due_later_than_that(filled):
    plan = await explain(
        filled, lambda session: recall_polls(session, endpoint=ENDPOINT, first_seconds=15.0)
    )

    assert re.search(r"Index Scan using jobs_to_poll.*\n +Index Cond: .*next_at > ", plan), plan
    assert "Seq Scan on jobs" not in plan


async def test_finding_the_lanes_with_work_scans_no_table_of_jobs(filled):
    plan = await explain(filled, find_lanes)

    assert plan.count("Limit") == len(StageName)  # of each a first row is all that is read
    assert "Semi Join" not in plan
    for index in DUE:
        assert index in plan
    for table in ("jobs", "artifacts", "deliveries"):
        assert f"Seq Scan on {table}" not in plan


PAGES: dict[str, tuple[str, JobFilter]] = {
    "an endpoint's": ("jobs_(open|ended)_of_endpoint", JobFilter(endpoint=ENDPOINT)),
    "a state's": ("jobs_ended_of_endpoint", JobFilter(states=[JobState.LOST])),
    "a state's of an endpoint": (
        "jobs_(open|ended)_of_endpoint",
        JobFilter(endpoint=ENDPOINT, states=[JobState.QUEUED, JobState.FAILED]),
    ),
    "a key's": ("jobs_of_key", JobFilter(owner=new_id())),
    "a key's failed ones": ("jobs_of_key", JobFilter(owner=new_id(), states=[JobState.FAILED])),
    "a campaign's": ("jobs_of_campaign", JobFilter(campaign_id=new_id())),
}


@pytest.mark.parametrize("before", [None, new_id()])
@pytest.mark.parametrize(("index", "wanted"), PAGES.values(), ids=PAGES)
async def test_a_page_is_read_from_the_index_that_holds_it_in_order(filled, index, wanted, before):
    plan = await explain(
        filled, lambda session: list_jobs(session, wanted, limit=101, before=before)
    )

    assert re.search(rf"Scan (Backward )?(using|on) {index}", plan), plan
    assert "Seq Scan on jobs" not in plan


async def test_recent_submits_are_found_by_their_time(filled):
    plan = await explain(
        filled, lambda session: find_recent_submits(session, endpoint=ENDPOINT, seconds=10.0)
    )

    assert "attempts_recently_sent" in plan


@pytest.mark.parametrize("stage", [StageName.SUBMIT, StageName.POLL])
async def test_a_heartbeat_does_not_scan_the_table(filled, stage):
    plan = await explain(
        filled,
        lambda session: extend_lease(session, stage, ids=[new_id()], lease=new_id(), seconds=15.0),
    )

    assert "Seq Scan on jobs" not in plan
