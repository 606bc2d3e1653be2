"""Jobs and their events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables; a folder can have one active job only."""
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("folder", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("created_at_s", sa.Float, nullable=False),
        sa.Column("queued_at_s", sa.Float),
        sa.Column("started_at_s", sa.Float),
        sa.Column("finished_at_s", sa.Float),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("owner_uid", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("inode", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("input_bytes", sa.Integer, nullable=False),
        sa.Column("input_sha256", sa.Text, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("summary", sa.JSON, nullable=False),
        sa.Column("failure", sa.JSON),
        sa.Column("destination", sa.LargeBinary, nullable=False),
    )
    is_active = sa.text("state IN ('waiting', 'queued', 'running', 'publishing')")
    op.create_index("one_active_job_per_folder", "jobs", ["folder"], unique=True, sqlite_where=is_active)
    op.create_index("jobs_by_state", "jobs", ["state", "finished_at_s"])
    op.create_table(
        "events",
        sa.Column("event_id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.job_id"), nullable=False, index=True),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("from_state", sa.Text, nullable=False),
        sa.Column("to_state", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Remove both tables."""
    op.drop_table("events")
    op.drop_table("jobs")
