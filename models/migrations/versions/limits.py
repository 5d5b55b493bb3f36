"""Budgets and reservations under them, slots and tags of campaigns, announcements

A migration is one step that the code before it survives.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.versions.gateway_tables import moment, rewiden, words
from models.migrations.versions.reliability_tables import NEW_REASONS

revision = "0009"
down_revision = "0008"

HELD = "next_at >= timestamptz '9999-01-01 00:00:00+00'"


def usd(name: str, *, counted: bool = False, nullable: bool = False) -> sa.Column[object]:
    default = "0" if counted else None
    return sa.Column(name, sa.Numeric(18, 10), server_default=default, nullable=nullable)


def upgrade() -> None:
    rewiden("jobs", "reason", "reason_known", (*NEW_REASONS, "over_budget"))
    rewiden("jobs", "cancel_reason", "cancel_reason_known", (*NEW_REASONS, "over_budget"))
    op.add_column("jobs", sa.Column("held_by", sa.Uuid(), nullable=True))
    op.create_index(
        "jobs_refused",
        "jobs",
        ["held_by", sa.text("coalesce(estimate_usd, 0)"), "id"],
        postgresql_where=sa.text("state = 'queued' AND held_by IS NOT NULL"),
    )
    op.create_index(
        "jobs_not_held",
        "jobs",
        ["campaign_id", "next_at"],
        postgresql_where=sa.text(f"state = 'queued' AND campaign_id IS NOT NULL AND NOT {HELD}"),
    )
    op.add_column("campaigns", sa.Column("key_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("campaigns_key_id_fkey"), "campaigns", "api_keys", ["key_id"], ["id"]
    )
    op.add_column(
        "campaigns",
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
    )
    op.add_column("campaigns", sa.Column("max_in_flight", sa.Integer(), nullable=True))
    op.add_column(
        "campaigns", sa.Column("pace_from", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("campaigns", moment("paced_at"))
    op.add_column("campaigns", moment("completed_at"))
    op.create_check_constraint(op.f("campaigns_some_in_flight"), "campaigns", "max_in_flight > 0")
    # What ended before is no news.
    op.execute("""
        UPDATE campaigns SET completed_at = now() WHERE total IS NOT NULL AND NOT EXISTS (
            SELECT FROM jobs WHERE campaign_id = campaigns.id AND finished_at IS NULL)
    """)
    op.create_index(
        "campaigns_open", "campaigns", ["id"], postgresql_where=sa.text("completed_at IS NULL")
    )
    _add_budgets()
    op.create_table(
        "announcements",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "type",
            words(
                "campaign.completed",
                "budget.warned",
                "budget.reached",
                name="announcementtype_known",
            ),
            nullable=False,
        ),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("task", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("body", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column(
            "state",
            words("pending", "sent", "failed", name="announcementstate_known"),
            server_default="pending",
            nullable=False,
        ),
        moment("created_at", now=True),
        moment("next_at", now=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("announcements_pkey")),
    )
    op.create_index(
        "announcements_to_send",
        "announcements",
        ["next_at"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index("attempts_by_time", "attempts", ["sent_at"], postgresql_using="brin")
    op.add_column("events", sa.Column("campaign_id", sa.Uuid(), nullable=True))
    op.add_column("events", sa.Column("budget_id", sa.Uuid(), nullable=True))
    op.alter_column("events", "job_id", nullable=True)
    op.alter_column("events", "endpoint", nullable=True)


def _add_budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("campaign_id", sa.Uuid(), nullable=True),
        sa.Column("tag", sa.Text(), nullable=True),
        sa.Column(
            "period", words("total", "day", "week", "month", name="period_known"), nullable=False
        ),
        sa.Column("zone", sa.Text(), server_default="UTC", nullable=False),
        usd("limit_usd"),
        sa.Column("warn_at", sa.Float(), server_default="0.8", nullable=False),
        sa.Column(
            "at_cap",
            words("pause", "finish_in_flight", "stop", name="atcap_known"),
            server_default="pause",
            nullable=False,
        ),
        sa.Column("webhook", sa.Text(), nullable=True),
        moment("created_at", now=True),
        moment("removed_at"),
        sa.CheckConstraint("limit_usd > 0", name=op.f("budgets_limit_is_some")),
        sa.CheckConstraint("warn_at > 0 AND warn_at <= 1", name=op.f("budgets_warn_at_is_a_share")),
        sa.CheckConstraint(
            "num_nonnulls(key_id, campaign_id, tag) <= 1", name=op.f("budgets_of_one")
        ),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("budgets_key_id_fkey")),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("budgets_campaign_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("budgets_pkey")),
    )
    op.create_index(
        "budgets_named",
        "budgets",
        ["name"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "budgets_of_no_campaign",
        "budgets",
        ["id"],
        postgresql_where=sa.text("removed_at IS NULL AND campaign_id IS NULL"),
    )
    for name, column in (
        ("budgets_of_key", "key_id"),
        ("budgets_of_campaign", "campaign_id"),
        ("budgets_of_tag", "tag"),
    ):
        op.create_index(
            name,
            "budgets",
            [column],
            postgresql_where=sa.text(f"removed_at IS NULL AND {column} IS NOT NULL"),
        )
    op.create_table(
        "budget_periods",
        sa.Column("budget_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        usd("reserved_usd", counted=True),
        usd("spent_usd", counted=True),
        moment("warned_at"),
        moment("capped_at"),
        moment("announced_at"),
        sa.ForeignKeyConstraint(
            ["budget_id"], ["budgets.id"], name=op.f("budget_periods_budget_id_fkey")
        ),
        sa.PrimaryKeyConstraint("budget_id", "starts_at", name=op.f("budget_periods_pkey")),
    )
    op.create_table(
        "budget_changes",
        sa.Column("budget_id", sa.Uuid(), nullable=False),
        moment("at", now=True),
        usd("limit_usd", nullable=True),
        sa.ForeignKeyConstraint(
            ["budget_id"], ["budgets.id"], name=op.f("budget_changes_budget_id_fkey")
        ),
        sa.PrimaryKeyConstraint("budget_id", "at", name=op.f("budget_changes_pkey")),
    )
    op.create_table(
        "reservations",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("lease", sa.Uuid(), nullable=False),
        sa.Column("budget_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        usd("usd"),
        moment("reserved_at", now=True),
        sa.Column(
            "ended",
            words("spent", "presumed", "released", name="reservationend_known"),
            nullable=True,
        ),
        moment("ended_at"),
        usd("spent_usd", nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id", "lease"],
            ["attempts.job_id", "attempts.lease"],
            name=op.f("reservations_job_id_fkey"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["budget_id", "starts_at"],
            ["budget_periods.budget_id", "budget_periods.starts_at"],
            name=op.f("reservations_budget_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("job_id", "lease", "budget_id", name=op.f("reservations_pkey")),
    )
    op.create_index("reservations_of_budget", "reservations", ["budget_id", "reserved_at"])
    op.create_index(
        "reservations_open",
        "reservations",
        ["budget_id"],
        postgresql_where=sa.text("ended IS NULL"),
    )


def downgrade() -> None:
    raise NotImplementedError("what was spent under budgets is not forgotten: restore a backup")
