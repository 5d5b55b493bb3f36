"""Jobs, attempts, artifacts, deliveries, lanes, campaigns, settings

A migration is one step that the code before it survives.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.attempt import APPEND_ONLY_TRIGGER, REFUSE_LEDGER_CHANGE

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("campaigns_pkey")),
    )
    op.create_table(
        "endpoint_stats",
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("durations", sa.ARRAY(sa.Float()), server_default="{}", nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("hinted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("endpoint", name=op.f("endpoint_stats_pkey")),
    )
    op.create_table(
        "lanes",
        sa.Column(
            "stage",
            sa.Enum(
                "submit",
                "poll",
                "archive",
                "notify",
                name="stagename_known",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("paused", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("closed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_reason", sa.Text(), nullable=True),
        sa.Column("closures", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("stage", "endpoint", name=op.f("lanes_pkey")),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "value", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("settings_pkey")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column(
            "input", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "state",
            sa.Enum(
                "queued",
                "submitting",
                "in_queue",
                "in_progress",
                "unknown",
                "completed",
                "failed",
                "cancelled",
                "timed_out",
                "lost",
                "rejected",
                name="jobstate_known",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="queued",
            nullable=False,
        ),
        sa.Column(
            "reason",
            sa.Enum(
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
                name="reason_known",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "on_unknown",
            sa.Enum(
                "auto",
                "fail",
                "resubmit",
                name="onunknown_known",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="auto",
            nullable=False,
        ),
        sa.Column("upstream_id", sa.Text(), nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column(
            "next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=True
        ),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("polls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("misses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("polled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("estimate_usd", sa.Numeric(precision=18, scale=10), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=18, scale=10), nullable=True),
        sa.Column(
            "output", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("delay_ms", sa.Integer(), nullable=True),
        sa.Column("execution_ms", sa.Integer(), nullable=True),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN "
            "('completed', 'failed', 'cancelled', 'timed_out', 'lost', 'rejected'))",
            name=op.f("jobs_finished_at_iff_ended"),
        ),
        sa.CheckConstraint(
            "(lease IS NOT NULL) <= (state IN ('submitting', 'in_queue', 'in_progress'))",
            name=op.f("jobs_lease_only_while_worked_on"),
        ),
        sa.CheckConstraint(
            "(state = 'submitting') <= (lease IS NOT NULL)", name=op.f("jobs_submitting_leased")
        ),
        sa.CheckConstraint(
            "(state IN ('in_queue', 'in_progress')) <= (upstream_id IS NOT NULL)",
            name=op.f("jobs_in_flight_has_upstream_id"),
        ),
        sa.CheckConstraint(
            "(next_at IS NULL) = (finished_at IS NOT NULL)", name=op.f("jobs_due_until_ended")
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("jobs_campaign_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("jobs_pkey")),
        postgresql_with={
            "fillfactor": 80,
            "autovacuum_vacuum_scale_factor": 0.01,
            "autovacuum_vacuum_threshold": 2000,
        },
    )
    op.create_index(
        "jobs_of_campaign",
        "jobs",
        ["campaign_id", "state"],
        unique=False,
        postgresql_where=sa.text("campaign_id IS NOT NULL"),
    )
    op.create_index(
        "jobs_orphaned",
        "jobs",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("state = 'submitting'"),
    )
    op.create_index(
        "jobs_to_poll",
        "jobs",
        ["endpoint", "next_at", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('in_queue', 'in_progress')"),
    )
    op.create_index(
        "jobs_to_submit",
        "jobs",
        ["endpoint", "next_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "jobs_unresolved",
        "jobs",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("state = 'unknown'"),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("source_url", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "stored",
                "expired",
                name="artifactstate_known",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="pending",
            nullable=False,
        ),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column(
            "next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("duration_seconds", sa.Double(), nullable=True),
        sa.Column("store_key", sa.Text(), nullable=True),
        sa.Column("thumbnail_key", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'stored') = (sha256 IS NOT NULL AND store_key IS NOT NULL)",
            name=op.f("artifacts_stored_iff_hashed"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("artifacts_job_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("artifacts_pkey")),
    )
    op.create_index(
        "artifacts_by_content",
        "artifacts",
        ["sha256"],
        unique=False,
        postgresql_where=sa.text("sha256 IS NOT NULL"),
    )
    op.create_index("artifacts_of_job", "artifacts", ["job_id", "position"], unique=True)
    op.create_index(
        "artifacts_to_store",
        "artifacts",
        ["endpoint", "next_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("lease", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column(
            "sent_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "answer",
            sa.Enum(
                "accepted",
                "busy",
                "refused",
                "fault",
                "unsent",
                "unknown",
                name="answer_known",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("upstream_id", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("cost_usd", sa.Numeric(precision=18, scale=10), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("attempts_job_id_fkey")),
        sa.PrimaryKeyConstraint("job_id", "lease", name=op.f("attempts_pkey")),
    )
    op.create_index("attempts_recently_sent", "attempts", ["endpoint", "sent_at"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column(
            "request", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "state",
            sa.Enum(
                "waiting",
                "pending",
                "delivered",
                name="deliverystate_known",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            server_default="waiting",
            nullable=False,
        ),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column(
            "next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("deliveries_job_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("deliveries_pkey")),
    )
    op.create_index("deliveries_of_job", "deliveries", ["job_id"], unique=False)
    op.create_index(
        "deliveries_to_send",
        "deliveries",
        ["endpoint", "next_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.execute(REFUSE_LEDGER_CHANGE)
    op.execute(APPEND_ONLY_TRIGGER)
