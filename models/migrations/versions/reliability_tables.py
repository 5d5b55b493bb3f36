"""Fates of attempts, deaths of workers, start deadlines, cancels of their own lane, breakers

`on_unknown` loses `auto`: an attempt that webhooks show was never taken is told apart now
(`attempts.fate`), whatever the policy.
"""

import sqlalchemy as sa
from alembic import op

from models.attempt import REFUSE_LEDGER_CHANGE
from models.migrations.versions.gateway_tables import REASONS, moment, rewiden, words

revision = "0003"
down_revision = "0002"

TO_POLL = (
    "state IN ('in_queue', 'in_progress')"
    " AND (cancel_requested_at IS NULL OR cancel_sent_at IS NOT NULL)"
)
TO_CANCEL = (
    "state IN ('in_queue', 'in_progress')"
    " AND cancel_requested_at IS NOT NULL AND cancel_sent_at IS NULL"
)
NEW_REASONS = (*REASONS, "killed_workers", "not_started")


def count(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Integer(), server_default="0", nullable=False)


def upgrade() -> None:
    rewiden("jobs", "reason", "reason_known", NEW_REASONS)
    rewiden("jobs", "cancel_reason", "cancel_reason_known", NEW_REASONS)
    op.execute("UPDATE jobs SET on_unknown = 'resubmit' WHERE on_unknown = 'auto'")
    op.execute("DELETE FROM settings WHERE name = 'on_unknown' AND value = '\"auto\"'")
    op.alter_column("jobs", "on_unknown", server_default="resubmit")
    rewiden("jobs", "on_unknown", "onunknown_known", ("resubmit", "fail"))
    for column in (
        count("deaths"),
        moment("cancel_sent_at"),
        count("cancel_tries"),
        sa.Column("start_seconds", sa.Float(), nullable=True),
        moment("start_by"),
    ):
        op.add_column("jobs", column)
    op.drop_index("jobs_to_poll", "jobs")
    for name, where in (("jobs_to_poll", TO_POLL), ("jobs_to_cancel", TO_CANCEL)):
        op.create_index(
            name, "jobs", ["endpoint", "next_at", "id"], postgresql_where=sa.text(where)
        )
    op.create_index(
        "jobs_with_start",
        "jobs",
        ["start_by"],
        postgresql_where=sa.text(
            "start_by IS NOT NULL AND finished_at IS NULL AND state <> 'in_progress'"
        ),
    )

    op.add_column(
        "attempts",
        sa.Column("fate", words("absent", "doubtful", "gone", name="fate_known"), nullable=True),
    )
    op.add_column("attempts", sa.Column("risk_usd", sa.Numeric(18, 10), nullable=True))
    op.execute(REFUSE_LEDGER_CHANGE)
    for name, where in (
        ("attempts_in_doubt", "fate IN ('doubtful', 'gone')"),
        ("attempts_at_fault", "answer = 'fault'"),
        ("attempts_heard_of", "upstream_id IS NOT NULL AND answer IS DISTINCT FROM 'accepted'"),
    ):
        op.create_index(name, "attempts", ["job_id"], postgresql_where=sa.text(where))

    rewiden(
        "lanes",
        "stage",
        "stagename_known",
        ("submit", "poll", "cancel", "archive", "notify", "webhook"),
    )
    op.add_column("lanes", count("faults"))
    op.add_column(
        "lanes", sa.Column("probing", sa.Boolean(), server_default="false", nullable=False)
    )

    rewiden("artifacts", "state", "artifactstate_known", ("pending", "stored", "failed", "expired"))
    op.add_column("artifacts", count("deaths"))
    op.add_column("artifacts", sa.Column("lost_sha256", sa.Text(), nullable=True))
    op.add_column("deliveries", count("deaths"))

    op.add_column("endpoint_stats", moment("heard_at"))

    for table in ("jobs", "artifacts", "deliveries"):
        op.create_index(
            f"{table}_suspected",
            table,
            ["next_at"],
            postgresql_where=sa.text("deaths >= 2 AND lease IS NOT NULL"),
        )

    op.create_index(
        "artifacts_given_up",
        "artifacts",
        ["next_at"],
        postgresql_where=sa.text("state IN ('expired', 'failed')"),
    )

    op.create_table(
        "pulses",
        sa.Column("name", sa.Text(), nullable=False),
        moment("since", now=True),
        moment("at", now=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pulses_pkey")),
    )


def downgrade() -> None:
    raise NotImplementedError("the ledger is not taken back: restore a backup")
