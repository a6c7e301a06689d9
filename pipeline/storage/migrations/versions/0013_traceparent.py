"""traceparent: one trace an order, from the request that placed it to its last stage"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("order_documents", sa.Column("traceparent", sa.String(length=55), nullable=True))
