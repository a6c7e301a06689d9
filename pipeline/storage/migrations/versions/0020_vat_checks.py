"""vat_checks: what VIES said of an order's VAT id is kept with the order, as evidence"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

#: Not 0019: code that doesn't know the column would archive orders without the evidence.
serves = ("0020",)


def upgrade() -> None:
    op.add_column("order_documents", sa.Column("vat_check", sa.Text(), nullable=True))
