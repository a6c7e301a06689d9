"""stock: who waits for it, where it is, what is kept back"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "locations",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("serves", sa.Text(), nullable=True),
        sa.CheckConstraint("priority >= 0", name=op.f("ck_locations_priority_not_negative")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_locations")),
    )
    op.create_table(
        "backorders",
        sa.Column("sku", sa.String(length=64), nullable=False),
        sa.Column("order_id", _ID, nullable=False),
        sa.Column("dispatch_id", _ID, nullable=True),
        sa.PrimaryKeyConstraint("sku", "order_id", name=op.f("pk_backorders")),
    )
    op.create_index(op.f("ix_backorders_order_id"), "backorders", ["order_id"])
    # batch: SQLite adds no constraint to a table that is there.
    with op.batch_alter_table("stock_levels") as levels:
        levels.add_column(sa.Column("safety", sa.BigInteger(), nullable=False, server_default="0"))
        levels.create_check_constraint(op.f("ck_stock_levels_safety_not_negative"), "safety >= 0")
    _look_at_once()


def _look_at_once() -> None:
    """Orders that wait for stock were on no list: the stage writes them on it."""
    op.execute(
        "UPDATE dispatches SET due_at = created_at WHERE step = 'reserve' AND leased_until IS NULL"
    )
