"""Campaigns that workers expand from a specification

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


def downgrade() -> None:
    op.drop_index("campaigns_to_expand", "campaigns")
    op.drop_index("campaigns_named", "campaigns")
    for name in ("spec", "rows_key", "planned", "expanded", "expanded_at", "problem"):
        op.drop_column("campaigns", name)
    op.drop_column("jobs", "custom_id")
