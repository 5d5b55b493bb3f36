"""Priorities, weights, places in line; limits and durations of sizes that were learned"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("priority", sa.SmallInteger(), server_default="5", nullable=False)
    )
    op.create_check_constraint("jobs_priority_known", "jobs", "priority BETWEEN 0 AND 9")
    # What is queued joins the line when it is claimed for.
    op.add_column("jobs", sa.Column("virtual_start", sa.Float(), nullable=True))
    op.create_index(
        "jobs_in_line",
        "jobs",
        ["endpoint", sa.text("priority DESC"), "virtual_start", "id"],
        postgresql_where=sa.text("state = 'queued' AND virtual_start IS NOT NULL"),
    )
    op.create_index(
        "jobs_to_join",
        "jobs",
        ["endpoint", "next_at"],
        postgresql_where=sa.text("state = 'queued' AND virtual_start IS NULL"),
    )
    op.add_column("jobs", sa.Column("size_class", sa.Text(), nullable=True))
    op.create_table(
        "size_stats",
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("size_class", sa.Text(), nullable=False),
        sa.Column("durations", sa.ARRAY(sa.Float()), nullable=False),
        sa.Column("gain", sa.Float(), server_default="0", nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("endpoint", "size_class", name=op.f("size_stats_pkey")),
    )
    op.add_column("api_keys", sa.Column("weight", sa.Float(), server_default="1", nullable=False))
    op.add_column("lanes", sa.Column("learned", sa.Integer(), nullable=True))
    op.add_column("lanes", sa.Column("learned_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "flows",
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("producer", sa.Uuid(), nullable=False),
        sa.Column("finish", sa.Float(), nullable=False),
        sa.CheckConstraint("finish >= 0", name=op.f("flows_finish_counts_up")),
        sa.PrimaryKeyConstraint("endpoint", "priority", "producer", name=op.f("flows_pkey")),
    )
    op.create_table(
        "charges",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("producer", sa.Uuid(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("charges_pkey")),
    )
    op.create_index("charges_of_flow", "charges", ["endpoint", "priority", "producer"])


def downgrade() -> None:
    op.drop_table("charges")
    op.drop_table("flows")
    op.drop_table("size_stats")
    op.drop_column("jobs", "size_class")
    op.drop_column("lanes", "learned_at")
    op.drop_column("lanes", "learned")
    op.drop_column("api_keys", "weight")
    op.drop_index("jobs_to_join", "jobs")
    op.drop_index("jobs_in_line", "jobs")
    op.drop_column("jobs", "virtual_start")
    op.drop_column("jobs", "priority")
