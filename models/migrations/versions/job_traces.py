"""A job's place in a trace

A migration is one step that the code before it survives. A column without a default changes no
row: the table is not rewritten.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("trace_context", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "trace_context")
