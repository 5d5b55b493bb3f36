"""Deliveries that were given up are counted without a scan

A migration is one step that the code before it survives.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_index(
        "deliveries_given_up",
        "deliveries",
        ["next_at"],
        postgresql_where=sa.text("state = 'failed'"),
    )


def downgrade() -> None:
    op.drop_index("deliveries_given_up", "deliveries")
