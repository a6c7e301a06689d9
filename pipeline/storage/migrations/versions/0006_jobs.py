"""jobs: runs are numbered, held by a lease, tried again, and keep their log"""

import sqlalchemy as sa
from alembic import op

from pipeline.storage.sql import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # SQLite can't change a primary key: the rows are set aside, and put into a new table.
    op.execute("CREATE TABLE job_runs_before AS SELECT * FROM job_runs")
    op.drop_table("job_runs")
    op.create_table(
        "job_runs",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.Identity(always=False),
            nullable=False,
        ),
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("fire_at", UtcDateTime(), nullable=False),
        sa.Column("asked_by", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease", sa.String(length=36), nullable=True),
        sa.Column("leased_until", UtcDateTime(), nullable=True),
        sa.Column("by", sa.String(length=255), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("log", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_runs")),
    )
    # Whoever was at work then has no lease to lose, and is of a version that is gone.
    op.execute(
        "INSERT INTO job_runs "
        '(job, fire_at, state, attempt, "by", started_at, finished_at, result, error) '
        "SELECT job, fire_at, CASE WHEN error IS NULL AND finished_at IS NOT NULL "
        "THEN 'fine' ELSE 'failed' END, 1, \"by\", started_at, "
        "coalesce(finished_at, started_at), result, "
        "CASE WHEN finished_at IS NULL THEN 'its end was not written down' ELSE error END "
        "FROM job_runs_before ORDER BY fire_at"
    )
    op.drop_table("job_runs_before")
    for name, columns, where, unique in (
        ("uq_job_runs_moment", ["job", "fire_at"], "asked_by IS NULL", True),
        ("uq_job_runs_running", ["job"], "state = 'running'", True),
        ("ix_job_runs_open", ["job", "id"], "state IN ('waiting', 'running')", False),
    ):
        op.create_index(
            name,
            "job_runs",
            columns,
            unique=unique,
            postgresql_where=sa.text(where),
            sqlite_where=sa.text(where),
        )
    op.create_index("ix_job_runs_fire_at", "job_runs", ["fire_at"])
