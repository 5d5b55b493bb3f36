"""Jobs by the million, as months of work leave them, and the table that people usually build.

Ended jobs are spread over two months; one in ten did not complete, and a few did so in a way, or
on an endpoint, that is rare. Live ones wait or are in flight, due about now.
"""

from dataclasses import dataclass
from uuid import UUID

from models.base import new_id
from scripts.benches.own_postgres import Loader

ENDPOINTS = 8
KEYS = 20
DAYS = 60
RARE_ENDPOINT = "rare-endpoint"  # one job in 10,000
RARE_STATE = "lost"  # the same

TABLES = ("jobs", "attempts", "artifacts")
RIVAL = "plain_jobs"


@dataclass(frozen=True, slots=True)
class Filled:
    """Whose jobs there are."""

    endpoints: tuple[str, ...]
    key_id: UUID  # of one job in KEYS
    rare_key_id: UUID  # of one in 10,000
    campaign_id: UUID
    middle_id: UUID  # half of the jobs are older


_INPUT = """
    jsonb_build_object(
        'prompt', 'a fox in a red coat reads a newspaper by a window, number ' || n || ', '
            || repeat('soft light, fine grain, ', 7),
        'width', 1024, 'height', 768, 'seed', n)
"""
_ENDPOINT = f"""
    CASE WHEN n %% 10000 = 77 THEN '{RARE_ENDPOINT}'
        ELSE 'endpoint-' || n %% {ENDPOINTS} END
"""
_KEY = f"""
    CASE WHEN n %% 10000 = 78 THEN CAST(%(rare_key)s AS uuid)
        WHEN n %% 10 <> 9 THEN (CAST(%(keys)s AS uuid[]))[1 + n / 100 %% {KEYS}] END
"""

_ENDED = f"""
    INSERT INTO jobs (id, endpoint, input, state, reason, error, attempt, upstream_id, next_at,
        key_id, polls, polled_at, estimate_usd, cost_usd, output, delay_ms, execution_ms, worker_id,
        campaign_id, position, created_at, submitted_at, finished_at)
    SELECT uuidv7(created_at - now()), {_ENDPOINT}, {_INPUT}, state,
        CASE state WHEN 'completed' THEN NULL WHEN 'failed' THEN 'upstream_failed'
            WHEN 'cancelled' THEN 'cancelled' ELSE 'vanished' END,
        CASE WHEN state = 'failed' THEN 'CUDA out of memory' END,
        1, 'upstream-' || n || '-u1', NULL, {_KEY}, 3, created_at + interval '30 seconds',
        0.0024, CASE WHEN state = 'completed' THEN 0.0024 END,
        CASE WHEN state = 'completed' THEN jsonb_build_object(
            'cost', 0.0024,
            'image_url', 'https://image.example.com/' || md5(CAST(n AS text)) || '/result.png',
            'result', 'https://image.example.com/' || md5(CAST(n AS text)) || '/result.png',
            'note', repeat('what the model says beside it; ', 6)) END,
        800, 6200, 'worker-' || n %% 50,
        CASE WHEN n %% 10 = 3
            THEN (CAST(%(campaigns)s AS uuid[]))[1 + n / (%(campaign_jobs)s * 10)] END,
        CASE WHEN n %% 10 = 3 THEN n / 10 %% %(campaign_jobs)s END,
        created_at, created_at + interval '1 second', created_at + interval '30 seconds'
    FROM generate_series(0, %(ended)s - 1) AS n
    CROSS JOIN LATERAL (SELECT
        now() - make_interval(secs => 60 + {DAYS * 86400.0} * (%(ended)s - n) / %(ended)s)
            AS created_at,
        CASE WHEN n %% 10000 = 79 THEN '{RARE_STATE}' WHEN n %% 100 < 90 THEN 'completed'
            WHEN n %% 100 < 97 THEN 'failed' ELSE 'cancelled' END AS state) AS chosen
"""  # noqa: S608 -- constants

_LIVE = f"""
    INSERT INTO jobs (id, endpoint, input, state, upstream_id, next_at, key_id, estimate_usd,
        virtual_start, attempt, polls, polled_at, deadline_at, submitted_at)
    SELECT uuidv7(), {_ENDPOINT}, {_INPUT}, state,
        CASE WHEN state <> 'queued' THEN 'upstream-' || n END,
        now() + make_interval(secs => due_in), {_KEY}, 0.0024,
        CASE WHEN state = 'queued' AND due_in <= 0 THEN n END,
        CASE WHEN state = 'queued' THEN 0 ELSE 1 END,
        CASE WHEN state = 'queued' THEN 0 ELSE 2 END,
        CASE WHEN state <> 'queued' THEN now() END,
        CASE WHEN n %% 5 = 0 THEN now() + interval '1 day' END,
        CASE WHEN state <> 'queued' THEN now() - interval '10 seconds' END
    FROM generate_series(1, %(live)s) AS n
    CROSS JOIN LATERAL (SELECT CASE n / {ENDPOINTS} %% 4 WHEN 0 THEN 'in_queue'
        WHEN 1 THEN 'in_progress' ELSE 'queued' END AS state,
        -- Most are due, since ten minutes at most; some will be.
        random() * 700 - 600 AS due_in) AS chosen
"""  # noqa: S608 -- constants

_ATTEMPTS = """
    INSERT INTO attempts (job_id, lease, number, endpoint, sent_at, answered_at, answer,
        http_status, upstream_id, cost_usd)
    SELECT id, gen_random_uuid(), 1, endpoint, submitted_at, submitted_at, 'accepted', 200,
        upstream_id, cost_usd
    FROM jobs WHERE attempt > 0
"""

_ARTIFACTS = """
    INSERT INTO artifacts (id, job_id, position, endpoint, field, source_url, expires_at, state,
        sha256, size_bytes, media_type, width, height, store_key, created_at, stored_at)
    SELECT uuidv7(finished_at - now()), id, 0, endpoint, 'image_url', output ->> 'image_url',
        finished_at + interval '7 days', 'stored', hash || hash, 1048576, 'image/png', 1024, 768,
        'sha256/' || hash, finished_at, finished_at
    FROM jobs CROSS JOIN LATERAL (SELECT md5(CAST(id AS text)) AS hash) AS file
    WHERE state = 'completed'
"""

_RIVAL = f"""
    INSERT INTO {RIVAL} (id, endpoint, state, input, output, created_at)
    SELECT id, endpoint, CASE WHEN state LIKE 'in_%%' THEN 'running' ELSE state END,
        input, output, created_at
    FROM jobs
"""  # noqa: S608 -- a constant

MAKE_RIVAL = f"""
    CREATE TABLE {RIVAL} (
        id uuid PRIMARY KEY, endpoint text NOT NULL, state text NOT NULL, input jsonb NOT NULL,
        output jsonb, created_at timestamptz NOT NULL, started_at timestamptz);
    CREATE INDEX {RIVAL}_state ON {RIVAL} (state)
"""


def fill(
    loader: Loader, *, ended: int, live: int, campaign_jobs: int = 10_000, rival: bool = False
) -> Filled:
    """Put so many jobs, with what hangs on them, in the place of what is there.

    Args:
        campaign_jobs: of each campaign; one job in ten belongs to one.
        rival: the usual table is filled, too.
    """
    tables = (*TABLES, RIVAL) if rival else TABLES
    loader.run(
        "TRUNCATE api_keys, campaigns, endpoint_stats, batches, batch_requests, deliveries, "
        f"handles, flows, charges, shelved_jobs, {', '.join(tables)} CASCADE"
    )
    keys = [new_id() for _ in range(KEYS + 1)]
    campaigns = [new_id() for _ in range(ended // (campaign_jobs * 10) + 1)]
    loader.run(
        """
        INSERT INTO api_keys (id, name, hash, shown, scopes)
        SELECT id, 'key ' || id, uuid_send(id), 'prk_bench', '{run}'
        FROM unnest(CAST(%(keys)s AS uuid[])) AS id
        """,
        keys=keys,
    )
    loader.run(
        """
        INSERT INTO campaigns (id, name, planned)
        SELECT id, 'campaign ' || id, %(planned)s FROM unnest(CAST(%(campaigns)s AS uuid[])) AS id
        """,
        campaigns=campaigns,
        planned=campaign_jobs + 1,  # one is yet to come: what is complete is summed up seldom
    )
    endpoints = tuple(f"endpoint-{number}" for number in range(ENDPOINTS))
    loader.run(
        "INSERT INTO endpoint_stats (endpoint) SELECT unnest(CAST(%(endpoints)s AS text[]))",
        endpoints=[*endpoints, RARE_ENDPOINT],
    )
    with loader.load(*tables):
        given = {"keys": keys[1:], "rare_key": keys[0]}
        of_campaigns = {"campaigns": campaigns, "campaign_jobs": campaign_jobs}
        loader.run(_ENDED, ended=ended, **of_campaigns, **given)
        loader.run(_LIVE, live=live, **given)
        for statement in (_ATTEMPTS, _ARTIFACTS, *([_RIVAL] if rival else [])):
            loader.run(statement.replace("%%", "%"))
    [[middle]] = loader.read(f"SELECT uuidv7(interval '-{DAYS // 2} days')")
    assert isinstance(middle, UUID)  # noqa: S101 -- for the types
    return Filled(endpoints, keys[1], keys[0], campaigns[0], middle)
