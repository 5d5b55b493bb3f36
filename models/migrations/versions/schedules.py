"""Schedules of campaigns, and what was decided of their fires

A migration is one step that the code before it survives.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("rows_key", sa.Text(), nullable=True),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("estimate_usd", sa.Numeric(18, 10), nullable=False),
        sa.Column("unpriced", sa.Integer(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("overlap", sa.String(32), nullable=False),
        sa.Column("catch_up_seconds", sa.Float(), nullable=False),
        sa.Column("jitter_seconds", sa.Float(), nullable=False),
        sa.Column("pause_on_failure", sa.Boolean(), nullable=False),
        sa.Column("due_at", moment, nullable=False),
        sa.Column("starts_at", moment, nullable=False),
        sa.Column("paused_at", moment, nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "overlap IN ('skip', 'buffer_one', 'allow', 'cancel_other')",
            name="overlap_known",
        ),
        sa.PrimaryKeyConstraint("id", name="schedules_pkey"),
        sa.UniqueConstraint("name", name="schedules_name_key"),
    )
    op.create_index(
        "schedules_due", "schedules", ["starts_at"], postgresql_where=sa.text("paused_at IS NULL")
    )
    op.create_table(
        "schedule_runs",
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("due_at", moment, nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("backfill", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("at_once", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("decided_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("cancel_asked", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("ended_at", moment, nullable=True),
        sa.CheckConstraint(
            "outcome IN ('started', 'buffered', 'skipped', 'missed', 'failed')",
            name="runoutcome_known",
        ),
        sa.CheckConstraint(
            "(outcome = 'started') = (campaign_id IS NOT NULL)", name="campaign_iff_started"
        ),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["schedules.id"],
            name="schedule_runs_schedule_id_fkey",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name="schedule_runs_campaign_id_fkey"
        ),
        sa.PrimaryKeyConstraint("schedule_id", "due_at", name="schedule_runs_pkey"),
    )
    op.create_index(
        "schedule_runs_open",
        "schedule_runs",
        ["schedule_id"],
        postgresql_where=sa.text("ended_at IS NULL AND outcome IN ('started', 'buffered')"),
    )


def downgrade() -> None:
    op.drop_table("schedule_runs")
    op.drop_table("schedules")
