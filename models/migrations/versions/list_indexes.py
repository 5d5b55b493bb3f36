"""Pages of an endpoint's, a key's and a campaign's jobs, by their states

A migration is one step that the code before it survives.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for name, where in (
        ("jobs_open_of_endpoint", "finished_at IS NULL"),
        ("jobs_ended_of_endpoint", "finished_at IS NOT NULL"),
    ):
        op.create_index(name, "jobs", ["endpoint", "state", "id"], postgresql_where=sa.text(where))
    for name, column in (("jobs_of_key", "key_id"), ("jobs_of_campaign", "campaign_id")):
        op.drop_index(name, "jobs")
        op.create_index(
            name,
            "jobs",
            [column, "state", "id"],
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )


def downgrade() -> None:
    op.drop_index("jobs_open_of_endpoint", "jobs")
    op.drop_index("jobs_ended_of_endpoint", "jobs")
    for name, columns in (
        ("jobs_of_key", ["key_id", "id"]),
        ("jobs_of_campaign", ["campaign_id", "state"]),
    ):
        op.drop_index(name, "jobs")
        op.create_index(
            name, "jobs", columns, postgresql_where=sa.text(f"{columns[0]} IS NOT NULL")
        )
