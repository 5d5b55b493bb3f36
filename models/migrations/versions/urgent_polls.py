"""Polls whose result is kept but a minute go first

A migration is one step that the code before it survives.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_index(
        "jobs_to_poll_first",
        "jobs",
        ["endpoint", "next_at", "id"],
        postgresql_where=sa.text(
            "state IN ('in_queue', 'in_progress')"
            " AND (cancel_requested_at IS NULL OR cancel_sent_at IS NOT NULL)"
            " AND route = 'runsync'"
        ),
    )


def downgrade() -> None:
    op.drop_index("jobs_to_poll_first", "jobs")
