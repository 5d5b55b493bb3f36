"""The audit log, and why and until when a lane is paused

A migration is one step that the code before it survives.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.audit import AUDIT_TRIGGER

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "audit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("after", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="audit_pkey"),
    )
    op.create_index("audit_by_time", "audit", ["at"])
    op.execute(AUDIT_TRIGGER)
    op.add_column("lanes", sa.Column("paused_at", moment, nullable=True))
    op.add_column("lanes", sa.Column("paused_until", moment, nullable=True))
    op.add_column("lanes", sa.Column("paused_reason", sa.Text(), nullable=True))


def downgrade() -> None:
    for column in ("paused_reason", "paused_until", "paused_at"):
        op.drop_column("lanes", column)
    op.drop_table("audit")
    op.execute("DROP FUNCTION refuse_audit_change()")
