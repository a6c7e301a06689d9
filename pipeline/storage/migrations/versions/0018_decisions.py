"""decisions: what a person decided about an order on hold stands beside what was sent"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

#: Not 0017: code that doesn't know the column would archive orders without what was decided.
serves = ("0018",)


def upgrade() -> None:
    op.add_column("order_documents", sa.Column("decided", sa.Text(), nullable=True))
