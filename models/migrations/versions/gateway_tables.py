"""API keys, handles, events, batches, webhooks; what a gateway's request brings

A migration is one step that the code before it survives.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.event import EVENT_TRIGGERS
from models.handle import TAKE_HANDLES

revision = "0002"
down_revision = "0001"

REASONS = (
    "upstream_failed",
    "upstream_refused",
    "upstream_fault",
    "upstream_timed_out",
    "upstream_cancelled",
    "cancelled",
    "outcome_unknown",
    "result_expired",
    "vanished",
    "ttl_passed",
    "ran_too_long",
)


def words(*values: str, name: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def rewiden(table: str, column: str, name: str, values: tuple[str, ...]) -> None:
    """Let a column of words take more of them."""
    op.drop_constraint(op.f(f"{table}_{name}"), table, type_="check")
    listed = ", ".join(f"'{value}'" for value in values)
    op.create_check_constraint(op.f(f"{table}_{name}"), table, f"{column} IN ({listed})")


def moment(name: str, *, now: bool = False) -> sa.Column[object]:
    default = sa.text("now()") if now else None
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=default, nullable=default is None
    )


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("requests_per_second", sa.Integer(), nullable=True),
        sa.Column("result_cache", sa.Boolean(), nullable=True),
        sa.Column("webhook_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=True),
        moment("previous_until"),
        moment("created_at", now=True),
        moment("revoked_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
    )
    op.create_index("api_keys_by_hash", "api_keys", ["hash"], unique=True)
    op.create_index(
        "api_keys_by_previous_hash",
        "api_keys",
        ["previous_hash"],
        unique=True,
        postgresql_where=sa.text("previous_hash IS NOT NULL"),
    )
    op.create_table(
        "handles",
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind", words("idempotency_key", "seeded", name="handlekind_known"), nullable=False
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        moment("created_at", now=True),
        sa.PrimaryKeyConstraint("key_id", "kind", "name", name=op.f("handles_pkey")),
    )
    op.create_index("handles_by_age", "handles", ["created_at"])
    op.create_table(
        "events",
        sa.Column(
            "transaction",
            sa.BigInteger(),
            server_default=sa.text("CAST(CAST(pg_current_xact_id() AS text) AS bigint)"),
            nullable=False,
        ),
        sa.Column("number", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("artifact_id", sa.Uuid(), nullable=True),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("transaction", "number", name=op.f("events_pkey")),
    )
    op.create_index("events_by_age", "events", ["at"])
    op.create_index("events_of_job", "events", ["job_id"])
    _create_batches()
    _widen_jobs()
    _widen_deliveries()
    rewiden("lanes", "stage", "stagename_known", ("submit", "poll", "archive", "notify", "webhook"))
    op.execute(EVENT_TRIGGERS)
    op.execute(TAKE_HANDLES)


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column(
            "state",
            words("draft", "finalized", "failed", "cancelled", name="batchstate_known"),
            server_default="draft",
            nullable=False,
        ),
        sa.Column("error", sa.Text(), nullable=True),
        moment("created_at", now=True),
        moment("finalized_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("batches_pkey")),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("batches_key_id_fkey")),
    )
    op.create_index("batches_of_key", "batches", ["endpoint", "key_id", "id"])
    op.create_index(
        "batches_to_enqueue",
        "batches",
        ["id"],
        postgresql_where=sa.text("state = 'finalized' AND finalized_at IS NULL"),
    )
    op.create_table(
        "batch_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("input", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("batch_requests_pkey")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("batch_requests_batch_id_fkey")
        ),
    )
    op.create_index("requests_of_batch", "batch_requests", ["batch_id", "position"], unique=True)


def _widen_jobs() -> None:
    rewiden("jobs", "reason", "reason_known", REASONS)
    for column in (
        sa.Column("attempts_before", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cancel_reason", words(*REASONS, name="cancel_reason_known"), nullable=True),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column(
            "route",
            words("run", "runsync", "openai", name="route_known"),
            server_default="run",
            nullable=False,
        ),
        sa.Column("policy", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        moment("deadline_at"),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("cached_from", sa.Uuid(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("streamed", sa.Integer(), server_default="0", nullable=False),
    ):
        op.add_column("jobs", column)
    op.create_foreign_key(op.f("jobs_key_id_fkey"), "jobs", "api_keys", ["key_id"], ["id"])
    for name, columns, where in (
        ("jobs_of_key", ["key_id", "id"], "key_id IS NOT NULL"),
        ("jobs_open_of_key", ["endpoint", "key_id"], "finished_at IS NULL"),
        ("jobs_ended_of_key", ["endpoint", "key_id", "finished_at"], "finished_at IS NOT NULL"),
        (
            "jobs_with_result",
            ["key_id", "fingerprint"],
            "state = 'completed' AND fingerprint IS NOT NULL",
        ),
        (
            "jobs_with_deadline",
            ["deadline_at"],
            "deadline_at IS NOT NULL AND finished_at IS NULL",
        ),
    ):
        op.create_index(name, "jobs", columns, postgresql_where=sa.text(where))


def _widen_deliveries() -> None:
    op.add_column(
        "deliveries",
        sa.Column(
            "kind",
            words("celery", "webhook", name="deliverykind_known"),
            server_default="celery",
            nullable=False,
        ),
    )
    op.add_column("deliveries", sa.Column("http_status", sa.Integer(), nullable=True))
    op.add_column("deliveries", moment("pending_at"))
    rewiden(
        "deliveries", "state", "deliverystate_known", ("waiting", "pending", "delivered", "failed")
    )
    op.drop_index("deliveries_to_send", "deliveries")
    for name, kind in (("deliveries_to_send", "celery"), ("webhooks_to_send", "webhook")):
        op.create_index(
            name,
            "deliveries",
            ["endpoint", "next_at", "id"],
            postgresql_where=sa.text(f"kind = '{kind}' AND state = 'pending'"),
        )
