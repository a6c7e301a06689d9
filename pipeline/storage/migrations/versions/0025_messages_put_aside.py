"""messages_put_aside: what can't be read of the broker's messages is kept beside what was refused"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

#: Not 0024: code that doesn't know the column would leave an erased customer's message in it.
serves = ("0025",)


def upgrade() -> None:
    op.add_column("refusals", sa.Column("queue", sa.String(32)))
    op.add_column("refusals", sa.Column("message", sa.Text))
    op.add_column("refusals", sa.Column("size", sa.BigInteger))
    put_aside = sa.text("queue IS NOT NULL")
    op.create_index(
        "ix_refusals_put_aside",
        "refusals",
        ["at"],
        postgresql_where=put_aside,
        sqlite_where=put_aside,
    )
