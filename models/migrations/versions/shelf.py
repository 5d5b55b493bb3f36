"""The shelf: the bulk of jobs that ended long ago

A migration is one step that the code before it survives.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "shelved_jobs",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("input", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("output", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("policy", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column(
            "shelved_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("shelved_jobs_job_id_fkey")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("shelved_jobs_pkey")),
    )
    op.add_column("jobs", sa.Column("shelved_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        op.f("jobs_shelved_once_ended"), "jobs", "shelved_at IS NULL OR finished_at IS NOT NULL"
    )
    op.create_index(
        "jobs_to_shelve",
        "jobs",
        ["finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL AND shelved_at IS NULL"),
    )


def downgrade() -> None:
    raise NotImplementedError("what is on the shelf is not taken back: restore a backup")
