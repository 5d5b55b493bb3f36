"""Campaigns that workers expand from a specification, and that can be paused

A migration is one step that the code before it survives.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("custom_id", sa.Text(), nullable=True))
    for column in (
        sa.Column("spec", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("rows_key", sa.Text(), nullable=True),
        sa.Column("planned", sa.Integer(), nullable=True),
        sa.Column("expanded", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expanded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("unsettled", sa.Boolean(), server_default="false", nullable=False),
    ):
        op.add_column("campaigns", column)
    op.create_index(
        "campaigns_named",
        "campaigns",
        ["name"],
        unique=True,
        postgresql_where=sa.text("spec IS NOT NULL"),
    )
    op.create_index(
        "campaigns_to_expand",
        "campaigns",
        ["expanded_at"],
        postgresql_where=sa.text("spec IS NOT NULL AND total IS NULL AND problem IS NULL"),
    )
    op.create_index(
        "campaigns_unsettled", "campaigns", ["id"], postgresql_where=sa.text("unsettled")
    )
    op.create_index(
        "jobs_held",
        "jobs",
        ["campaign_id", "id"],
        postgresql_where=sa.text(
            "state = 'queued' AND next_at >= timestamptz '9999-01-01 00:00:00+00'"
        ),
    )


def downgrade() -> None:
    op.drop_index("jobs_held", "jobs")
    op.drop_index("campaigns_unsettled", "campaigns")
    op.drop_index("campaigns_to_expand", "campaigns")
    op.drop_index("campaigns_named", "campaigns")
    for name in (
        "spec",
        "rows_key",
        "planned",
        "expanded",
        "expanded_at",
        "problem",
        "paused_at",
        "unsettled",
    ):
        op.drop_column("campaigns", name)
    op.drop_column("jobs", "custom_id")
