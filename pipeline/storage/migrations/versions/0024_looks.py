"""looks: an order that waits on for the same cause is counted, and adds no event

With it come two indexes, for what was read whole on either database: the newest run of each job, and
what was refused of an order that is erased.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

#: Not 0023: code that doesn't know the columns would lose the counts, and tell each look again.
serves = ("0024",)


def upgrade() -> None:
    op.add_column("dispatches", sa.Column("cause", sa.String(64), nullable=True))
    op.add_column("dispatches", sa.Column("looks", sa.Text(), nullable=True))
    op.create_index("ix_job_runs_job_fire_at", "job_runs", ["job", "fire_at"])
    op.create_index("ix_refusals_source_external_id", "refusals", ["source", "external_id"])
